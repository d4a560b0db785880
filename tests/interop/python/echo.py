"""Python's websockets as a client of the echo server: python echo.py URL"""

import asyncio
import sys

from peer import LARGEST, client, closed, deflate, noise, run, wordy

URL = sys.argv[1]

BOUNDARIES = [0, 1, 2, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 1 << 20]
LARGE = [LARGEST]
MOST_FRAGMENTS = 65_536
# The library ends a fragmented message with an empty fragment of its own.
MOST_PIECES = MOST_FRAGMENTS - 1

ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


async def check(connection, message, what):
    answer = await connection.recv()
    assert type(answer) is type(message), f"{what}: {type(answer)}"
    assert answer == message, f"{what}: {len(answer)} bytes differ from the {len(message)} sent"


async def lengths(offers, sizes):
    async with client(URL, *offers) as connection:
        for size in sizes:
            # Deflate makes noise a little longer, and the limit counts what comes.
            for message in (wordy(size), wordy(size, True), noise(min(size, LARGEST - 65_536))):
                await connection.send(message)
                await check(connection, message, f"{size} bytes")


async def fragments(offers):
    async with client(URL, *offers) as connection:
        pieces = [f"{n};" for n in range(MOST_PIECES)]
        await connection.send(pieces)
        await check(connection, "".join(pieces), "the most fragments")
        for size in (1, 2, 127, 4_096, 70_000):
            message = wordy(size * 7 + 1, True)
            await connection.send([message[n : n + size] for n in range(0, len(message), size)])
            await check(connection, message, f"fragments of {size}")
        await connection.send(["", "", "a", ""])
        await check(connection, "a", "empty fragments")


async def pings(offers):
    async with client(URL, *offers) as connection:
        for size in range(126):
            await (await connection.ping(bytes([size]) * size))
        pongs = []

        async def pieces():
            for n in range(100):
                yield f"{n};"
                pongs.append(await connection.ping(f"ping {n}"))

        await connection.send(pieces())
        await check(connection, "".join(f"{n};" for n in range(100)), "the message around the pings")
        assert all(pong.done() for pong in pongs), "the pongs come first"
        await connection.pong("nobody asked")
        await connection.send("still here")
        await check(connection, "still here", "after a pong unasked")


async def pipelined(offers):
    messages = [wordy(n % 700, n % 3 == 0) for n in range(5_000)]
    async with client(URL, *offers) as connection:

        async def send():
            for message in messages:
                await connection.send(message)

        sending = asyncio.create_task(send())
        for n, message in enumerate(messages):
            await check(connection, message, f"message {n}")
        await sending


async def offers():
    wide = f"{ANSWER}; server_max_window_bits=15"
    narrow = deflate(server_max_window_bits=10)
    for offered, answer in (
        ([deflate()], ANSWER),
        ([deflate(server_no_context_takeover=True)], ANSWER),
        ([deflate(client_no_context_takeover=True)], ANSWER),
        ([deflate(client_max_window_bits=True)], ANSWER),
        ([deflate(client_max_window_bits=9)], ANSWER),
        ([deflate(server_max_window_bits=15, client_max_window_bits=True)], wide),
        ([narrow], None),
        ([narrow, deflate(server_max_window_bits=9), deflate()], ANSWER),
        ([narrow, deflate(server_max_window_bits=15)], wide),
        ([], None),
    ):
        async with client(URL, *offered) as connection:
            header = connection.response.headers.get("Sec-WebSocket-Extensions")
            assert header == answer, f"{header} to {offered}"
            assert bool(connection.protocol.extensions) == bool(answer)
            for message in (wordy(3_000), wordy(3_000), wordy(200_000, True), noise(500), "", "short"):
                await connection.send(message)
                await check(connection, message, repr(offered))


async def close_codes():
    codes = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999]
    for code in codes:
        for reason in ("", "because", "é" * 61):
            connection = await client(URL)
            await connection.close(code, reason)
            assert await closed(connection) == (code, "")


async def reasons():
    for offered in ([], [deflate()]):
        connection = await client(URL, *offered)
        await connection.send(b"a\xff", text=True)
        assert await closed(connection) == (1007, "text is not valid UTF-8")
        connection = await client(URL, *offered)
        sending = asyncio.create_task(connection.send(bytes(LARGEST + 1)))
        assert await closed(connection) == (1009, "the message is larger than the limit")
        await asyncio.gather(sending, return_exceptions=True)


async def protocols():
    for path in ("", "ws", "a/b/c?d=e&f=%20"):
        async with client(URL + path, subprotocols=["wsgateway.v1", "other"]) as connection:
            assert connection.subprotocol == "wsgateway.v1"
            await connection.send(path)
            await check(connection, path, path)


WITH = [deflate(client_max_window_bits=True)]

run(
    {
        "every length, plain": lambda: lengths([], BOUNDARIES),
        "every length, compressed": lambda: lengths(WITH, BOUNDARIES),
        "16 MiB, plain": lambda: lengths([], LARGE),
        "16 MiB, compressed": lambda: lengths(WITH, LARGE),
        "65,536 fragments, plain": lambda: fragments([]),
        "65,536 fragments, compressed": lambda: fragments(WITH),
        "pings, plain": lambda: pings([]),
        "pings, compressed": lambda: pings(WITH),
        "thousands of messages before the first answer is read, plain": lambda: pipelined([]),
        "thousands of messages before the first answer is read, compressed": lambda: pipelined(WITH),
        "offers of permessage-deflate": offers,
        "close codes come back": close_codes,
        "the server says why it closes": reasons,
        "paths, queries and protocols": protocols,
    }
)
