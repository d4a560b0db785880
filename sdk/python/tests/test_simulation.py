"""The session against a gateway of a few lines, with cuts, replays and live messages in thousands of random orders."""

from __future__ import annotations

import json
import random
import unittest
from collections import deque
from typing import Any

from wsgateway import Gap, Message, Subscribed
from wsgateway.session import Session

LONG = "x" * 80
"""With names of this length, several commands are needed for a few channels."""


class Gateway:
    """A stream, and one connection at a time; frames come from one of its queues, whichever chance picks."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.stream: list[str] = []
        self.connect()

    def connect(self) -> None:
        greeting = {"type": "connection:established", "epoch": "e", "limits": {"commandBytes": 1100}}
        self.answers: deque[dict[str, Any]] = deque([greeting])
        self.live: deque[dict[str, Any]] = deque()
        self.channels: set[str] = set()
        self.catching: tuple[int, set[str], deque[dict[str, Any]]] | None = None

    def publish(self, channel: str) -> None:
        self.stream.append(channel)
        message = self.message(len(self.stream))
        if channel in self.channels:
            self.live.append(message)
        elif self.catching is not None and channel in self.catching[1]:
            self.catching[2].append(message)

    def message(self, offset: int) -> dict[str, Any]:
        channel = self.stream[offset - 1]
        prev = max((n for n, other in enumerate(self.stream[: offset - 1], 1) if other == channel), default=0)
        return {"type": "message", "channel": channel, "offset": offset, "prev": prev, "data": offset}

    def take(self, command: dict[str, Any]) -> None:
        channels, resume = set(command["channels"]), command.get("resume")
        offset = len(self.stream) if resume is None else resume["offset"]
        answer = {"type": "subscription_ack", "id": command["id"], "subscribed": command["channels"], "offset": offset}
        if resume is None:
            self.channels |= channels
            self.live.append(answer)  # behind what is under way
            return
        missed = [n for n, channel in enumerate(self.stream, 1) if n > offset and channel in channels]
        self.answers.append({**answer, "recovered": True})
        self.catching = command["id"], channels, deque(map(self.message, missed))

    def frame(self) -> dict[str, Any] | None:
        """The next frame, or None when there is nothing to send."""
        if self.answers:
            return self.answers.popleft()
        queues = [self.live] if self.live else []
        if self.catching is not None:
            identifier, channels, queue = self.catching
            if not queue and self.chance.random() < 0.5:
                self.channels |= channels
                self.catching = None
                # What is live and still under way is behind: the offset is not ahead of it.
                return {"type": "live", "id": identifier, "offset": self.sent()}
            # It may be behind what is live, and is never ahead of it.
            if queue and all(message["offset"] > queue[0]["offset"] for message in self.live):
                queues.append(queue)
        if queues:
            return self.chance.choice(queues).popleft()
        return {"type": "pong", "offset": self.sent()} if self.chance.random() < 0.3 else None

    def sent(self) -> int:
        """Up to where everything has been sent."""
        waiting = [*self.live, *(self.catching[2] if self.catching else ())]
        return min(len(self.stream), *(int(one["offset"]) - 1 for one in waiting if one["type"] == "message"), 1 << 60)


class World:
    """A gateway, a session, and what came out of it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.gateway, self.session = Gateway(self.chance), Session()
        self.channels = [f"{name}.{LONG}" for name in "abcdefgh"]
        self.wanted = list(self.channels)
        self.got: dict[str, list[int]] = {channel: [] for channel in self.channels}
        self.began: dict[str, int] = {}

    def step(self, now: float, quiet: bool) -> None:
        action = self.chance.random()
        if not quiet and action < 0.3:
            self.gateway.publish(self.chance.choice(self.channels))
        elif not quiet and action < 0.35:
            self.session.ended()
            self.gateway.connect()
        elif self.wanted and action < 0.45:
            self.session.subscribe([self.wanted.pop()], False)
        elif (frame := self.gateway.frame()) is not None:
            self.session.receive(json.dumps(frame))
        while quiet or self.chance.random() < 0.9:
            if not self.event():
                break
        for command in self.session.commands(now):
            self.gateway.take(command)

    def event(self) -> bool:
        event = self.session.poll()
        if isinstance(event, Message):
            self.got[event.channel].append(event.offset)
        elif isinstance(event, Subscribed) and event.recovered is None:
            self.began.update((channel, event.offset) for channel in event.channels)
        assert not isinstance(event, Gap), (self.seed, event)
        return event is not None

    def run(self) -> None:
        for now in range(300):
            self.step(now, quiet=False)
        now = 300
        while self.wanted or not self.session.settled or self.gateway.live or self.gateway.catching:
            self.step(now, quiet=True)
            now += 1
            assert now < 10_000, f"seed {self.seed} does not come to an end"
        for channel, begin in self.began.items():
            expected = [n for n, other in enumerate(self.gateway.stream, 1) if other == channel and n > begin]
            assert self.got[channel] == expected, (self.seed, channel[:1], self.got[channel], expected)
        assert len(self.began) == len(self.channels)


class Simulation(unittest.TestCase):
    def test_whatever_comes_in_between_every_message_comes_once_and_in_order(self) -> None:
        for seed in range(300):
            World(seed).run()
