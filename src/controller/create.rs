//! New topics, and more partitions for old ones (Kafka: `ZkAdminManager.createTopics`, `createPartitions`).
//!
//! A topic is one change in the store: configs, assignment, leaders. It is marked as new until its replicas are there,
//! so that a broker that stops in between does not miss folders that never were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::active::{Active, Reason};
use super::assignment::{self, Assignments, Candidate, Start};
use super::context::{Context, New, Partition, Topic, Written};
use super::reign::{Group, Lost};
use super::request::{AdminError, Answers, CreatedTopic, MorePartitions, NewTopic};
use super::{election, topic_name};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, TopicId, TopicName, TopicPartition};
use crate::base::random::Random;
use crate::config::LogConfig;
use crate::metadata::ClusterImage;
use crate::store::znodes::{EntityConfig, NewPartitions, PartitionState, paths};
use crate::store::{CreateKind, Operation, StoreError};

/// How many partitions one request may create, as in Kafka 4: each costs files and memory on the brokers.
pub const MAX_PARTITIONS_PER_REQUEST: usize = 10_000;

/// A request: its topics, and whether they are only to be checked.
pub(super) type CreateRequest = (Vec<NewTopic>, bool);

/// A topic as it is going to be.
struct Plan {
    name: TopicName,
    id: TopicId,
    configs: BTreeMap<String, String>,
    assignments: Assignments,
}

/// Makes plans, one after the other; knows what was planned before.
struct Planner<'a> {
    context: &'a Context,
    image: &'a ClusterImage,
    random: &'a Random,
    /// Folded names of topics that are planned.
    planned: BTreeMap<String, TopicName>,
}

impl Planner<'_> {
    fn plan(&mut self, topic: &NewTopic, room: &mut usize, validate_only: bool) -> Result<Plan, AdminError> {
        let name = topic.name.as_str();
        let exists = |message: String| AdminError::new(ErrorCode::TopicAlreadyExists, message);
        let folded = topic_name::folded(name);
        let taken = self.planned.get(&folded);
        if self.context.topic(name).is_some() || taken.is_some_and(|other| **other == *name) {
            return Err(exists(if self.context.deleting.contains(name) {
                format!("Topic '{name}' is being deleted.")
            } else {
                format!("Topic '{name}' already exists in this cluster.")
            }));
        }
        let configs = configs(topic)?;
        let by_hand = !topic.assignments.is_empty();
        if by_hand && (topic.partitions != -1 || topic.replication_factor != -1) {
            return Err(AdminError::new(
                ErrorCode::InvalidRequest,
                "Either the numbers of partitions and replicas or an assignment can be given, not both.",
            ));
        }
        let too_many = |count: i32| {
            AdminError::new(
                ErrorCode::PolicyViolation,
                format!(
                    "One request can create {MAX_PARTITIONS_PER_REQUEST} partitions at most; this topic has {count}."
                ),
            )
        };
        let assignments = if by_hand {
            topic.assignments.iter().cloned().collect()
        } else {
            let settings = &self.image.broker_config;
            let count = match topic.partitions {
                -1 => settings.num_partitions,
                count => count,
            };
            let factor = match topic.replication_factor {
                -1 => i16::try_from(settings.default_replication_factor).unwrap_or(i16::MAX),
                factor => factor,
            };
            if usize::try_from(count).is_ok_and(|count| count > *room) {
                return Err(too_many(count));
            }
            let candidates = candidates(self.context, factor);
            let start = random_start(self.random, candidates.len());
            assignment::spread(&candidates, count, factor, start)?
        };
        topic_name::check(name)?;
        if let Some(other) = self.context.colliding(name).or(taken) {
            return Err(AdminError::new(
                ErrorCode::InvalidTopicException,
                format!(
                    "Topic '{name}' differs from topic '{other}' only in '.' and '_', which metrics cannot tell apart."
                ),
            ));
        }
        assignment::check(&assignments)?;
        LogConfig::new(&self.image.broker_config, &configs)
            .map_err(|error| AdminError::new(ErrorCode::InvalidConfig, error.to_string()))?;
        *room = room
            .checked_sub(assignments.len())
            .ok_or_else(|| too_many(assignments.len() as i32))?;
        let plan = Plan {
            name: Arc::from(name),
            id: self.random.uuid(),
            configs,
            assignments,
        };
        if !validate_only {
            self.planned.insert(folded, Arc::clone(&plan.name));
        }
        Ok(plan)
    }
}

fn configs(topic: &NewTopic) -> Result<BTreeMap<String, String>, AdminError> {
    let null: Vec<&str> = topic
        .configs
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(key, _)| key.as_str())
        .collect();
    if !null.is_empty() {
        return Err(AdminError::new(
            ErrorCode::InvalidConfig,
            format!("These configs have no value: {}.", null.join(", ")),
        ));
    }
    Ok(topic
        .configs
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
        .collect())
}

/// The brokers that replicas may be put on, `factor` for each partition. One that is about to stop is none of them where
/// there are enough others: a partition that lies there alone would have no leader, and no state, until it comes back.
fn candidates(context: &Context, factor: i16) -> Vec<Candidate<'_>> {
    let all = context.brokers.values();
    let all: Vec<Candidate<'_>> = all.map(|broker| (broker.id, broker.rack.as_deref())).collect();
    let stays = |(id, _): &&Candidate<'_>| !context.leaving.contains(id);
    let stay: Vec<Candidate<'_>> = all.iter().filter(stays).copied().collect();
    match usize::try_from(factor).is_ok_and(|factor| factor <= stay.len()) {
        true => stay,
        false => all,
    }
}

fn random_start(random: &Random, brokers: usize) -> Start {
    let below = || usize::try_from(random.below(brokers as u64)).unwrap_or(0);
    Start {
        leader: below(),
        shift: below(),
        partition: 0,
    }
}

impl Plan {
    fn created(&self, validate_only: bool) -> CreatedTopic {
        CreatedTopic {
            name: Arc::clone(&self.name),
            id: if validate_only { TopicId::ZERO } else { self.id },
            partitions: self.assignments.len() as i32,
            replication_factor: self
                .assignments
                .values()
                .next()
                .map_or(0, |replicas| replicas.len() as i16),
            configs: self.configs.clone(),
        }
    }

    fn names(&self) -> impl Iterator<Item = TopicPartition> {
        self.assignments
            .keys()
            .map(|number| TopicPartition::new(Arc::clone(&self.name), *number))
    }

    fn topic(&self) -> Topic {
        let partition = |replicas: &Vec<BrokerId>| Partition {
            replicas: replicas.clone(),
            ..Partition::default()
        };
        Topic {
            id: self.id,
            partitions: self
                .assignments
                .iter()
                .map(|(number, replicas)| (*number, partition(replicas)))
                .collect(),
        }
    }
}

/// Creates a node, or sets it when it is there.
pub(super) async fn put(active: &Active, path: String, data: bytes::Bytes) -> Result<Operation, StoreError> {
    Ok(match active.reign.store.get(&path).await? {
        Some(_) => Operation::set(path, Some(data), None),
        None => Operation::create(path, Some(data), CreateKind::Persistent),
    })
}

/// The nodes of a partition with its first state.
fn partition_operations(topic: &str, number: i32, state: &PartitionState) -> [Operation; 2] {
    let kind = CreateKind::Persistent;
    [
        Operation::create(paths::partition(topic, number), None, kind),
        Operation::create(paths::partition_state(topic, number), Some(state.encode()), kind),
    ]
}

impl Active {
    /// Creates the topics of some requests.
    pub(super) async fn create_topics(
        &mut self,
        requests: Vec<CreateRequest>,
    ) -> Result<Vec<Answers<CreatedTopic>>, Lost> {
        let parts = Arc::clone(&self.parts);
        let image = parts.cluster.get();
        let mut planner = Planner {
            context: &self.context,
            image: &image,
            random: &parts.random,
            planned: BTreeMap::new(),
        };
        let mut answers: Vec<Answers<CreatedTopic>> = Vec::new();
        let mut plans: Vec<((usize, usize), Plan)> = Vec::new();
        for (request, (topics, validate_only)) in requests.iter().enumerate() {
            let mut room = MAX_PARTITIONS_PER_REQUEST;
            let mut answered = Vec::new();
            for topic in topics {
                let plan = planner.plan(topic, &mut room, *validate_only);
                answered.push(plan.map(|plan| {
                    let created = plan.created(*validate_only);
                    if !validate_only {
                        plans.push(((request, answered.len()), plan));
                    }
                    created
                }));
            }
            answers.push(answered);
        }
        if plans.is_empty() {
            return Ok(answers);
        }
        for ((request, topic), error) in self.write_topics(plans).await? {
            if let Some(answer) = answers
                .get_mut(request)
                .and_then(|answers| answers.get_mut(topic))
            {
                *answer = Err(error);
            }
        }
        Ok(answers)
    }

    /// Writes planned topics and brings them up; yields those that could not be written.
    async fn write_topics(
        &mut self,
        plans: Vec<((usize, usize), Plan)>,
    ) -> Result<Vec<((usize, usize), AdminError)>, Lost> {
        let mut groups = Vec::new();
        let mut states = Vec::new();
        for (_, plan) in &plans {
            let (group, written) = self.topic_group(plan).await?;
            groups.push(group);
            states.push(written);
        }
        let answers = self.reign.write(groups).await?;
        let mut errors = Vec::new();
        let mut new = Vec::new();
        for (((place, plan), states), answer) in plans.into_iter().zip(states).zip(answers) {
            match answer {
                Ok(mzxid) => {
                    let mut topic = plan.topic();
                    for (number, state) in states {
                        if let Some(partition) = topic.partitions.get_mut(&number) {
                            partition.state = Some(Written {
                                state,
                                partition_epoch: 0,
                                mzxid,
                            });
                        }
                    }
                    new.extend(plan.names());
                    self.watching.topic(&plan.name, 0);
                    self.context.add_topic(Arc::clone(&plan.name), topic);
                }
                Err(StoreError::NodeExists) => errors.push((
                    place,
                    AdminError::new(
                        ErrorCode::TopicAlreadyExists,
                        format!("Topic '{}' already exists in this cluster.", plan.name),
                    ),
                )),
                Err(error) => errors.push((
                    place,
                    AdminError::new(ErrorCode::UnknownServerError, error.to_string()),
                )),
            }
        }
        self.bring_up(new).await?;
        Ok(errors)
    }

    /// What one topic needs in the store, and the first states that are in it.
    async fn topic_group(&self, plan: &Plan) -> Result<(Group, Vec<(i32, PartitionState)>), Lost> {
        let topic = plan.topic();
        let kind = CreateKind::Persistent;
        let configs = EntityConfig::new(plan.configs.clone()).encode();
        let new = NewPartitions::new(plan.assignments.keys().copied()).encode();
        let mut operations = vec![
            put(self, paths::topic_config(&plan.name), configs).await?,
            put(self, paths::new_partitions(&plan.name), new).await?,
            Operation::create(paths::topic(&plan.name), Some(topic.node().encode()), kind),
        ];
        let head = operations.len();
        operations.push(Operation::create(paths::partitions(&plan.name), None, kind));
        let mut states = Vec::new();
        for (number, replicas) in &plan.assignments {
            let name = TopicPartition::new(Arc::clone(&plan.name), *number);
            if let Some(state) = election::first(replicas, &self.context.seen(&name), self.reign.epoch) {
                operations.extend(partition_operations(&plan.name, *number, &state));
                states.push((*number, state));
            }
        }
        let mut group = Group { operations };
        if !group.fits() {
            // The partitions follow as those of a topic whose creator stopped half way.
            group.operations.truncate(head);
            states.clear();
        }
        Ok((group, states))
    }

    /// Elects where that is still to be done, and tells of partitions that are new.
    pub(super) async fn bring_up(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Lost> {
        if partitions.is_empty() {
            return Ok(());
        }
        let names: BTreeSet<&TopicName> = partitions.iter().map(|partition| &partition.topic).collect();
        let names: Vec<TopicName> = names.into_iter().cloned().collect();
        // The broker needs a topic's configs before its replicas.
        self.parts.configs.load_topics(&names).await?;
        let stateless: Vec<TopicPartition> = partitions
            .iter()
            .filter(|name| {
                let partition = self.context.partition(name);
                partition.is_some_and(|partition| partition.state.is_none())
            })
            .cloned()
            .collect();
        self.elect(&stateless, Reason::Changed).await?;
        let replicas = |name: &TopicPartition| {
            let partition = self.context.partition(name);
            partition.map_or_else(Vec::new, |partition| partition.replicas.clone())
        };
        let new: New = partitions
            .iter()
            .map(|name| (name.clone(), replicas(name)))
            .collect();
        self.tell(&partitions, &new).await
    }

    /// Adds partitions to topics.
    pub(super) async fn create_partitions(
        &mut self,
        topics: Vec<MorePartitions>,
        validate_only: bool,
    ) -> Result<Answers<()>, Lost> {
        let mut room = MAX_PARTITIONS_PER_REQUEST;
        let plans: Vec<Result<(TopicName, Assignments), AdminError>> = topics
            .iter()
            .map(|topic| {
                let added = grow(&self.context, topic, room)?;
                room = room.saturating_sub(added.len());
                Ok((Arc::from(topic.name.as_str()), added))
            })
            .collect();
        if validate_only {
            return Ok(plans.into_iter().map(|plan| plan.map(|_| ())).collect());
        }
        let mut groups = Vec::new();
        for (name, added) in plans.iter().flatten() {
            groups.push(self.growth_group(name, added).await?);
        }
        let mut written = self.reign.write(groups).await?.into_iter();
        let mut answers = Answers::new();
        let mut new = Vec::new();
        for plan in plans {
            let (name, added) = match plan {
                Ok(plan) => plan,
                Err(error) => {
                    answers.push(Err(error));
                    continue;
                }
            };
            match written.next() {
                Some(Ok(_)) => {
                    for (number, replicas) in added {
                        let partition = Partition {
                            replicas,
                            ..Partition::default()
                        };
                        if let Some(topic) = self.context.topic_mut(&name) {
                            topic.partitions.insert(number, partition);
                        }
                        new.push(TopicPartition::new(Arc::clone(&name), number));
                    }
                    answers.push(Ok(()));
                }
                Some(Err(error)) => answers.push(Err(AdminError::new(
                    ErrorCode::UnknownServerError,
                    error.to_string(),
                ))),
                None => answers.push(Err(AdminError::not_controller())),
            }
        }
        self.bring_up(new).await?;
        Ok(answers)
    }

    /// What more partitions of a topic need in the store; their states follow.
    async fn growth_group(&self, name: &TopicName, added: &Assignments) -> Result<Group, Lost> {
        let mut operations = Vec::new();
        if let Some(topic) = self.context.topic(name) {
            let mut node = topic.node();
            node.partitions
                .extend(added.iter().map(|(number, replicas)| (*number, replicas.clone())));
            let mut new = self.read_new_partitions(name).await?;
            new.extend(added.keys());
            let new = NewPartitions::new(new).encode();
            operations.push(put(self, paths::new_partitions(name), new).await?);
            operations.push(Operation::set(paths::topic(name), Some(node.encode()), None));
        }
        Ok(Group { operations })
    }
}

/// The replicas of the partitions that a topic is to get.
fn grow(context: &Context, request: &MorePartitions, room: usize) -> Result<Assignments, AdminError> {
    let name = &request.name;
    let error = |code, message: String| Err(AdminError::new(code, message));
    let Some(topic) = context.topic(name) else {
        return error(
            ErrorCode::UnknownTopicOrPartition,
            format!("Topic '{}' does not exist.", name.escape_debug()),
        );
    };
    if context.deleting.contains(name.as_str()) {
        return error(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' is being deleted."),
        );
    }
    let busy = |partition: &Partition| !partition.adding.is_empty() || !partition.removing.is_empty();
    if topic.partitions.values().any(busy) {
        return error(
            ErrorCode::ReassignmentInProgress,
            format!("Replicas of topic '{name}' are being moved."),
        );
    }
    let before = topic.partitions.len() as i32;
    let more = request.count.saturating_sub(before);
    if more <= 0 {
        return error(
            ErrorCode::InvalidPartitions,
            format!(
                "Topic '{name}' has {before} partitions already; {} would not be more.",
                request.count
            ),
        );
    }
    if usize::try_from(more).unwrap_or(usize::MAX) > room {
        return error(
            ErrorCode::PolicyViolation,
            format!(
                "One request can create {MAX_PARTITIONS_PER_REQUEST} partitions at most; this topic would get {more} more."
            ),
        );
    }
    let Some(first) = topic.partitions.get(&0).map(|partition| &partition.replicas) else {
        return error(
            ErrorCode::UnknownServerError,
            format!("Topic '{name}' has no partition 0."),
        );
    };
    match &request.assignments {
        Some(assignments) => grow_by_hand(context, assignments, before, more, first.len()),
        None => {
            let factor = i16::try_from(first.len()).unwrap_or(i16::MAX);
            let candidates = candidates(context, factor);
            let leader = candidates
                .iter()
                .position(|(id, _)| Some(id) >= first.first())
                .unwrap_or(0);
            let start = Start {
                leader,
                shift: leader,
                partition: before,
            };
            assignment::spread(&candidates, more, factor, start)
        }
    }
}

fn grow_by_hand(
    context: &Context,
    assignments: &[Vec<BrokerId>],
    before: i32,
    more: i32,
    factor: usize,
) -> Result<Assignments, AdminError> {
    let invalid = |message: String| Err(AdminError::new(ErrorCode::InvalidReplicaAssignment, message));
    let unknown: BTreeSet<BrokerId> = assignments
        .iter()
        .flatten()
        .copied()
        .filter(|id| !context.brokers.contains_key(id))
        .collect();
    if !unknown.is_empty() {
        return invalid(format!("These brokers are not there: {unknown:?}."));
    }
    if usize::try_from(more).ok() != Some(assignments.len()) {
        return invalid(format!(
            "There are {more} new partitions, but {} assignments.",
            assignments.len()
        ));
    }
    let assigned: Assignments = (before..).zip(assignments.iter().cloned()).collect();
    for (partition, replicas) in &assigned {
        assignment::check_replicas(*partition, replicas)?;
        if replicas.len() != factor {
            return invalid(format!(
                "Partition {partition} would have {} replicas, those before it have {factor}.",
                replicas.len()
            ));
        }
    }
    Ok(assigned)
}
