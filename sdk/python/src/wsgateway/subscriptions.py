"""What is wanted and what the gateway knows of it: one entry per channel or pattern. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from .channels import matches
from .ledger import Ledger, remember


class State(Enum):
    NEW = "new"
    ASKED = "asked"
    HELD = "held"
    REJECTED = "rejected"


@dataclass(eq=False, slots=True)
class Entry:
    """A channel or pattern."""

    pattern: str
    snapshot: bool = False
    asked_for: bool = True
    """By the user; false for what the token alone sets."""
    state: State = State.NEW
    joined: bool = False
    """It takes part in the cursor: after a reconnect it is resumed, not begun anew."""
    promised: int | None = None
    """Everything after this offset was promised by an acknowledgement."""
    owed: bool = False
    """Last values are still to come."""
    had: dict[str, int] = field(default_factory=dict)
    """Offsets that came since last values were asked for: a last value may come twice."""


@dataclass(slots=True)
class Group:
    """The channels of a command that is catching up: all of theirs up to ``high`` has come."""

    id: int
    high: float
    entries: frozenset[Entry]
    serving: set[Entry]
    """Those for which last values are under way."""
    blind: bool = False
    """Messages may have come some other way: they prove nothing."""


class Subscriptions:
    """All entries, and the ones that a channel belongs to."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._routes: dict[str, list[Entry]] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def get(self, pattern: str) -> Entry | None:
        return self._entries.get(pattern)

    def add(self, entry: Entry) -> None:
        self._entries[entry.pattern] = entry
        self._routes.clear()

    def remove(self, pattern: str) -> Entry | None:
        self._routes.clear()
        return self._entries.pop(pattern, None)

    def held(self, channel: str) -> list[Entry]:
        """The acknowledged entries that a channel belongs to."""
        route = self._routes.get(channel)
        if route is None:
            route = [entry for entry in self._entries.values() if matches(entry.pattern, channel)]
            remember(self._routes, channel, route)
        return [entry for entry in route if entry.state is State.HELD]


def is_fresh_value(channel: str, offset: int, held: list[Entry], ledger: Ledger) -> bool:
    """Whether a last value is new to one of those who want it."""
    wanting = [entry for entry in held if entry.snapshot]
    if not wanting:
        # Unasked, a gateway repeats the values of channels with a maxRate when a cursor cannot tell whether they came.
        return bool(held) and offset > ledger.last(channel)
    return any(offset > entry.had.get(channel, 0) for entry in wanting)
