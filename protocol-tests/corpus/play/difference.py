"""Where two answers differ, field by field."""

from . import values

# What tells elements of an array apart.
_IDENTITY = (
    "Name", "TopicName", "Topic", "GroupId", "Key", "ResourceType", "ResourceName", "PartitionIndex",
    "Partition", "Index", "ApiKey", "MemberId", "NodeId", "ConfigName", "BrokerId",
)  # fmt: skip


def identity(element):
    if not isinstance(element, dict):
        return (values.render(element),)
    found = [str(element[name]) for name in _IDENTITY if name in element and element[name] is not None]
    return tuple(found) if found else (values.render(element),)


def differences(kafka, ours, path=""):
    """(path, what Kafka has, what we have); `Topics[order]` when only the order differs."""
    if isinstance(kafka, dict) and isinstance(ours, dict):
        for name in [*kafka, *(name for name in ours if name not in kafka)]:
            here = f"{path}.{name}" if path else name
            if name not in kafka or name not in ours:
                yield here, kafka.get(name, "<absent>"), ours.get(name, "<absent>")
            else:
                yield from differences(kafka[name], ours[name], here)
    elif isinstance(kafka, list) and isinstance(ours, list):
        yield from _of_arrays(kafka, ours, path)
    elif kafka != ours or type(kafka) is not type(ours):
        yield path, kafka, ours


def _less(some, others):
    """Some without the others; what is twice in one and once in the other is left once."""
    left, others = [], list(others)
    for one in some:
        if one in others:
            others.remove(one)
        else:
            left.append(one)
    return left


def _of_arrays(kafka, ours, path):
    theirs, mine = [identity(one) for one in kafka], [identity(one) for one in ours]
    if theirs != mine and sorted(theirs) == sorted(mine):
        yield f"{path}[order]", [" ".join(one) for one in theirs], [" ".join(one) for one in mine]
        kafka, ours = sorted(kafka, key=identity), sorted(ours, key=identity)
    if len(kafka) != len(ours):
        yield f"{path}[]", _less(kafka, ours), _less(ours, kafka)
        return
    for one, other in zip(kafka, ours):
        yield from differences(one, other, path)
