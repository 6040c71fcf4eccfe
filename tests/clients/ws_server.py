"""A WebSocket target whose paths say what it does.

Prints its port and serves until it is ended.
"""

import asyncio
import http

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

# A busy machine is no reason to hang up, and a hundred clients at once are none to turn one away.
PATIENCE = 60

closed_with = []


async def speak(connection):
    path = connection.request.path
    try:
        if path.startswith("/close/"):
            await connection.close(int(path.rsplit("/", 1)[1]), "as you wish")
        elif path.startswith("/count/"):
            for number in range(int(path.rsplit("/", 1)[1])):
                await connection.send(str(number))
        elif path == "/closed-with":
            await connection.send(",".join(str(code) for code in closed_with))
        else:
            if path == "/greeting":
                await connection.send("welcome")
            async for message in connection:
                await connection.send(message)
    except ConnectionClosed:
        pass
    if path == "/note":
        closed_with.append(connection.close_code)


def admit(connection, request):
    if request.path == "/refused":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not you\n")
    return None


def choose(_connection, offered):
    known = [subprotocol for subprotocol in offered if subprotocol in ("second", "third")]
    return known[0] if known else None


async def main():
    server = serve(
        speak,
        "127.0.0.1",
        0,
        process_request=admit,
        select_subprotocol=choose,
        max_size=None,
        ping_interval=None,
        open_timeout=PATIENCE,
        close_timeout=PATIENCE,
        backlog=512,
    )
    async with server as listening:
        print(listening.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())
