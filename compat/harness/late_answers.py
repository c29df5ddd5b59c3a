"""A way to the broker on which each answer comes a little late, and does not come at all when the broker ends meanwhile:
so that at any moment there are requests that were carried out and that the client does not know of."""

import asyncio
import collections
import struct
import threading

from .way import Way, frame_of

# A request: its API and its client's id.
Request = collections.namedtuple("Request", "api client")


class LateAnswers(Way):
    """Every request must be one that is answered (no acks=0)."""

    def __init__(self, seconds=0.005):
        self.seconds = seconds
        self.withheld, self.kept = None, threading.Event()
        super().__init__()

    def withhold(self, api, client):
        """The next answer to such a request does not get through, nor what comes behind it, until the broker ends. Returns
        as soon as there is one."""
        self.kept.clear()
        self.withheld = Request(api, client)
        return self.kept.wait(60)

    def let_through(self):
        """For connections to come."""
        self.withheld = None

    def carried(self, client, broker):
        asked = collections.deque()
        return self._note(client[0], broker[1], asked), self._hold(broker[0], client[1], asked)

    async def _note(self, source, sink, asked):
        while True:
            frame = await frame_of(source)
            api, client = struct.unpack_from(">h", frame, 4)[0], struct.unpack_from(">h", frame, 12)[0]
            asked.append(Request(api, frame[14 : 14 + client].decode() if client > 0 else ""))
            sink.write(frame)
            await sink.drain()

    async def _hold(self, source, sink, asked):
        """Answers come in the order of their requests."""
        held, loop = collections.deque(), asyncio.get_running_loop()

        async def let_go():
            while True:
                if not held:
                    await asyncio.sleep(0.001)
                    continue
                at, request, frame = held[0]
                await asyncio.sleep(at - loop.time())
                if request == self.withheld:
                    self.kept.set()
                    await loop.create_future()  # nothing more on this connection; its end cancels this
                # Not before: what is taken off is on its way.
                held.popleft()
                sink.write(frame)
                await sink.drain()

        letting_go = asyncio.ensure_future(let_go())
        try:
            while True:
                frame = await frame_of(source)
                held.append((loop.time() + self.seconds, asked.popleft(), frame))
        finally:
            letting_go.cancel()
