"""What the programs of this folder share: connections, test data, and a list of cases."""

import asyncio
import random
import sys
import traceback

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

# How long one case may take on a machine that compiles at the same time.
CASE_SECONDS = 60
LARGEST = 16 << 20


def deflate(**offer):
    """An offer of permessage-deflate."""
    return ClientPerMessageDeflateFactory(**offer)


def client(url, *offers, **options):
    """A connection that offers nothing but what it is told to, and sends no ping by itself."""
    return connect(
        url,
        extensions=list(offers),
        compression=None,
        max_size=LARGEST,
        ping_interval=None,
        proxy=None,
        **options,
    )


def wordy(length, binary=False):
    """Text or bytes that deflate makes smaller; different at every place."""
    text = "".join(f"word {n:06}," for n in range(length // 12 + 1))[:length]
    return text.encode() if binary else text


def noise(length):
    """Bytes that deflate cannot make smaller; the same at every run."""
    return random.Random(length).randbytes(length)


async def closed(connection):
    """Code and reason of the server's close frame."""
    try:
        while True:
            await connection.recv()
    except ConnectionClosed as end:
        assert end.rcvd is not None, "no close frame"
        return end.rcvd.code, end.rcvd.reason


def run(cases):
    """Runs the cases one after the other; the process fails if one does."""

    async def every():
        for name, case in cases.items():
            try:
                async with asyncio.timeout(CASE_SECONDS):
                    await case()
            except Exception:
                print(f"FAILED {name}: {traceback.format_exc()}", file=sys.stderr)
                sys.exit(1)
            print(f"ok {name}", flush=True)

    asyncio.run(every())
