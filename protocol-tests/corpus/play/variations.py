"""Variations of a request: each nullable field null, each array and text empty, numbers at their bounds. Made from the
definitions, so that a field which is added is varied too."""

import copy

BOUNDS = {
    "int8": (-128, 127),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
UNKNOWN_ID = "11111111-2222-3333-4444-555555555555"


def of(field, version):
    """(how it is called, value) for a field."""
    found = []
    if field.is_nullable_in(version):
        found.append(("null", None))
    if field.is_array or field.type in ("string", "bytes", "records"):
        found.append(("empty", [] if field.is_array else ""))
    elif field.type in BOUNDS:
        low, high = BOUNDS[field.type]
        found += [("min", low), ("-1", -1), ("max", high)] if low else [("0", 0), ("max", high)]
    elif field.type == "bool":
        found += [("false", False), ("true", True)]
    elif field.type == "uuid":
        found += [("zero", "00000000-0000-0000-0000-000000000000"), ("unknown", UNKNOWN_ID)]
    elif field.type == "float64":
        found += [("-1", -1.0), ("max", 1.7976931348623157e308)]
    return found


def variations(message, body, version):
    """(name, request) for each: `Topics.Name=empty`. Only the first element of an array is varied."""
    for steps, name, value in _walk(message, message.name, body, version, [], ""):
        varied = copy.deepcopy(body)
        place = varied
        for step in steps[:-1]:
            place = place[step]
        place[steps[-1]] = value
        yield name, varied


def _walk(message, struct, value, version, steps, path):
    for field in message.structs[struct]:
        if not field.is_in(version):
            continue
        here = f"{path}{field.name}"
        for name, instead in of(field, version):
            yield [*steps, field.name], f"{here}={name}", instead
        inside = value.get(field.name)
        if field.is_struct and inside:
            down = [*steps, field.name] + ([0] if field.is_array else [])
            yield from _walk(message, field.element, inside[0] if field.is_array else inside, version, down, here + ".")
