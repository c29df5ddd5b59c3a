use super::*;

fn asked(topic: &str, partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        topic: Some(topic.into()),
        topic_id: Uuid::ZERO,
        partition,
        fetch_offset,
        log_start_offset: -1,
        max_bytes: 1000,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    }
}

fn by_id(id: u8, name: Option<&str>, partition: i32) -> FetchPartition {
    FetchPartition {
        topic: name.map(Into::into),
        topic_id: Uuid([id; 16]),
        ..asked("", partition, 0)
    }
}

const QUIET: AnswerSummary = AnswerSummary {
    records_size: 0,
    high_watermark: 10,
    log_start_offset: 0,
    must_respond: false,
    is_error: false,
};
const DATA: AnswerSummary = AnswerSummary {
    records_size: 5,
    ..QUIET
};
const ERROR: AnswerSummary = AnswerSummary {
    high_watermark: -1,
    log_start_offset: -1,
    must_respond: true,
    is_error: true,
    ..QUIET
};

fn sessions(slots: usize) -> FetchSessions {
    FetchSessions::new(slots, Random::from_seed(7))
}

fn request(session_id: i32, epoch: i32) -> SessionRequest {
    SessionRequest {
        session_id,
        epoch,
        uses_topic_ids: false,
        is_follower: false,
    }
}

fn unknown(_: &Uuid) -> Option<TopicName> {
    None
}

/// Runs one request to its end: session answer, the partitions read, those carried.
fn run(
    sessions: &FetchSessions,
    request: SessionRequest,
    fetched: &[FetchPartition],
    forgotten: &[(SessionTopic, i32)],
    answer: impl Fn(&FetchPartition) -> AnswerSummary,
    now_ms: i64,
) -> (SessionAnswer, Vec<FetchPartition>, Vec<i32>) {
    let (context, read) = sessions.begin(request, fetched.to_vec(), forgotten, unknown, now_ms);
    let mut left_out = Vec::new();
    let done = sessions.finish(
        &context,
        &read,
        |index| answer(&read[index]),
        |index| left_out.push(index),
        now_ms,
    );
    let carried = (0..read.len())
        .filter(|index| !left_out.contains(index))
        .map(|index| read[index].partition)
        .collect();
    (done, read, carried)
}

fn numbers(read: &[FetchPartition]) -> Vec<i32> {
    read.iter().map(|partition| partition.partition).collect()
}

#[test]
fn a_full_request_opens_a_session_and_incremental_ones_carry_what_changed() {
    let sessions = sessions(10);
    let all = [asked("t", 0, 0), asked("t", 1, 0), asked("t", 2, 0)];
    let (opened, _, carried) = run(&sessions, request(0, 0), &all, &[], |_| QUIET, 0);
    assert_ne!(opened.session_id, 0);
    assert_eq!(carried, [0, 1, 2]);
    let id = opened.session_id;

    let (answer, read, carried) = run(&sessions, request(id, 1), &[], &[], |_| QUIET, 1);
    assert_eq!((answer.error, answer.session_id), (ErrorCode::None, id));
    assert_eq!(numbers(&read), [0, 1, 2]);
    assert!(carried.is_empty());

    let moved = |partition: &FetchPartition| AnswerSummary {
        high_watermark: if partition.partition == 1 { 11 } else { 10 },
        log_start_offset: i64::from(partition.partition == 2),
        ..QUIET
    };
    let (_, _, carried) = run(&sessions, request(id, 2), &[], &[], moved, 2);
    assert_eq!(carried, [1, 2]);
    let (_, _, carried) = run(&sessions, request(id, 3), &[], &[], moved, 3);
    assert!(carried.is_empty());

    let forgotten = [(SessionTopic::Name("t".into()), 1)];
    let (_, read, _) = run(
        &sessions,
        request(id, 4),
        &[asked("t", 7, 3)],
        &forgotten,
        moved,
        4,
    );
    assert_eq!(numbers(&read), [0, 2, 7]);
    assert_eq!(sessions.cached_partitions(), 3);
}

#[test]
fn an_error_is_carried_each_time_and_so_is_the_answer_after_it() {
    let sessions = sessions(10);
    let (opened, ..) = run(&sessions, request(0, 0), &[asked("t", 0, 0)], &[], |_| QUIET, 0);
    let id = opened.session_id;
    for (epoch, answer, expected) in [(1, ERROR, 1), (2, ERROR, 1), (3, QUIET, 1), (4, QUIET, 0)] {
        let (_, _, carried) = run(&sessions, request(id, epoch), &[], &[], |_| answer, 1);
        assert_eq!(carried.len(), expected, "epoch {epoch}");
    }
}

#[test]
fn the_changed_offset_of_a_partition_is_what_is_read_next() {
    let sessions = sessions(10);
    let (opened, ..) = run(&sessions, request(0, 0), &[asked("t", 0, 0)], &[], |_| QUIET, 0);
    let mut changed = asked("t", 0, 55);
    changed.current_leader_epoch = 4;
    let (_, read, _) = run(
        &sessions,
        request(opened.session_id, 1),
        &[changed.clone()],
        &[],
        |_| QUIET,
        0,
    );
    assert_eq!(read, [changed.clone()]);
    // Pitfall 69: the epoch stays with the session, so that a leader change is noticed by incremental requests too.
    let (_, read, _) = run(&sessions, request(opened.session_id, 2), &[], &[], |_| QUIET, 0);
    assert_eq!(read, [changed]);
}

#[test]
fn wrong_ids_and_epochs_are_told() {
    let sessions = sessions(10);
    let (opened, ..) = run(&sessions, request(0, 0), &[asked("t", 0, 0)], &[], |_| QUIET, 0);
    let id = opened.session_id;
    for (request, expected) in [
        (request(id ^ 1, 1), ErrorCode::FetchSessionIdNotFound),
        (request(0, 1), ErrorCode::FetchSessionIdNotFound),
        (request(-5, 1), ErrorCode::FetchSessionIdNotFound),
        (request(id, 2), ErrorCode::InvalidFetchSessionEpoch),
        (request(id, -2), ErrorCode::InvalidFetchSessionEpoch),
        (
            SessionRequest {
                uses_topic_ids: true,
                ..request(id, 1)
            },
            ErrorCode::FetchSessionTopicIdError,
        ),
    ] {
        let (answer, read, _) = run(&sessions, request, &[], &[], |_| QUIET, 0);
        assert_eq!((answer.error, answer.session_id), (expected, 0), "{request:?}");
        assert!(read.is_empty());
    }
    let (answer, ..) = run(&sessions, request(id, 1), &[], &[], |_| QUIET, 0);
    assert_eq!(answer.error, ErrorCode::None);
}

#[test]
fn an_answer_overtaken_by_the_next_request_leaves_the_session_alone() {
    let sessions = sessions(10);
    let (opened, ..) = run(&sessions, request(0, 0), &[asked("t", 0, 0)], &[], |_| QUIET, 0);
    let id = opened.session_id;
    let (slow, read) = sessions.begin(request(id, 1), vec![], &[], unknown, 0);
    let (fast, ..) = run(&sessions, request(id, 2), &[], &[], |_| QUIET, 0);
    assert_eq!(fast.error, ErrorCode::None);
    let answer = sessions.finish(&slow, &read, |_| DATA, |_| {}, 0);
    assert_eq!(answer.error, ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(answer.session_id, id);
}

#[test]
fn a_session_without_partitions_ends() {
    let sessions = sessions(10);
    let (opened, ..) = run(&sessions, request(0, 0), &[asked("t", 0, 0)], &[], |_| QUIET, 0);
    let forgotten = [(SessionTopic::Name("t".into()), 0)];
    let (answer, ..) = run(
        &sessions,
        request(opened.session_id, 1),
        &[],
        &forgotten,
        |_| QUIET,
        0,
    );
    assert_eq!((answer.error, answer.session_id), (ErrorCode::None, 0));
    assert_eq!((sessions.count(), sessions.cached_partitions()), (0, 0));
}

#[test]
fn full_requests_close_the_session_they_name() {
    let sessions = sessions(10);
    let (opened, ..) = run(&sessions, request(0, 0), &[asked("t", 0, 0)], &[], |_| QUIET, 0);
    let all = [asked("t", 0, 0)];
    let (again, ..) = run(&sessions, request(opened.session_id, 0), &all, &[], |_| QUIET, 0);
    assert_ne!(again.session_id, opened.session_id);
    assert_eq!(sessions.count(), 1);
    let (last, _, carried) = run(&sessions, request(again.session_id, -1), &all, &[], |_| QUIET, 0);
    assert_eq!((last.session_id, carried.len()), (0, 1));
    assert_eq!(sessions.count(), 0);
}

#[test]
fn a_partition_that_returned_data_is_read_last_the_next_time() {
    let sessions = sessions(10);
    let all: Vec<_> = (0..500).map(|partition| asked("t", partition, 0)).collect();
    let hot = |partition: &FetchPartition| if partition.partition == 0 { DATA } else { QUIET };
    let (opened, ..) = run(&sessions, request(0, 0), &all, &[], hot, 0);
    let id = opened.session_id;
    let (_, read, _) = run(&sessions, request(id, 1), &[], &[], hot, 0);
    assert_eq!(read[0].partition, 0);
    let (_, read, _) = run(&sessions, request(id, 2), &[], &[], hot, 0);
    assert_eq!((read[0].partition, read[499].partition), (1, 0));
}

#[test]
fn names_of_topic_ids_are_found_later() {
    let sessions = sessions(10);
    let request = |session_id, epoch| SessionRequest {
        uses_topic_ids: true,
        ..request(session_id, epoch)
    };
    let (opened, ..) = run(
        &sessions,
        request(0, 0),
        &[by_id(1, None, 0), by_id(2, Some("b"), 0)],
        &[],
        |_| ERROR,
        0,
    );
    let (_, read) = sessions.begin(
        request(opened.session_id, 1),
        vec![],
        &[],
        |id| (id.0[0] == 1).then(|| "a".into()),
        0,
    );
    assert_eq!(read, [by_id(1, Some("a"), 0), by_id(2, Some("b"), 0)]);
    let (_, read) = sessions.begin(
        request(opened.session_id, 2),
        vec![],
        &[(SessionTopic::Id(Uuid([1; 16])), 0)],
        unknown,
        0,
    );
    assert_eq!(read, [by_id(2, Some("b"), 0)]);
}

#[test]
fn a_partition_named_twice_is_read_once_as_named_last() {
    let sessions = sessions(10);
    let fetched = [asked("t", 0, 1), asked("t", 1, 2), asked("t", 0, 3)];
    let (_, read) = sessions.begin(request(0, -1), fetched.to_vec(), &[], unknown, 0);
    assert_eq!(read, [asked("t", 0, 3), asked("t", 1, 2)]);
}

#[test]
fn consumers_do_not_push_out_followers() {
    let sessions = sessions(1000);
    let follower = SessionRequest {
        is_follower: true,
        ..request(0, 0)
    };
    let (kept, ..) = run(&sessions, follower, &[asked("t", 0, 0)], &[], |_| QUIET, 0);
    let within = |session_id, epoch, is_follower| SessionRequest {
        session_id,
        epoch,
        uses_topic_ids: false,
        is_follower,
    };
    let consumers: Vec<i32> = (0..999)
        .map(|_| {
            run(&sessions, request(0, 0), &[asked("c", 0, 0)], &[], |_| QUIET, 0)
                .0
                .session_id
        })
        .collect();
    // All are in use, and old enough to give way to larger ones.
    let later = 120_001;
    run(
        &sessions,
        within(kept.session_id, 1, true),
        &[],
        &[],
        |_| QUIET,
        later,
    );
    for id in &consumers {
        run(&sessions, within(*id, 1, false), &[], &[], |_| QUIET, later);
    }
    let large: Vec<_> = (0..10).map(|partition| asked("c", partition, 0)).collect();
    let opened = (0..3000)
        .filter(|_| {
            let (answer, ..) = run(&sessions, request(0, 0), &large, &[], |_| QUIET, later);
            answer.session_id != 0
        })
        .count();
    assert_eq!((opened, sessions.count()), (999, 1000));
    let (answer, ..) = run(
        &sessions,
        within(kept.session_id, 2, true),
        &[],
        &[],
        |_| QUIET,
        later,
    );
    assert_eq!(answer.error, ErrorCode::None);
}

#[test]
fn slots_go_to_who_is_worth_more() {
    // Size and age of what is there, size and kind of what comes, at what time, and whether it gets the slot.
    for (resident, newcomer, is_follower, now_ms, expected) in [
        (1, 5, false, 1_000, false),
        (1, 5, true, 1_000, true),
        (5, 1, true, 1_000, true),
        (1, 5, false, 120_001, true),
        (5, 1, false, 120_001, false),
    ] {
        let sessions = sessions(1);
        let of = |count: i32| {
            (0..count)
                .map(|partition| asked("t", partition, 0))
                .collect::<Vec<_>>()
        };
        let (opened, ..) = run(&sessions, request(0, 0), &of(resident), &[], |_| QUIET, 0);
        // Used just now: it is not stale, though it may be old.
        run(
            &sessions,
            request(opened.session_id, 1),
            &[],
            &[],
            |_| QUIET,
            now_ms,
        );
        let newcomer_request = SessionRequest {
            is_follower,
            ..request(0, 0)
        };
        let (answer, ..) = run(&sessions, newcomer_request, &of(newcomer), &[], |_| QUIET, now_ms);
        assert_eq!(answer.session_id != 0, expected, "{resident} {newcomer} {now_ms}");
    }
}

#[test]
fn an_unused_session_gives_its_slot_to_anybody() {
    let sessions = sessions(1);
    let follower = SessionRequest {
        is_follower: true,
        ..request(0, 0)
    };
    run(&sessions, follower, &[asked("t", 0, 0)], &[], |_| QUIET, 0);
    let all = [asked("t", 0, 0)];
    let (early, ..) = run(&sessions, request(0, 0), &all, &[], |_| QUIET, 120_000);
    assert_eq!(early.session_id, 0);
    let (late, ..) = run(&sessions, request(0, 0), &all, &[], |_| QUIET, 120_001);
    assert_ne!(late.session_id, 0);
}

#[test]
fn epochs_wrap_to_one() {
    assert_eq!(next_epoch(0), 1);
    assert_eq!(next_epoch(i32::MAX), 1);
    assert_eq!(next_epoch(-1), -1);
}
