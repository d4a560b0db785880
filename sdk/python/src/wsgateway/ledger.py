"""Which offsets have been seen, channel by channel, to detect duplicates and holes. Pure and bounded.

The channels that were not heard of for longest are forgotten. What is forgotten can at worst go unnoticed; it is never
reported wrongly and never dropped.
"""

from __future__ import annotations

from typing import TypeVar

MAX_CHANNELS = 4096
"""Channels remembered at most, wherever something is remembered by channel."""

V = TypeVar("V")


def remember(known: dict[str, V], channel: str, value: V, limit: int = MAX_CHANNELS) -> V | None:
    """Sets a value. Beyond the limit the one that was set longest ago is removed and returned."""
    known.pop(channel, None)
    known[channel] = value
    return known.pop(next(iter(known))) if len(known) > limit else None


class Ledger:
    """The last offset of each channel, and up to where the gateway has reported everything missing."""

    def __init__(self, limit: int = MAX_CHANNELS) -> None:
        self._seen: dict[str, tuple[int, int]] = {}
        self._forgotten = 0
        self._limit = limit

    def clear(self) -> None:
        """Offsets from before mean nothing any more."""
        self._seen.clear()
        self._forgotten = 0

    def last(self, channel: str) -> int:
        """The last offset that was delivered, or 0."""
        return self._seen.get(channel, (0, 0))[0]

    def record(self, channel: str, offset: int, reported: int = 0) -> None:
        """A message is about to be delivered; or everything up to ``reported`` is reported missing."""
        last, before = self._seen.get(channel, (0, 0))
        value = (max(offset, last), max(reported, before))
        forgotten = remember(self._seen, channel, value, self._limit)
        if forgotten is not None:
            self._forgotten = max(self._forgotten, *forgotten)

    def hole(self, channel: str, prev: int, promised: int) -> tuple[int, int] | None:
        """The hole before a message, when ``prev`` shows one. Everything after ``promised`` was to be delivered."""
        known = max(promised, *self._seen.get(channel, (self._forgotten, 0)))
        return (known + 1, prev) if prev > known else None
