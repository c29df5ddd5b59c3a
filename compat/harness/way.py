"""A way to the broker that does something to what goes over it."""

import asyncio
import struct
import threading

from . import brokers


async def pass_on(source, sink):
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()


async def frame_of(source):
    """The next request or answer, with its size in front."""
    size = await source.readexactly(4)
    return size + await source.readexactly(struct.unpack(">i", size)[0])


class Way:
    """Listens on a port of its own; a broker advertises `bootstrap` in place of its own address. Ends with the script.
    A kind of way has `carried(client, broker)`: two coroutines, of what goes either way, for the streams of one connection.
    It is over with the first of them that ends."""

    def __init__(self):
        self.port = brokers.free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        listening = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(listening)), daemon=True).start()
        listening.wait()

    def to(self, port):
        self.target = port
        return self

    async def _serve(self, listening):
        server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        listening.set()
        await server.serve_forever()

    async def _accepted(self, *client):
        try:
            broker = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            client[1].close()
            return
        ends = [asyncio.ensure_future(end) for end in self.carried(client, broker)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for one in ends:
            one.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        for one in (client[1], broker[1]):
            one.close()


class Gate(Way):
    """Nothing happens to what goes over it; while it is `shut`, nobody comes through."""

    shut = False

    async def _accepted(self, *client):
        if self.shut:
            client[1].close()
        else:
            await super()._accepted(*client)

    def carried(self, client, broker):
        return pass_on(client[0], broker[1]), pass_on(broker[0], client[1])
