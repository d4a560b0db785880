"""The client as applications see it: an asynchronous iterator of events over one connection after the other."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from .backoff import ABNORMAL, NORMAL, TOKEN_CODES, Backoff, End, delay
from .commands import Command
from .events import Closed, Cursor, Error, Event, Opened, Reconnect, RefusedError, TokenExpiring
from .line import end_of, open_socket
from .session import Session

MAX_OWN = 1024
"""Events of the connection that wait for a consumer that does not ask for any; the oldest are dropped."""
TokenSource = str | Callable[[], str] | Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Silence after which a ping is sent, and the time for its answer (seconds)."""

    interval: float = 15.0
    timeout: float = 10.0


class Client:
    """Yields messages, gaps and what happens to the connection, in order::

        async with Client("wss://push.example.com/ws", token=fetch_token) as client:
            client.subscribe("BTC.price", "*.trade")
            async for event in client:
                ...

    Everything happens while the next event is awaited: a consumer that is slow slows the connection down, and a
    connection that ends for that reason is resumed. The iteration ends after ``close``, or when the gateway says so,
    and with ``RefusedError`` when trying again would fail again.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        token: TokenSource | None = None,
        cursor: Cursor | None = None,
        backoff: Backoff | None = None,
        heartbeat: Heartbeat | None = None,
        connect_timeout: float = 15.0,
    ) -> None:
        """``url``: one gateway, or several with the same stream. ``token``: a string, or a function that is called
        before every attempt and when the token is about to expire. ``cursor``: resume from here."""
        self._urls = [url] if isinstance(url, str) else list(url)
        if not self._urls:
            raise ValueError("a client needs a url")
        self._token = token
        self._backoff = backoff or Backoff()
        self._heartbeat = heartbeat or Heartbeat()
        self._connect_timeout = connect_timeout
        self._session = Session(cursor)
        self._own: deque[Event] = deque(maxlen=MAX_OWN)
        self._wake = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[str | bytes] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[End | None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._outbox: deque[Command] = deque()
        self._closed = False
        self._failure: RefusedError | None = None
        self._attempt = self._refusals = self._url = 0
        self._not_before = 0.0
        self._heard_at = self._asked_at = self._opened_at = 0.0
        self._useful_since: float | None = None
        self._advised_at: float | None = None

    @property
    def cursor(self) -> Cursor | None:
        """Where to resume: after the event that was yielded last. Store it when that has been handled."""
        return self._session.cursor

    @property
    def duplicates(self) -> int:
        """Messages that a gateway sent again, and that were dropped."""
        return self._session.duplicates

    def subscribe(self, *channels: str, snapshot: bool = False) -> None:
        """Wants channels or patterns from now on; ``snapshot``: with the last value of each channel first."""
        self._session.subscribe(channels, snapshot)
        self._wake.set()

    def unsubscribe(self, *channels: str) -> None:
        """Does not want these channels or patterns any more."""
        self._session.unsubscribe(channels)
        self._wake.set()

    async def close(self) -> None:
        """Ends the connection and the iteration. The cursor stays valid."""
        self._closed = True
        self._wake.set()
        self._drop()
        if self._closing:
            await asyncio.wait(self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            if self._own:
                return self._own.popleft()
            if not self._closed and (event := self._session.poll()) is not None:
                self._observe(event)
                return event
            if self._failure is not None:
                raise self._failure
            if self._closed:
                raise StopAsyncIteration
            if self._socket is None:
                await self._open()
            else:
                await self._listen(self._socket)

    # ---- opening

    async def _open(self) -> None:
        """Waits for its time, and makes an attempt. What is cancelled in between goes on with the next event."""
        while not self._closed and (wait := self._not_before - time.monotonic()) > 0:
            await self._woken(wait)
        if self._closed:
            return
        opening = self._opening = self._opening or asyncio.create_task(self._attempt_once())
        await asyncio.wait({opening})
        if self._opening is opening and not opening.cancelled():
            self._opening = None
            if (end := opening.result()) is not None:
                self._end(end)

    async def _attempt_once(self) -> End | None:
        try:
            async with asyncio.timeout(self._connect_timeout):
                token = await self._fresh()
                self._socket = await open_socket(self._urls[self._url % len(self._urls)], token)
        except _TokenUnavailableError as error:
            self._unavailable()
            return End(ABNORMAL, str(error))
        except (OSError, ValueError, WebSocketException) as error:
            return end_of(error)
        self._opened_at = self._heard_at = time.monotonic()
        self._asked_at = 0.0
        return None

    async def _fresh(self) -> str | None:
        """The token for an attempt. What a function raises may hold the token: only its kind is shown."""
        source = self._token
        if source is None or isinstance(source, str):
            return source
        try:
            value = source()
            return await value if inspect.isawaitable(value) else value
        except Exception as error:
            raise _TokenUnavailableError(f"no token: {type(error).__name__}") from error

    def _unavailable(self) -> None:
        self._own.append(Error("token_unavailable", "the function for tokens failed"))

    async def _renew(self, socket: ClientConnection) -> None:
        """Gets another token for the connection, again and again until that has ended."""
        attempt = 0
        while True:
            try:
                token = await self._fresh()
                break
            except _TokenUnavailableError:
                self._unavailable()
                self._wake.set()
                await asyncio.sleep(random.random() * self._backoff.ceiling(attempt))
                attempt += 1
        await self._send(socket, {"type": "auth", "token": token})

    # ---- watching

    async def _listen(self, socket: ClientConnection) -> None:
        """Sends what is due, and waits for a frame, a change of the subscriptions, or the next check."""
        now = time.monotonic()
        self._outbox.extend(self._session.commands(now))
        while self._outbox:
            command = self._outbox[0]
            await self._send(socket, command)
            if self._socket is not socket:
                return
            # Whoever cancels the iteration here may have it sent twice: the second answer is passed over.
            if self._outbox and self._outbox[0] is command:
                self._outbox.popleft()
        if self._useful_since is None and self._session.settled:
            self._useful_since = now
        if self._reading is None:
            self._reading = asyncio.create_task(socket.recv())
        await self._woken(self._pause(now), self._reading)
        if self._closed or self._reading is None:
            return
        if not self._reading.done():
            self._check(time.monotonic())
            return
        reading, self._reading = self._reading, None
        try:
            self._session.receive(reading.result())
            self._heard_at = time.monotonic()
        except (ConnectionClosed, asyncio.CancelledError) as error:
            self._end(end_of(error))

    def _pause(self, now: float) -> float:
        """Seconds until something is to be checked or sent."""
        if not self._session.greeted:
            return max(0.0, self._opened_at + self._connect_timeout - now)
        asked = self._asked_at > self._heard_at
        check = self._asked_at + self._heartbeat.timeout if asked else self._heard_at + self._heartbeat.interval
        wake = self._session.wake_at
        return max(0.0, (check if wake is None else min(check, wake)) - now)

    async def _woken(self, seconds: float, *also: asyncio.Task[str | bytes]) -> None:
        """Waits for that long, for a call of the application, or for a frame."""
        waking = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait({waking, *also}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
        self._wake.clear()

    def _check(self, now: float) -> None:
        """Gives a silent connection up, or asks it for a sign of life."""
        heartbeat = self._heartbeat
        if not self._session.greeted:
            if now >= self._opened_at + self._connect_timeout:
                self._end(End(ABNORMAL, "not greeted in time"))
        elif self._asked_at > self._heard_at:
            if now >= self._asked_at + heartbeat.timeout:
                self._end(End(ABNORMAL, "no answer in time"))
        elif self._session.overdue(now):
            self._end(End(ABNORMAL, "no answer to a subscribe in time"))
        elif now >= self._heard_at + heartbeat.interval:
            self._asked_at = now
            self._outbox.append({"type": "ping", "timestamp": int(time.time() * 1000)})

    async def _send(self, socket: ClientConnection, command: Command) -> None:
        """A connection that does not take a command ends by itself, with what comes next from it."""
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(self._heartbeat.timeout):
                await socket.send(json.dumps(command))

    def _observe(self, event: Event) -> None:
        """What an event means for the connection."""
        if isinstance(event, Opened):
            self._refusals = 0
        elif isinstance(event, Reconnect):
            self._advised_at = time.monotonic() + event.after_ms / 1000
        elif isinstance(event, TokenExpiring) and callable(self._token) and self._socket is not None:
            if self._renewing is None or self._renewing.done():
                self._renewing = asyncio.create_task(self._renew(self._socket))
        elif isinstance(event, Error) and event.code == "wrong_user":
            self._drop()  # another user has logged in; a change of connections loses nothing

    # ---- the end

    def _drop(self) -> None:
        """Ends the connection, if there is one, and everything that belongs to it."""
        for task in (self._opening, self._reading, self._renewing):
            if task is not None and not task.cancel() and not task.cancelled():
                task.exception()  # it is over, and nobody asks any more how it ended
        if self._socket is not None:
            # Nobody waits for the other side: what was under way is resumed.
            closing = asyncio.create_task(self._socket.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        self._socket = self._opening = self._reading = self._renewing = None
        self._useful_since = self._advised_at = None
        self._outbox.clear()
        self._session.ended()

    def _end(self, end: End) -> None:
        now = time.monotonic()
        if end.advised is None and self._advised_at is not None:
            end = End(end.code, end.reason, self._advised_at - now)
        useful = self._useful_since is not None and now - self._useful_since >= self._backoff.stable
        self._attempt = 0 if useful else self._attempt + 1
        self._url += 1
        self._drop()
        if end.code in TOKEN_CODES:
            self._refusals += 1
            self._own.append(Error("unauthorized", end.reason))
        refusals = self._refusals if callable(self._token) else None
        wait = delay(end, self._attempt, refusals, self._backoff, random.random())
        self._own.append(Closed(end.code, end.reason, wait))
        if wait is not None:
            self._not_before = now + wait
        elif end.code == NORMAL:
            self._closed = True
        else:
            self._failure = RefusedError(end.code, end.reason)


class _TokenUnavailableError(Exception):
    """The function for tokens failed."""
