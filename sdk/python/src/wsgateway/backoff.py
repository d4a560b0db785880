"""When to try again after a connection has ended, and whether at all. Pure: time and chance come in as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NORMAL = 1000
ABNORMAL = 1006
RESTART = 1012
OVERLOADED = 1013
TOO_MANY_COMMANDS = 4009
UNAUTHORIZED = 4001
NOT_ALLOWED = 4003
BANNED = 4013
TOKEN_CODES = frozenset({UNAUTHORIZED, NOT_ALLOWED, 4004})
"""The token is missing, bad, not enough, or expired."""
FINAL_CODES = frozenset({1003, 1007, 1009, 4010, BANNED})
"""The same would happen again: commands that are wrong, messages that are too big, one connection too many, a ban."""
MAX_ADVICE = 120.0
"""No server may put a client to sleep for longer (seconds)."""
TOO_MANY_COMMANDS_WAIT = 5.0
"""The bucket of the gateway fills in seconds."""
UNAUTHORIZED_WAIT = 5.0
"""A fresh token was refused, too: time for its issuer and its verifier to agree (seconds)."""
HTTP_UNAUTHORIZED, HTTP_FORBIDDEN, HTTP_TOO_MANY, HTTP_UNAVAILABLE = 401, 403, 429, 503


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: a delay is random below ``base * 2**attempt``, at most ``cap`` (seconds)."""

    base: float = 0.5
    cap: float = 30.0
    stable: float = 10.0
    """Attempts are forgotten after a connection was of use for so long."""

    def ceiling(self, attempt: int) -> float:
        return min(self.cap, self.base * 2.0 ** min(attempt, 16))


@dataclass(frozen=True, slots=True)
class End:
    """A connection's end."""

    code: int
    reason: str
    advised: float | None = None
    """Seconds that the server asked us to wait."""


def delay(end: End, attempt: int, refusals: int | None, options: Backoff, chance: float) -> float | None:
    """Seconds until the next attempt, or None when there is none.

    ``attempt`` counts useless connections in a row, ``refusals`` refused tokens; None when no other token is available.
    """
    token = end.code in TOKEN_CODES
    if end.code in FINAL_CODES or end.code == NORMAL or (token and refusals is None):
        return None
    fresh_token = token and refusals is not None and refusals <= 1
    jittered = chance * options.ceiling(0 if fresh_token else attempt)
    if token and not fresh_token:
        return UNAUTHORIZED_WAIT + jittered
    if end.code == TOO_MANY_COMMANDS:
        return TOO_MANY_COMMANDS_WAIT + jittered
    advised = min(max(end.advised or 0.0, 0.0), MAX_ADVICE)
    # A gateway that stops spreads its clients by its advice. Advice that went wrong before is worth less.
    spread = end.code != RESTART or end.advised is None or attempt > 1
    return advised + (jittered if spread else 0.0)


def from_http(status: int, body: object, headers: Mapping[str, str]) -> End:
    """The end that a refused upgrade means. The body of a gateway is ``{"code", "message", "retryAfterMs"?}``."""
    answer = body if isinstance(body, dict) else {}
    reason = f"HTTP {status} {answer.get('code', '')}".rstrip()[:200]
    after = headers.get("Retry-After", "")
    advised = float(after) if after.isascii() and after.isdigit() and len(after) <= len("86400") else None
    milliseconds = answer.get("retryAfterMs")
    if isinstance(milliseconds, int | float) and milliseconds >= 0:
        advised = milliseconds / 1000
    if status == HTTP_UNAUTHORIZED:
        return End(UNAUTHORIZED, reason)
    if status == HTTP_FORBIDDEN and answer.get("code") == "banned":
        # A ban that ends soon says when.
        return End(BANNED if advised is None else OVERLOADED, reason, advised)
    if status == HTTP_FORBIDDEN:
        return End(NOT_ALLOWED, reason)
    busy = status in (HTTP_TOO_MANY, HTTP_UNAVAILABLE)
    return End(OVERLOADED if busy else ABNORMAL, reason, advised)
