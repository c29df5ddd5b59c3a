"""A way to the broker on which each answer comes a little late, and does not come at all when the broker ends meanwhile:
so that at any moment there are requests that were carried out and that the client does not know of."""

import asyncio
import threading

from . import brokers


class LateAnswers:
    """Listens on a port of its own; a broker advertises `bootstrap` in place of its own address. Ends with the script."""

    def __init__(self, seconds=0.005):
        self.port, self.seconds = brokers.free_port(), seconds
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.dropped = 0
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

    async def _accepted(self, reader, writer):
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        ends = [
            asyncio.ensure_future(self._pass_on(reader, broker_writer)),
            asyncio.ensure_future(self._hold(broker_reader, writer)),
        ]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for one in ends:
            one.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        for one in (writer, broker_writer):
            one.close()

    @staticmethod
    async def _pass_on(source, sink):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()

    async def _hold(self, source, sink):
        held, loop = [], asyncio.get_running_loop()

        async def let_go():
            while True:
                if not held:
                    await asyncio.sleep(0.001)
                    continue
                at, data = held[0]
                await asyncio.sleep(at - loop.time())
                # Not before: what is taken off is on its way.
                held.pop(0)
                sink.write(data)
                await sink.drain()

        letting_go = asyncio.ensure_future(let_go())
        try:
            while data := await source.read(1 << 16):
                held.append((loop.time() + self.seconds, data))
        finally:
            letting_go.cancel()
            self.dropped += len(held)
