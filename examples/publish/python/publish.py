"""Publishes each line of standard input, a JSON text, on a subject: python publish.py SUBJECT < lines

NATS_URL says where NATS is (default nats://127.0.0.1:4222).
"""

import asyncio
import os
import sys
import uuid

import nats
import nats.errors
from nats.js import JetStreamContext

ATTEMPTS = 5


async def publish(jetstream: JetStreamContext, subject: str, payload: bytes) -> int:
    """Stores a message once: the stream drops repetitions of an id, so an attempt without an answer is repeated."""
    headers = {"Nats-Msg-Id": str(uuid.uuid4())}
    for attempt in range(ATTEMPTS):
        try:
            return (await jetstream.publish(subject, payload, headers=headers)).seq
        except (nats.errors.TimeoutError, nats.errors.NoRespondersError):
            if attempt == ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.1 * 2**attempt)
    raise AssertionError("unreachable")


async def main(subject: str) -> None:
    connection = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    jetstream = connection.jetstream()
    for line in sys.stdin.buffer:
        print("stored as", await publish(jetstream, subject, line.strip()))
    await connection.drain()


match sys.argv:
    case [_, subject]:
        asyncio.run(main(subject))
    case _:
        sys.exit(__doc__)
