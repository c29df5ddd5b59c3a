//! The loop of the drivers that are written in Rust: see ../README.md. A driver gives `serve` a function that opens handles.
#![allow(dead_code)] // a driver need not make use of all

use std::collections::{BTreeMap, HashMap};
use std::io::{Write, stdin, stdout};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

/// A producer, consumer or admin client; it has the commands of its role. Dropping it closes it.
pub trait Handle: Send {
    fn produce(&mut self, _topic: &str, _records: Vec<Record>) -> Answer<Vec<Answer<Placed>>> {
        unsupported("produce")
    }
    fn assign(&mut self, _topic: &str, _partitions: Vec<(i32, Start)>) -> Answer<()> {
        unsupported("assign")
    }
    fn subscribe(&mut self, _topics: Vec<String>, _pattern: Option<String>) -> Answer<()> {
        unsupported("subscribe")
    }
    fn poll(&mut self, _count: usize, _timeout: Duration) -> Answer<Vec<Read>> {
        unsupported("poll")
    }
    fn assignment(&mut self) -> Answer<Vec<(String, i32)>> {
        unsupported("poll")
    }
    fn commit(&mut self, _offsets: Vec<(String, i32, i64)>, _asynchronously: bool) -> Answer<()> {
        unsupported("commit")
    }
    fn seek(&mut self, _topic: &str, _partition: i32, _offset: i64) -> Answer<()> {
        unsupported("seek")
    }
    fn pause(&mut self, _topic: &str, _partition: i32) -> Answer<()> {
        unsupported("pause")
    }
    fn resume(&mut self, _topic: &str, _partition: i32) -> Answer<()> {
        unsupported("resume")
    }
    fn create_topic(&mut self, _topic: &str, _partitions: i32, _configs: Texts) -> Answer<()> {
        unsupported("create_topic")
    }
    fn describe_topic(&mut self, _topic: &str) -> Answer<Vec<Partition>> {
        unsupported("describe_topic")
    }
    fn create_partitions(&mut self, _topic: &str, _count: usize) -> Answer<()> {
        unsupported("create_partitions")
    }
    fn alter_configs(&mut self, _topic: &str, _configs: Texts) -> Answer<()> {
        unsupported("alter_configs")
    }
    fn describe_configs(&mut self, _topic: &str) -> Answer<BTreeMap<String, Option<String>>> {
        unsupported("describe_configs")
    }
    fn delete_topic(&mut self, _topic: &str) -> Answer<()> {
        unsupported("delete_topic")
    }
    fn list_offset(&mut self, _topic: &str, _partition: i32, _at: Start) -> Answer<i64> {
        unsupported("list_offsets")
    }
    fn list_groups(&mut self) -> Answer<Vec<String>> {
        unsupported("list_groups")
    }
    /// Its state and members.
    fn describe_group(&mut self, _group: &str) -> Answer<(String, Vec<Member>)> {
        unsupported("describe_group")
    }
    fn group_offsets(&mut self, _group: &str) -> Answer<Vec<(String, i32, i64)>> {
        unsupported("group_offsets")
    }
    fn delete_group(&mut self, _group: &str) -> Answer<()> {
        unsupported("delete_group")
    }
}

pub type Texts = BTreeMap<String, String>;
pub type Answer<T> = Result<T, Refused>;

#[derive(Clone, Debug)]
pub struct Refused {
    name: String,
    text: String,
}

impl Refused {
    /// `code` is that of Kafka's error, if it is one; `otherwise` is the client's own name.
    pub fn new(code: Option<i32>, otherwise: impl Into<String>, text: impl ToString) -> Self {
        // Kafka's names of the codes that scenarios ask for.
        let name = match code {
            Some(3) => "UNKNOWN_TOPIC_OR_PARTITION".into(),
            Some(10) => "MESSAGE_TOO_LARGE".into(),
            Some(36) => "TOPIC_ALREADY_EXISTS".into(),
            Some(37) => "INVALID_PARTITIONS".into(),
            Some(40) => "INVALID_CONFIG".into(),
            Some(68) => "NON_EMPTY_GROUP".into(),
            Some(69) => "GROUP_ID_NOT_FOUND".into(),
            _ => otherwise.into(),
        };
        Self {
            name,
            text: text.to_string(),
        }
    }

    fn fields(&self) -> Value {
        json!({"error": self.name, "text": self.text})
    }
}

impl From<serde_json::Error> for Refused {
    fn from(error: serde_json::Error) -> Self {
        // A command that does not exist, too.
        Self::new(None, "UNSUPPORTED", error)
    }
}

pub fn unsupported<T>(what: impl ToString) -> Answer<T> {
    Err(Refused::new(None, "UNSUPPORTED", what))
}

/// In JSON it is base64.
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    pub fn of(data: Option<&[u8]>) -> Option<Self> {
        data.map(|data| Self(data.to_vec()))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD
            .decode(text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

type Headers = Vec<(String, Option<Bytes>)>;

/// One to be sent.
#[derive(Deserialize)]
pub struct Record {
    pub partition: Option<i32>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    #[serde(default)]
    pub headers: Headers,
    pub timestamp: Option<i64>,
}

/// One that was read.
#[derive(Serialize)]
pub struct Read {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Headers,
}

#[derive(Serialize)]
pub struct Placed {
    pub partition: i32,
    pub offset: i64,
}

#[derive(Serialize)]
pub struct Partition {
    pub partition: i32,
    pub leader: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

#[derive(Serialize)]
pub struct Member {
    pub client_id: String,
    pub assignment: Vec<(String, i32)>,
}

/// Where a partition is read from, or listed at.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    #[serde(alias = "earliest")]
    Beginning,
    #[serde(alias = "latest")]
    End,
    Offset(i64),
    Timestamp(i64),
}

/// Settings have Kafka's names. What a driver has taken it has translated; the rest is unsupported.
pub struct Settings(HashMap<String, String>);

impl Settings {
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Refuses what was not taken.
    pub fn rest(self) -> Answer<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            unsupported(format!("settings {:?}", self.0))
        }
    }
}

impl IntoIterator for Settings {
    type Item = (String, String);
    type IntoIter = std::collections::hash_map::IntoIter<String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Command {
    Produce {
        topic: String,
        records: Vec<Record>,
    },
    Assign {
        topic: String,
        partitions: Vec<(i32, Start)>,
    },
    Subscribe {
        #[serde(default)]
        topics: Vec<String>,
        pattern: Option<String>,
    },
    Poll {
        count: usize,
        timeout_ms: u64,
    },
    Commit {
        offsets: Vec<(String, i32, i64)>,
        r#async: bool,
    },
    Seek {
        topic: String,
        partition: i32,
        offset: i64,
    },
    Pause {
        topic: String,
        partition: i32,
    },
    Resume {
        topic: String,
        partition: i32,
    },
    CreateTopic {
        topic: String,
        partitions: i32,
        configs: Texts,
    },
    DescribeTopic {
        topic: String,
    },
    CreatePartitions {
        topic: String,
        count: usize,
    },
    AlterConfigs {
        topic: String,
        configs: Texts,
    },
    DescribeConfigs {
        topic: String,
    },
    DeleteTopic {
        topic: String,
    },
    ListOffsets {
        topic: String,
        partitions: Vec<i32>,
        at: Value,
    },
    ListGroups,
    DescribeGroup {
        group: String,
    },
    GroupOffsets {
        group: String,
    },
    DeleteGroup {
        group: String,
    },
}

/// What stands behind "ok".
fn done(handle: &mut dyn Handle, command: Command) -> Answer<Value> {
    let empty = |()| json!({});
    Ok(match command {
        Command::Produce { topic, records } => {
            let answers = handle.produce(&topic, records)?;
            let answers = answers.into_iter().map(|answer| match answer {
                Ok(placed) => json!(placed),
                Err(refused) => refused.fields(),
            });
            json!({"records": answers.collect::<Vec<_>>()})
        }
        Command::Assign { topic, partitions } => handle.assign(&topic, partitions).map(empty)?,
        Command::Subscribe { topics, pattern } => handle.subscribe(topics, pattern).map(empty)?,
        Command::Poll { count, timeout_ms } => {
            let records = handle.poll(count, Duration::from_millis(timeout_ms))?;
            json!({"records": records, "assignment": handle.assignment()?})
        }
        Command::Commit { offsets, r#async } => handle.commit(offsets, r#async).map(empty)?,
        Command::Seek {
            topic,
            partition,
            offset,
        } => handle.seek(&topic, partition, offset).map(empty)?,
        Command::Pause { topic, partition } => handle.pause(&topic, partition).map(empty)?,
        Command::Resume { topic, partition } => handle.resume(&topic, partition).map(empty)?,
        Command::CreateTopic {
            topic,
            partitions,
            configs,
        } => handle.create_topic(&topic, partitions, configs).map(empty)?,
        Command::DescribeTopic { topic } => json!({"partitions": handle.describe_topic(&topic)?}),
        Command::CreatePartitions { topic, count } => handle.create_partitions(&topic, count).map(empty)?,
        Command::AlterConfigs { topic, configs } => handle.alter_configs(&topic, configs).map(empty)?,
        Command::DescribeConfigs { topic } => json!({"configs": handle.describe_configs(&topic)?}),
        Command::DeleteTopic { topic } => handle.delete_topic(&topic).map(empty)?,
        Command::ListOffsets {
            topic,
            partitions,
            at,
        } => {
            let at = match at.as_i64() {
                Some(ms) => Start::Timestamp(ms),
                None => serde_json::from_value(at)?,
            };
            let listed = |partition| Ok((partition, handle.list_offset(&topic, partition, at)?));
            json!({"offsets": partitions.into_iter().map(listed).collect::<Answer<Vec<_>>>()?})
        }
        Command::ListGroups => json!({"groups": handle.list_groups()?}),
        Command::DescribeGroup { group } => {
            let (state, members) = handle.describe_group(&group)?;
            json!({"state": state, "members": members})
        }
        Command::GroupOffsets { group } => json!({"offsets": handle.group_offsets(&group)?}),
        Command::DeleteGroup { group } => handle.delete_group(&group).map(empty)?,
    })
}

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
});

/// What comes of a future; it runs in the runtime of the process.
pub fn wait<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

/// The version of a crate that was built in.
pub fn built_in(name: &str) -> &'static str {
    let mut lines = include_str!("Cargo.lock").lines();
    lines.find(|line| *line == format!("name = \"{name}\""));
    lines.next().unwrap().split('"').nth(1).unwrap()
}

type Handles = Mutex<HashMap<String, Arc<Mutex<Box<dyn Handle>>>>>;
/// Gives a handle of a role: its arguments are the role, the address and the settings.
pub type Open = fn(&str, String, Settings) -> Answer<Box<dyn Handle>>;

/// Carries out what comes on the standard input until its end, each command in a thread of its own.
pub fn serve(hello: Value, open: Open) {
    let state: &'static _ = Box::leak(Box::new((hello, Handles::default())));
    for line in stdin().lines() {
        let command: Value = serde_json::from_str(&line.unwrap()).unwrap();
        std::thread::spawn(move || {
            let id = command["id"].clone();
            let mut answer = match carried_out(command, &state.0, &state.1, open) {
                Ok(ok) => json!({"ok": ok}),
                Err(refused) => refused.fields(),
            };
            answer["id"] = id;
            writeln!(stdout().lock(), "{answer}").unwrap();
        });
    }
}

fn carried_out(command: Value, hello: &Value, handles: &Handles, open: Open) -> Answer<Value> {
    let text = |name| command[name].as_str().unwrap_or_default().to_owned();
    match command["do"].as_str() {
        Some("hello") => Ok(hello.clone()),
        Some("open") => {
            let settings = Settings(serde_json::from_value(command["settings"].clone())?);
            let opened = open(&text("role"), text("bootstrap"), settings)?;
            handles
                .lock()
                .unwrap()
                .insert(text("handle"), Arc::new(Mutex::new(opened)));
            Ok(json!({}))
        }
        Some("close") => {
            let closed = handles.lock().unwrap().remove(&text("handle"));
            drop(closed);
            Ok(json!({}))
        }
        _ => {
            let handle = handles.lock().unwrap().get(&text("handle")).cloned();
            let Some(handle) = handle else {
                return unsupported(format!("there is no handle {}", text("handle")));
            };
            done(&mut **handle.lock().unwrap(), serde_json::from_value(command)?)
        }
    }
}
