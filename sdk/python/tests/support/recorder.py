"""A client whose events are written down, and a publisher of numbered messages."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any, TypeVar

from wsgateway import Backoff, Client, Cursor, Event, Message, RefusedError, Subscribed

from .servers import Nats, until

E = TypeVar("E", bound=Event)
EAGER = Backoff(base=0.02, cap=0.1)
"""Retries within a tenth of a second, so that a test waits for servers, not for the backoff."""


class AsyncCase(unittest.IsolatedAsyncioTestCase):
    """A test whose clients are stopped when it ends."""

    async def asyncSetUp(self) -> None:
        # Switched on by unittest; it makes everything slow, and says so of a machine that is busy.
        asyncio.get_running_loop().set_debug(False)

    def record(self, *urls: str, **options: object) -> Recorder:
        recorder = Recorder(*urls, **options)
        self.addAsyncCleanup(recorder.stop)
        return recorder


class Recorder:
    """Runs a client in a task."""

    def __init__(self, *urls: str, **options: Any) -> None:
        self.client = Client(urls, **{"backoff": EAGER, **options})
        self.events: list[Event] = []
        self.cursors: list[Cursor | None] = []
        self.refused: RefusedError | None = None
        self._task: asyncio.Task[None] | None = None

    def run(self, *channels: str, snapshot: bool = False) -> Recorder:
        self.client.subscribe(*channels, snapshot=snapshot)
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        try:
            async for event in self.client:
                self.events.append(event)
                self.cursors.append(self.client.cursor)
        except RefusedError as error:
            self.refused = error

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def numbers(self) -> list[int]:
        return [message.data["n"] for message in self.of(Message)]

    async def until(self, what: str, condition: Any) -> None:
        await until(what, lambda: condition() or self._failed(), lambda: (self.refused, self.events[-10:]))
        assert condition(), (what, self.refused, self.events[-10:])

    def _failed(self) -> bool:
        return self._task is not None and self._task.done()

    async def subscribed(self, times: int = 1) -> None:
        await self.until("an acknowledgement", lambda: len(self.of(Subscribed)) >= times)

    async def received(self, count: int) -> None:
        await self.until(f"{count} messages", lambda: len(self.of(Message)) >= count)

    async def stop(self) -> None:
        await self.client.close()
        if self._task is not None:
            await asyncio.wait_for(self._task, 60)


class Publisher:
    """Publishes numbered messages on a channel until it is stopped."""

    def __init__(self, nats: Nats, channel: str) -> None:
        self.count = 0
        self._stopped = False
        self._task = asyncio.create_task(self._run(nats, channel))

    async def _run(self, nats: Nats, channel: str) -> None:
        while not self._stopped:
            await nats.publish(channel, {"n": self.count + 1})
            self.count += 1
            await asyncio.sleep(0.002)

    async def stop(self) -> int:
        self._stopped = True
        await self._task
        return self.count
