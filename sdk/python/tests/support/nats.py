"""As much of a NATS client as tests need: requests over the text protocol, so JetStream's API and acknowledgements."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

MESSAGE = re.compile(rb"H?MSG (\S+) .*?(\d+)\r\n")


class NatsClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._next = 0
        self._task = asyncio.create_task(self._read(reader))

    @classmethod
    async def connect(cls, port: int) -> NatsClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":false}\r\n')
        writer.write(b"SUB _INBOX.> 1\r\n")
        return cls(reader, writer)

    async def api(self, call: str, body: object) -> dict[str, Any]:
        """A JetStream API call; an error in the answer is raised."""
        return await self._request(f"$JS.API.{call}", json.dumps(body).encode())

    async def publish(self, subject: str, payload: bytes) -> int:
        """Stores a message; returns its sequence."""
        return int((await self._request(subject, payload))["seq"])

    async def close(self) -> None:
        self._task.cancel()
        self._writer.close()

    async def _request(self, subject: str, payload: bytes) -> dict[str, Any]:
        self._next += 1
        inbox = f"_INBOX.{self._next}"
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[inbox] = answer
        self._writer.write(f"PUB {subject} {inbox} {len(payload)}\r\n".encode() + payload + b"\r\n")
        body: dict[str, Any] = json.loads(await asyncio.wait_for(answer, 60))
        if "error" in body:
            raise AssertionError(f"{subject}: {body['error']}")
        return body

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if line.startswith(b"PING"):
                self._writer.write(b"PONG\r\n")
            elif message := MESSAGE.match(line):
                payload = (await reader.readexactly(int(message[2]) + 2))[:-2]
                answer = self._waiting.pop(message[1].decode(), None)
                if answer is not None and not answer.done():
                    answer.set_result(payload)
