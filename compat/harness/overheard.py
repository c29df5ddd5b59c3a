"""A way to the broker that changes nothing, and keeps what each Produce asks for: what a client sends is not always what it
was told to."""

from . import wire
from .way import Way, frame_of, pass_on


def acks_of(frame):
    """Those of a Produce request of any version; None of another request."""
    fields = wire.Reader(frame, 4)
    key, version, _ = fields.i16(), fields.i16(), fields.i32()
    if key != wire.PRODUCE:
        return None
    fields.string()
    if version >= 9:
        for _ in range(fields.uvarint()):  # tagged fields of the header
            fields.uvarint()
            fields.take(fields.uvarint())
        fields.take(max(fields.uvarint() - 1, 0))
    elif version >= 3:
        fields.string()
    return fields.i16()


class Overheard(Way):
    def __init__(self):
        self.produced = []
        super().__init__()

    def acks(self, text):
        """Those of each Produce that holds this, in the order in which they came."""
        return [acks for acks, frame in list(self.produced) if text in frame]

    def carried(self, client, broker):
        return self._requests(client[0], broker[1]), pass_on(broker[0], client[1])

    async def _requests(self, source, sink):
        while True:
            frame = await frame_of(source)
            acks = acks_of(frame)
            if acks is not None:
                self.produced.append((acks, frame))
            sink.write(frame)
            await sink.drain()
