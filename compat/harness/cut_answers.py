"""A way to the broker on which connections break at the worst time: when a Produce was carried out and before its answer is
there. It looks into the frames to know which they are."""

import struct

from . import wire
from .way import Way, frame_of


class CutAnswers(Way):
    """The answer to every `nth` Produce is thrown away and its connection closed, `most` times in all."""

    def __init__(self, nth=2, most=5):
        self.nth, self.most = nth, most
        self.produced = self.cuts = 0
        super().__init__()

    def carried(self, client, broker):
        doomed = set()
        return self._requests(client[0], broker[1], doomed), self._answers(broker[0], client[1], doomed)

    async def _requests(self, source, sink, doomed):
        while True:
            frame = await frame_of(source)
            key, _, correlation_id = struct.unpack_from(">hhi", frame, 4)
            if key == wire.PRODUCE:
                self.produced += 1
                if self.produced % self.nth == 0 and self.cuts + len(doomed) < self.most:
                    doomed.add(correlation_id)
            sink.write(frame)
            await sink.drain()

    async def _answers(self, source, sink, doomed):
        while True:
            frame = await frame_of(source)
            if struct.unpack_from(">i", frame, 4)[0] in doomed:
                self.cuts += 1
                return
            sink.write(frame)
            await sink.drain()
