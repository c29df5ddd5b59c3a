//! Nobody is told what the replicas do not have yet (Kafka: `pendingOffsetCommits`, and SyncGroup that is answered once the
//! assignment is stored).

use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::coordinator::Token;
use crate::group::command::*;
use crate::group::testing::*;
use crate::wire::text::Text;

fn committed(h: &mut Harness, token: Token) -> Option<ErrorCode> {
    h.answer(token).map(|answer| match answer {
        Answer::Commit(answer) => answer.errors[0],
        other => panic!("{other:?}"),
    })
}

fn send_commit(h: &mut Harness, topic: &'static str, offset: i64) -> Token {
    h.send(Command::Commit(commit(topic, offset)))
}

#[test]
fn a_commit_is_told_once_the_replicas_have_it() {
    let mut h = Harness::new();
    h.commit(commit("topic", 1));
    h.lags = true;
    let first = send_commit(&mut h, "topic", 98);
    let behind_first = h.log_end();
    let second = send_commit(&mut h, "topic", 99);
    assert_eq!((committed(&mut h, first), h.fetch("topic")), (None, 1));
    let unstable = h.fetch_stable("topic", true);
    assert_eq!(
        (unstable.error, unstable.offset, unstable.leader_epoch),
        (ErrorCode::UnstableOffsetCommit, -1, -1)
    );
    h.replicate(behind_first);
    assert_eq!(
        (committed(&mut h, first), committed(&mut h, second)),
        (Some(ErrorCode::None), None)
    );
    assert_eq!(h.fetch("topic"), 98);
    assert_eq!(
        h.fetch_stable("topic", true).error,
        ErrorCode::UnstableOffsetCommit
    );
    let end = h.log_end();
    h.replicate(end);
    assert_eq!(committed(&mut h, second), Some(ErrorCode::None));
    let stable = h.fetch_stable("topic", true);
    assert_eq!((stable.error, stable.offset), (ErrorCode::None, 99));
}

#[test]
fn a_commit_that_was_not_replicated_in_time_is_not_told_before_it_is() {
    let mut h = Harness::new();
    h.commit(commit("topic", 1));
    h.lags = true;
    let late = send_commit(&mut h, "topic", 99);
    h.time_out();
    assert_eq!(committed(&mut h, late), Some(ErrorCode::RequestTimedOut));
    assert_eq!(h.fetch("topic"), 1);
    // It may still be lost, or not: a client that wants to know must wait.
    assert_eq!(
        h.fetch_stable("topic", true).error,
        ErrorCode::UnstableOffsetCommit
    );
    let end = h.log_end();
    h.replicate(end);
    assert_eq!(h.fetch_stable("topic", true).offset, 99, "a load would find it");
    h.fail_over();
    assert_eq!(h.fetch("topic"), 99);
}

#[test]
fn a_first_commit_is_none_until_the_replicas_have_it() {
    let mut h = Harness::new();
    h.lags = true;
    send_commit(&mut h, "topic", 5);
    assert_eq!(h.fetch("topic"), -1);
    assert_eq!(
        h.fetch_stable("topic", true).error,
        ErrorCode::UnstableOffsetCommit
    );
    assert_eq!(h.fetch_topics(None, true), []);
    assert_eq!(h.state(), "Empty", "as Kafka, which makes the group at once");
    let end = h.log_end();
    h.replicate(end);
    assert_eq!(h.fetch_topics(None, true)[0].1[0].offset, 5);
}

#[test]
fn what_a_transaction_commits_is_told_once_the_replicas_have_its_marker() {
    let mut h = Harness::new();
    h.commit(commit("topic", 1));
    let mut other = Harness::new();
    other.commit(commit("topic", 5));
    let (record, _) = other.last_batch().remove(0);
    h.append_transactional(9, record);
    h.lags = true;
    h.end_transaction(9, true);
    assert_eq!(h.fetch("topic"), 1);
    assert_eq!(
        h.fetch_stable("topic", true).error,
        ErrorCode::UnstableOffsetCommit
    );
    let end = h.log_end();
    h.replicate(end);
    assert_eq!(h.fetch_stable("topic", true).offset, 5);
}

#[test]
fn a_removal_counts_at_once_as_in_kafka() {
    let mut h = Harness::new();
    h.commit(commit("topic", 1));
    h.lags = true;
    send_commit(&mut h, "topic", 2);
    h.send(Command::Delete(vec![GROUP.into()]));
    assert_eq!(h.fetch_stable("topic", true).error, ErrorCode::None);
    assert_eq!((h.fetch("topic"), h.state()), (-1, "Dead"));
    send_commit(&mut h, "topic", 3);
    assert_eq!(
        h.fetch("topic"),
        -1,
        "what was before the removal does not come back"
    );
    let end = h.log_end();
    h.replicate(end);
    assert_eq!(h.fetch("topic"), 3);
}

#[test]
fn what_is_not_replicated_does_not_expire() {
    let mut h = Harness::new();
    h.commit(commit("topic", 1));
    h.lags = true;
    send_commit(&mut h, "topic", 2);
    let end = h.log_end();
    h.advance(8 * 86_400_000);
    h.send(Command::Expire);
    assert_eq!(h.log_end(), end, "no tombstone");
    h.replicate(end);
    h.lags = false;
    h.ask(Command::Expire);
    assert_eq!(h.fetch("topic"), -1);
}

#[test]
fn what_waits_for_the_replicas_has_a_bound() {
    let mut h = Harness::new();
    h.settings.max_unreplicated_bytes = 2_000;
    h.fail_over();
    h.lags = true;
    let taken = (0..100).take_while(|number| {
        let token = send_commit(&mut h, "topic", *number);
        committed(&mut h, token).is_none()
    });
    assert_eq!(taken.count(), 6);
    let refused = send_commit(&mut h, "topic", 7);
    assert_eq!(
        committed(&mut h, refused),
        Some(ErrorCode::CoordinatorNotAvailable)
    );
    let end = h.log_end();
    h.replicate(end);
    h.lags = false;
    assert_eq!(h.commit(commit("topic", 7)), [ErrorCode::None]);
    assert_eq!(h.fetch("topic"), 7);
}

/// Two members, of whom the leader has brought an assignment that no replica has.
fn assigned(h: &mut Harness) -> (Vec<Text>, Token) {
    let tokens = [join(""), join("")].map(|join| h.send(Command::Join(join)));
    h.advance(7_000);
    let joined = tokens.map(|token| h.joined(token));
    let (leader, other) = match joined[0].leader == joined[0].member_id {
        true => (&joined[0].member_id, &joined[1].member_id),
        false => (&joined[1].member_id, &joined[0].member_id),
    };
    let ids = vec![leader.clone(), other.clone()];
    h.lags = true;
    let parts = assignments(&ids);
    (ids.clone(), h.send(Command::Sync(sync(&ids[0], 1, parts))))
}

#[test]
fn an_assignment_is_told_nobody_before_the_replicas_have_it() {
    let mut h = Harness::new();
    let (ids, leading) = assigned(&mut h);
    let following = h.send(Command::Sync(sync(&ids[1], 1, vec![])));
    assert!(h.is_waiting(leading) && h.is_waiting(following));
    let described = h.describe();
    assert_eq!(
        (described.state, &*described.protocol),
        ("CompletingRebalance", "")
    );
    assert!(
        described
            .members
            .iter()
            .all(|member| member.assignment.is_empty())
    );
    assert_eq!(h.listed()[0].state, "CompletingRebalance");
    assert_eq!(h.heartbeat(&ids[1], 1), ErrorCode::None);
    let end = h.log_end();
    h.replicate(Offset(end.get() - 1));
    assert!(h.is_waiting(leading) && h.is_waiting(following));
    h.replicate(end);
    assert_eq!(h.synced(leading).assignment, assignment(&ids[0]));
    assert_eq!(h.synced(following).assignment, assignment(&ids[1]));
    assert_eq!((h.state(), h.listed()[0].state), ("Stable", "Stable"));
    let again = h.sync(sync(&ids[1], 1, vec![]));
    assert_eq!(again.assignment, assignment(&ids[1]));
}

#[test]
fn whoever_asks_for_an_assignment_that_is_not_replicated_in_time_joins_again() {
    let mut h = Harness::new();
    let (ids, leading) = assigned(&mut h);
    let following = h.send(Command::Sync(sync(&ids[1], 1, vec![])));
    h.time_out();
    for token in [leading, following] {
        let answer = h.synced(token);
        assert_eq!(answer.error, ErrorCode::RebalanceInProgress);
        assert!(answer.assignment.is_empty());
    }
}
