"""One WebSocket: opened with the token in a header, and its end as a close code."""

from __future__ import annotations

import json
import logging
import re

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from .backoff import ABNORMAL, End, from_http

PROTOCOL = Subprotocol("wsgateway.v1")
MAX_FRAME = 16 * 1024 * 1024
"""Bytes of a frame. NATS allows payloads of 1 MiB unless told otherwise, and base64 adds a third."""
TOO_BIG = 1009
TOKEN = re.compile(r"[!-~]+")
"""Visible ASCII, so that a token cannot begin another header."""

_LOGGER = logging.getLogger("wsgateway.websocket")
# Further down, the library writes every header and frame, tokens among them, wherever a program logs everything.
_LOGGER.setLevel(logging.WARNING)


class _Connect(connect):
    """Follows no redirects: the token is for the host that the user named."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_socket(url: str, token: str | None) -> ClientConnection:
    """Raises OSError, ValueError or WebSocketException; see ``end_of``."""
    if token is not None and not TOKEN.fullmatch(token):
        raise ValueError("the token has characters that a header cannot have")
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return await _Connect(
        url,
        subprotocols=[PROTOCOL],
        additional_headers=headers,
        open_timeout=None,  # the caller's
        close_timeout=1,  # nothing is waited for: what was under way is resumed
        ping_interval=None,  # pings of the protocol tell more
        max_size=MAX_FRAME,
        logger=_LOGGER,
    )


def end_of(error: BaseException) -> End:
    """What an error of an attempt or of a connection means."""
    if isinstance(error, ConnectionClosed):
        theirs = error.rcvd if error.rcvd is not None and error.rcvd_then_sent is not False else None
        if theirs is not None:
            return End(theirs.code, theirs.reason[:200])
        if error.sent is not None and error.sent.code == TOO_BIG:
            return End(TOO_BIG, f"a frame of more than {MAX_FRAME} bytes")
        # Whatever else we have closed for may be a moment's fault of the other side.
        return End(ABNORMAL, error.sent.reason[:200] if error.sent is not None else "connection lost")
    if isinstance(error, InvalidStatus):
        response = error.response
        try:
            body = json.loads(response.body or b"")
        except (ValueError, RecursionError):
            body = None
        return from_http(response.status_code, body, {"Retry-After": response.headers.get("Retry-After", "")})
    if isinstance(error, TimeoutError):
        return End(ABNORMAL, "not connected in time")
    if isinstance(error, OSError | WebSocketException):
        return End(ABNORMAL, f"{type(error).__name__}: {error}"[:200])
    return End(ABNORMAL, type(error).__name__)
