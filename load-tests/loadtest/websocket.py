"""WebSockets by the `websockets` library: a client that asks and waits, and an echo to ask.

python3 -m loadtest.websocket echo PORT
python3 -m loadtest.websocket ask FILE    what to ask stands there, as JSON; prints the answers
"""

import asyncio
import json
import signal
import sys
import time

try:
    import websockets
except ImportError:
    raise SystemExit(
        "python3-websockets is missing here: `tests/install-prerequisites load` brings it for "
        "/usr/bin/python3, pip for another Python"
    ) from None


async def echo(port):
    async def answer(socket, *_):
        async for message in socket:
            await socket.send(message)

    async with websockets.serve(answer, "127.0.0.1", port, compression=None, backlog=4096):
        await asyncio.Future()


class Asking:
    """Sockets that send a message, wait for its echo, and send again."""

    def __init__(self, asked):
        self.asked = asked
        self.answers, self.errors = [], {}
        self.over = asyncio.Event()

    async def run(self):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self.over.set)
        self.began = time.perf_counter()
        loop.call_later(self.asked["seconds"], self.over.set)
        await asyncio.gather(*(self.socket() for _ in range(self.asked["connections"])))
        return {"answers": self.answers, "errors": self.errors}

    async def socket(self):
        message = "x" * self.asked["bytes"]
        try:
            async with websockets.connect(
                self.asked["url"], extra_headers=self.asked["headers"], compression=None,
                open_timeout=20,
            ) as socket:
                while not self.over.is_set():
                    start = time.perf_counter()
                    await socket.send(message)
                    if await asyncio.wait_for(socket.recv(), 20) != message:
                        raise ValueError("another message came back")
                    took = time.perf_counter() - start
                    self.answers.append((start - self.began, 101, took * 1e3))
        except websockets.InvalidStatusCode as refused:
            self.answers.append((0.0, refused.status_code, 0.0))
        except (OSError, ValueError, asyncio.TimeoutError, websockets.WebSocketException) as fault:
            kind = type(fault).__name__
            self.errors[kind] = self.errors.get(kind, 0) + 1


def main():
    what, value = sys.argv[1:]
    if what == "echo":
        asyncio.run(echo(int(value)))
    else:
        with open(value) as file:
            asked = json.load(file)

        async def ask():
            return await Asking(asked).run()

        json.dump(asyncio.run(ask()), sys.stdout)


if __name__ == "__main__":
    main()
