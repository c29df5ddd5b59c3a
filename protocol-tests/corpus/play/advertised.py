"""What Barnabas advertises beside what Kafka 3.9.2 does: the same, wider (and by which row of docs/deviations.md), or not
there yet (and why)."""

from . import definitions, deviations
from .answers import NEW, OLD, spans

OF_4 = deviations.OF_4
# APIs that we answer and Kafka 3.9.2 in ZooKeeper mode does not.
MORE = {"DescribeTopicPartitions": "DescribeTopicPartitions", "ListConfigResources": OF_4}
TRANSACTIONS = "transactions are not there yet (README)"
SHARE = "share groups are of Kafka 4, and not there (README)"
STREAMS = "the groups of Kafka Streams are of Kafka 4, and not there (README)"
KRAFT = "of KRaft, which keeps the cluster's state in Kafka itself; ours is in ZooKeeper"
# By number, for we have no messages for them: name and why.
NOT_THERE = {
    24: ("AddPartitionsToTxn", TRANSACTIONS),
    25: ("AddOffsetsToTxn", TRANSACTIONS),
    26: ("EndTxn", TRANSACTIONS),
    27: ("WriteTxnMarkers", TRANSACTIONS),
    28: ("TxnOffsetCommit", TRANSACTIONS),
    36: ("SaslAuthenticate", "SASL is not there yet (README)"),
    55: ("DescribeQuorum", KRAFT),
    58: ("Envelope", "of KRaft, whose brokers send it to their controllers; ours ask the controller themselves"),
    64: ("UnregisterBroker", KRAFT),
    65: ("DescribeTransactions", TRANSACTIONS),
    66: ("ListTransactions", TRANSACTIONS),
    68: ("ConsumerGroupHeartbeat", "the new consumer protocol is not there yet (README)"),
    69: ("ConsumerGroupDescribe", "the new consumer protocol is not there yet (README)"),
    76: ("ShareGroupHeartbeat", SHARE),
    77: ("ShareGroupDescribe", SHARE),
    78: ("ShareFetch", SHARE),
    79: ("ShareAcknowledge", SHARE),
    80: ("AddRaftVoter", KRAFT),
    81: ("RemoveRaftVoter", KRAFT),
    83: ("InitializeShareGroupState", SHARE),
    84: ("ReadShareGroupState", SHARE),
    85: ("WriteShareGroupState", SHARE),
    86: ("DeleteShareGroupState", SHARE),
    87: ("ReadShareGroupStateSummary", SHARE),
    88: ("StreamsGroupHeartbeat", STREAMS),
    89: ("StreamsGroupDescribe", STREAMS),
    90: ("DescribeShareGroupOffsets", SHARE),
    91: ("AlterShareGroupOffsets", SHARE),
    92: ("DeleteShareGroupOffsets", SHARE),
}


def faults(ours, served):
    """`ours`: {name or number: [lowest, highest]}."""
    old, new = served[OLD], served[NEW]
    for name in sorted({*ours, *old, *new}):
        mine, theirs = ours.get(name), old.get(name)
        if mine is None:
            if not name.isdigit() or int(name) not in NOT_THERE:
                yield f"{name} is not advertised, and no reason is given"
        elif name.isdigit():
            yield f"{name} is advertised, and the corpus does not know it"
        elif theirs is None and (name not in MORE or mine != new.get(name)):
            yield f"{name} {mine} is advertised; Kafka 4.2.0 has {new.get(name)}, and no reason is given"
        elif theirs is not None and mine != theirs and mine != [theirs[0], new[name][1]]:
            yield f"{name} {mine} is advertised; Kafka 3.9.2 has {theirs}, 4.2.0 {new.get(name)}"
    for name in ours:
        if name.isdigit() and int(name) in NOT_THERE:
            yield f"{name} is advertised and said to be not there"


def document(served):
    """What is the same, wider and not there, of the definitions that we have."""
    old, new = served[OLD], served[NEW]
    same, wider = [], []
    for name, api in definitions.load().items():
        theirs = old.get(name)
        if theirs == [api.lowest, api.highest]:
            same.append(name)
        elif theirs:
            more = spans(range(theirs[1] + 1, api.highest + 1))
            wider.append(f"| {name} | {more} | {OF_4} |\n")
        else:
            wider.append(f"| {name} | {api.lowest}-{api.highest} | {MORE[name]} |\n")
    out = ["## What is advertised\n\n", f"As by Kafka 3.9.2: {', '.join(same)}.\n\n"]
    out += ["| wider than 3.9.2 | versions | row of docs/deviations.md |\n|---|---|---|\n", *wider]
    out += ["\n| not there | why |\n|---|---|\n"]
    out += [f"| {name} | {why} |\n" for number, (name, why) in NOT_THERE.items() if str(number) in {**old, **new}]
    return out
