"""What a client yields. Plain values: nothing here holds a connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a stream: everything up to ``offset`` has been delivered. Valid on every pod, meant to be stored."""

    epoch: str
    """The stream's life; offsets of another epoch mean nothing."""
    offset: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a channel: a value, or the deletion of the value before it."""

    channel: str
    offset: int
    """Sequence of the message in the stream."""
    prev: int
    """Offset of the message before it on the same channel; 0 when there is none or it is not known."""
    ts: int
    """When the stream stored it (Unix ms)."""
    data: Any
    """The payload: parsed JSON, or ``bytes`` when the publisher did not send JSON. ``None`` for a deletion."""
    snapshot: bool = False
    """The last value from before the subscription, asked for with ``snapshot=True``."""
    deleted: str | None = None
    """Why the channel has no value any more: MaxAge, Purge, Remove, DEL, PURGE or Unknown."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets ``first`` to ``last`` of a channel, both included, did not come. The channel may be a pattern."""

    channel: str
    first: int
    last: int
    reason: str
    """slow_consumer, retention, epoch, source; or missed, when the client has detected it from ``prev``."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection was greeted by a gateway."""

    epoch: str
    connection_id: str
    pod: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A connection or an attempt ended. HTTP refusals come as the close code that means the same."""

    code: int
    reason: str
    retry_in: float | None
    """Seconds until the next attempt, or None when there is none."""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Channels were acknowledged: everything after ``offset`` will be delivered."""

    channels: tuple[str, ...]
    offset: int
    recovered: bool | None = None
    """Set when the channels were resumed from a cursor. False: part is missing, and gaps say what."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The gateway does not deliver a channel, or not any more. It is asked for again on the next connection."""

    channel: str
    code: str


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The gateway is about to close the connection and advises when to come back."""

    after_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class TokenExpiring:
    """The token ends soon (Unix ms). A client whose token is a function has asked it for another one."""

    expires_at: int


@dataclass(frozen=True, slots=True)
class Error:
    """An error of the gateway, of the connection's content, or of the function for tokens."""

    code: str
    message: str


Event = Message | Gap | Opened | Closed | Subscribed | Rejected | Reconnect | TokenExpiring | Error


class RefusedError(Exception):
    """The gateway's reason will not change by itself (token, limit, ban): trying again would fail again."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the gateway refused the connection with {code}: {reason}")
        self.code = code
        self.reason = reason
