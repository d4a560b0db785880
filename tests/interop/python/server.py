"""Echo servers of Python's websockets, for our client role: python server.py

Says "listening PORT". The path tells how to answer:
  /              as it came, compressed if that was agreed on
  /window        the same with a window of 512 bytes
  /fragments     every message in three fragments, a ping between them
  /close/N/TEXT  closes with code N and a reason as soon as a message comes
  /big           closes with 1009 on a message above 1,000 bytes
"""

import asyncio
from urllib.parse import unquote

from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

LARGEST = 16 << 20


async def pieces(connection, data):
    third = -(-len(data) // 3)
    for n in range(3):
        yield data[n * third : (n + 1) * third]
        if n < 2:
            await connection.ping()


async def answer(connection):
    how, *more = connection.request.path.removeprefix("/").split("/")
    if how == "big":
        connection.protocol.max_message_size = 1_000
    async for message in connection:
        if how == "fragments":
            await connection.send(pieces(connection, message))
        elif how == "close":
            await connection.close(int(more[0]), unquote(more[1]))
        else:
            await connection.send(message)


def extensions(path):
    bits = 9 if path.startswith("/window") else None
    return [ServerPerMessageDeflateFactory(server_max_window_bits=bits)]


async def main():
    async def choose(connection, request):
        connection.protocol.available_extensions = extensions(request.path)

    options = {"compression": None, "max_size": LARGEST, "ping_interval": None}
    async with serve(answer, "127.0.0.1", 0, process_request=choose, **options) as server:
        print(f"listening {server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
