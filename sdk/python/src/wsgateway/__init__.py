"""Live data from a wsgateway: every message once, in order, also across reconnects."""

from .backoff import Backoff
from .client import Client, Heartbeat, TokenSource
from .events import (
    Closed,
    Cursor,
    Error,
    Event,
    Gap,
    Message,
    Opened,
    Reconnect,
    RefusedError,
    Rejected,
    Subscribed,
    TokenExpiring,
)

__all__ = [
    "Backoff",
    "Client",
    "Closed",
    "Cursor",
    "Error",
    "Event",
    "Gap",
    "Heartbeat",
    "Message",
    "Opened",
    "Reconnect",
    "RefusedError",
    "Rejected",
    "Subscribed",
    "TokenExpiring",
    "TokenSource",
]
