"""A WebSocket client that tries what people do with them, and ends with a sentence on the first
wrong thing.

    ws_client.py ws://HOST:PORT
    ws_client.py wss://localhost:PORT CERTIFICATE
"""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

PATIENCE = 60


class Wrong(Exception):
    """Something is not as it should be."""


def expect(what, wanted, found):
    if wanted != found:
        raise Wrong(f"{what}: wanted {wanted!r:.200}, found {found!r:.200}")


class Site:
    """Where to connect to."""

    def __init__(self, url, certificate):
        self.url = url
        self.trusted = certificate and ssl.create_default_context(cafile=certificate)

    def open(self, path="/", **options):
        options = {
            "max_size": None,
            "ping_interval": None,
            "proxy": None,
            "open_timeout": PATIENCE,
            "close_timeout": PATIENCE,
            **options,
        }
        return connect(self.url + path, ssl=self.trusted, **options)


async def echo(site):
    async with site.open() as socket:
        for message in ["hello", "", "grüße", b"\x00\xff", b""]:
            await socket.send(message)
            expect("the echo", message, await socket.recv())


async def large_messages(site):
    for compression in ["deflate", None]:
        async with site.open(compression=compression) as socket:
            for size in [125, 126, 65_535, 65_536, 4 << 20]:
                message = os.urandom(size)
                await socket.send(message)
                if await socket.recv() != message:
                    raise Wrong(f"{size} bytes came back changed, compression {compression}")


async def many_messages(site):
    async with site.open() as socket:

        async def send():
            for number in range(5_000):
                await socket.send(f"message {number}")

        sending = asyncio.create_task(send())
        for number in range(5_000):
            expect("the echo", f"message {number}", await socket.recv())
        await sending


async def fragments(site):
    async with site.open() as socket:
        await socket.send(part for part in ["one ", "two ", "three"])
        expect("the whole", "one two three", await socket.recv())


async def pings(site):
    async with site.open() as socket:
        for _ in range(20):
            await (await socket.ping())


async def a_stream_from_the_target(site):
    async with site.open("/count/2000") as socket:
        got = [message async for message in socket]
    expect("the messages", [str(number) for number in range(2_000)], got)
    expect("the code", 1000, socket.close_code)


async def codes_from_the_target(site):
    for code in [1000, 1001, 1011, 3000, 4999]:
        async with site.open(f"/close/{code}") as socket:
            try:
                message = await socket.recv()
            except ConnectionClosed:
                pass
            else:
                raise Wrong(f"wanted an end with {code}, got {message!r}")
            expect("the code", code, socket.close_code)
            expect("the reason", "as you wish", socket.close_reason)


async def codes_from_the_client(site):
    codes = [1000, 1001, 3001, 4002]
    for code in codes:
        async with site.open("/note") as socket:
            await socket.close(code)
            expect("the code", code, socket.close_code)
    wanted = ",".join(str(code) for code in codes)
    for _ in range(500):
        async with site.open("/closed-with") as socket:
            noted = await socket.recv()
        if noted == wanted:
            return
        await asyncio.sleep(0.01)
    raise Wrong(f"the target noted {noted}, not {wanted}")


async def subprotocols(site):
    async with site.open(subprotocols=["first", "third", "second"]) as socket:
        expect("the subprotocol", "third", socket.subprotocol)


async def a_refusal_of_the_target(site):
    try:
        async with site.open("/refused"):
            raise Wrong("what the target has refused is open")
    except InvalidStatus as refused:
        expect("the status", 403, refused.response.status_code)
        expect("the body", b"not you\n", refused.response.body)


async def upgrades_in_a_row(site):
    """An upgrade has to survive whichever side is faster to speak."""
    for number in range(300):
        path, first = [("/", None), ("/greeting", "welcome")][number % 2]
        try:
            async with site.open(path) as socket:
                if first is not None:
                    expect("the first message", first, await socket.recv())
                for word in range(3):
                    await socket.send(f"{number} {word}")
                    expect("the echo", f"{number} {word}", await socket.recv())
        except (WebSocketException, OSError, EOFError) as error:
            raise Wrong(f"upgrade {number} of 300: {error!r}") from error


async def upgrades_at_once(site):
    async def one(number):
        async with site.open("/greeting") as socket:
            expect("the first message", "welcome", await socket.recv())
            await socket.send(str(number))
            expect("the echo", str(number), await socket.recv())

    await asyncio.gather(*[one(number) for number in range(100)])


CHECKS = [
    echo,
    large_messages,
    many_messages,
    fragments,
    pings,
    a_stream_from_the_target,
    codes_from_the_target,
    codes_from_the_client,
    subprotocols,
    a_refusal_of_the_target,
    upgrades_in_a_row,
    upgrades_at_once,
    echo,
]


async def main(url, certificate=None):
    site = Site(url, certificate)
    for check in CHECKS:
        try:
            async with asyncio.timeout(PATIENCE):
                await check(site)
        except (Wrong, WebSocketException, OSError, EOFError) as wrong:
            print(f"{check.__name__}: {wrong or repr(wrong)}", flush=True)
            return 1
        print(f"{check.__name__}: good", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
