"""Which commands to send, and when: one subscribe at a time, within the command rate of the gateway. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .channels import chunks
from .events import Cursor
from .position import Position
from .subscriptions import Entry, State, Subscriptions

Command = dict[str, Any]

ENVELOPE = 512
"""Bytes of a command besides its channels."""
COMMAND_BYTES = 4096
"""Bytes of a command that every gateway accepts, until the greeting says more."""
COMMAND_RATE = 10
"""Commands a second that a gateway accepts, until the greeting says more; a fifth of them is left to pings."""
AHEAD = 1.0
"""Seconds' worth of commands that may be sent at once."""
ANSWER_TIMEOUT = 30.0
"""Seconds for the answer to a subscribe: a gateway may look messages up for 15."""


@dataclass(slots=True)
class Flight:
    """A subscribe that waits for its answer."""

    command: Command
    entries: list[Entry]
    at: float


class Commander:
    """Turns what is wanted into commands."""

    def __init__(self, subscriptions: Subscriptions, position: Position) -> None:
        self.flight: Flight | None = None
        self.leaving: list[str] = []
        self.wake_at: float | None = None
        """When commands that wait for the command rate may be sent."""
        self._subscriptions = subscriptions
        self._position = position
        self._id = 0
        self._bytes = COMMAND_BYTES
        self._cost = 1.25 / COMMAND_RATE
        self._paid_at = -math.inf

    def reset(self) -> None:
        """The connection has ended."""
        self.flight = self.wake_at = None
        self.leaving.clear()
        self._paid_at = -math.inf

    def limit(self, size: int | None, rate: int | None) -> None:
        """What the gateway accepts."""
        if size is not None and size > 2 * ENVELOPE:
            self._bytes = size
        if rate:
            self._cost = 1.25 / rate

    def overdue(self, now: float) -> bool:
        """Whether the answer to a subscribe does not come."""
        return self.flight is not None and now - self.flight.at > ANSWER_TIMEOUT

    def commands(self, now: float) -> list[Command]:
        """What to send now. Ask again after every event, and at ``wake_at``."""
        out: list[Command] = []
        self.wake_at = None
        if self.flight is not None or self._position.group is not None:
            return out
        room = self._bytes - ENVELOPE
        for part in list(chunks(self.leaving, room)):
            if not self._pays(now):
                return out
            out.append({"type": "unsubscribe", "channels": part})
            del self.leaving[: len(part)]
        resume, entries = self._next()
        part = next(chunks((entry.pattern for entry in entries), room), [])
        if part and self._pays(now):
            out.append(self._ask(entries[: len(part)], resume, now))
        return out

    def _next(self) -> tuple[Cursor | None, list[Entry]]:
        """The entries of the next subscribe: first all that is to be resumed, then what is new, then last values."""
        fresh = [entry for entry in self._subscriptions if entry.state is State.NEW]
        for entry in fresh:
            entry.joined |= self._position.given
        self._position.given &= not fresh
        resuming = [entry for entry in fresh if entry.joined]
        if resuming and self._position.frozen is not None:
            return self._position.frozen, resuming
        self.thaw()
        owed = [entry for entry in self._subscriptions if entry.state is State.HELD and entry.owed]
        kind = fresh[0].owed if fresh else True
        return None, [entry for entry in fresh if entry.owed == kind] or owed

    def _ask(self, entries: list[Entry], resume: Cursor | None, now: float) -> Command:
        self._id += 1
        command: Command = {"type": "subscribe", "id": self._id, "channels": [], "batch": True}
        for entry in entries:
            command["channels"].append(entry.pattern)
            if entry.state is State.NEW:
                entry.state = State.ASKED
        if resume is not None:
            command["resume"] = {"epoch": resume.epoch, "offset": resume.offset}
        if any(entry.owed or (resume is not None and entry.snapshot) for entry in entries):
            command["snapshot"] = True
        self.flight = Flight(command, entries, now)
        return command

    def _pays(self, now: float) -> bool:
        """Takes what a command costs; false when it has to wait."""
        ready = self._paid_at - max(0.0, AHEAD - self._cost)
        if now < ready:
            self.wake_at = ready
            return False
        self._paid_at = max(self._paid_at, now) + self._cost
        return True

    def thaw(self) -> None:
        """The cursor moves again once nothing is left to be resumed."""
        waiting = any(entry.joined and entry.state in (State.NEW, State.ASKED) for entry in self._subscriptions)
        if not self._position.given and not waiting:
            self._position.frozen = None
