"""Channels and patterns, as NATS has them: ``*`` is one token, ``>`` is all that follow, one at least. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest


def matches(one: str, other: str) -> bool:
    """Whether a channel can belong to both; either may be a pattern."""
    for part, token in zip_longest(one.split("."), other.split(".")):
        if part is None or token is None:
            return False
        if ">" in (part, token):
            return True
        if part != token and "*" not in (part, token):
            return False
    return True


def chunks(channels: Iterable[str], room: int) -> Iterator[list[str]]:
    """Parts of a list, each of at most ``room`` bytes as JSON; a channel that is longer has a part alone."""
    part: list[str] = []
    left = room
    for channel in channels:
        # json.dumps writes at most six bytes for each UTF-16 unit, and two quotes and a comma with a space.
        size = len(channel.encode("utf-16-le", "surrogatepass")) * 3 + 4
        if part and size > left:
            yield part
            part, left = [], room
        part.append(channel)
        left -= size
    if part:
        yield part
