"""Python's websockets as clients of the gateway: python gateway.py PLAIN DEFLATE BATCH BOTH

One client for each URL, which tells in which way it is to ask. Says "subscribed" once all are; then every text that
came, one line of JSON each, when all have seen a message on the channel "end".
"""

import asyncio
import json
import sys

from peer import client, deflate, run

# Name, whether compression is offered, whether batches are asked for.
WAYS = [("plain", False, False), ("deflate", True, False), ("batch", False, True), ("both", True, True)]


async def subscribe(url, offered, batch):
    offers = [deflate(client_max_window_bits=True)] if offered else []
    connection = await client(url, *offers, subprotocols=["wsgateway.v1"])
    assert connection.subprotocol == "wsgateway.v1"
    assert bool(connection.protocol.extensions) == offered
    assert json.loads(await connection.recv())["type"] == "connection:established"
    command = {"type": "subscribe", "id": 1, "channels": [">"], "batch": batch}
    await connection.send(json.dumps(command))
    assert json.loads(await connection.recv())["type"] == "subscription_ack"
    return connection


async def texts(connection):
    heard = []
    while not heard or '"channel":"end"' not in heard[-1]:
        heard.append(await connection.recv())
        assert isinstance(heard[-1], str), "not text"
    await connection.close()
    return heard


async def messages():
    ways = [subscribe(url, *way[1:]) for url, way in zip(sys.argv[1:], WAYS, strict=True)]
    connections = await asyncio.gather(*ways)
    print("subscribed", flush=True)
    for way, heard in zip(WAYS, await asyncio.gather(*map(texts, connections))):
        for text in heard:
            print(json.dumps({"way": way[0], "text": text}))


run({"messages of the gateway": messages})
