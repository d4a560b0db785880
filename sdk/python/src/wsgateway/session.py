"""The protocol above any socket: frames and the time come in, events and commands go out.

One command at a time catches up. Until it is live the cursor is not ahead of what it has brought, so that a connection
that ends anywhere is resumed without a loss. Pushes are handled one by one, as events are taken: the cursor is never
ahead of the event that was taken last.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import ClassVar

from .channels import matches
from .commands import Command, Commander, Flight
from .events import Cursor, Error, Event, Gap, Message, Opened, Reconnect, Rejected, Subscribed, TokenExpiring
from .ledger import Ledger, remember
from .position import Position
from .subscriptions import Entry, Group, State, Subscriptions, is_fresh_value
from .wire import Push, decoded, listed, offset_of, parse, text, texts


class Session:
    """What is subscribed, where we are in the stream, and what has been missed."""

    def __init__(self, cursor: Cursor | None = None) -> None:
        self.duplicates = 0
        """Messages that came again and were dropped."""
        self.greeted = False
        self._subscriptions = Subscriptions()
        self._inbox: deque[Push] = deque()
        self._events: deque[Event] = deque()
        self._ledger = Ledger()
        self._position = Position(cursor)
        self._commander = Commander(self._subscriptions, self._position)

    @property
    def cursor(self) -> Cursor | None:
        """Where to resume."""
        return self._position.cursor

    @property
    def wake_at(self) -> float | None:
        """When to ask for commands again, whatever happens."""
        return self._commander.wake_at

    def overdue(self, now: float) -> bool:
        """Whether the answer to a subscribe does not come."""
        return self._commander.overdue(now)

    def commands(self, now: float) -> list[Command]:
        """What to send now. Ask again after every event, and at ``wake_at``."""
        return self._commander.commands(now) if self.greeted else []

    @property
    def settled(self) -> bool:
        """Everything wanted is acknowledged and live."""
        busy = any(entry.state in (State.NEW, State.ASKED) for entry in self._subscriptions)
        return self.greeted and not busy and self._commander.flight is None and self._position.group is None

    def subscribe(self, channels: Iterable[str], snapshot: bool) -> None:
        """Wants channels from now on, with their last values first if asked for."""
        for pattern in channels:
            entry = self._subscriptions.get(pattern)
            if entry is None:
                entry = Entry(pattern)
                self._subscriptions.add(entry)
            entry.asked_for = True
            if entry.state is State.REJECTED:
                entry.state = State.NEW
            if snapshot:
                entry.snapshot = entry.owed = True
                entry.had.clear()
                if self._position.group is not None:
                    self._position.group.serving.discard(entry)

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Does not want channels any more; none of their messages is yielded from here on."""
        for pattern in channels:
            entry = self._subscriptions.remove(pattern)
            if entry is not None and entry.state in (State.HELD, State.ASKED):
                self._commander.leaving.append(pattern)
                if self._position.group is not None:
                    # Its messages that are under way look like those of the command that is catching up.
                    self._position.group.blind = True

    def receive(self, frame: str | bytes) -> None:
        """Takes a frame in. Its events come out of ``poll``."""
        try:
            self._inbox.extend(parse(frame))
        except ValueError:
            self._events.append(Error("not_json", "a frame that is not a JSON object"))

    def poll(self) -> Event | None:
        """The next event, or None when a frame is needed."""
        while not self._events and self._inbox:
            self._take(self._inbox.popleft())
        return self._events.popleft() if self._events else None

    def ended(self) -> None:
        """The connection has ended: what it held has to be asked for again."""
        self._position.freeze()
        self._commander.reset()
        self.greeted = False
        self._inbox.clear()
        for entry in self._subscriptions:
            entry.state = State.NEW

    # ---- pushes

    def _take(self, push: Push) -> None:
        kind = push.get("type")
        handler = self._HANDLERS.get(kind) if isinstance(kind, str) else None
        if handler is not None:
            handler(self, push)

    def _greet(self, push: Push) -> None:
        limits = push.get("limits")
        limits = limits if isinstance(limits, dict) else {}
        self._commander.limit(offset_of(limits.get("commandBytes")), offset_of(limits.get("commandsPerSecond")))
        epoch = text(push.get("epoch"))
        if epoch and epoch != self._position.epoch:
            self._forget()
            self._position.epoch = epoch
        self.greeted = True
        self._events.append(Opened(epoch, text(push.get("connectionId")), text(push.get("pod"))))
        self._preset(push)

    def _preset(self, push: Push) -> None:
        """The token subscribes to channels. While there is something to resume they are resumed like all others."""
        channels, offset = texts(push.get("subscribed")), offset_of(push.get("offset"))
        if offset is None or not channels:
            return
        for pattern in channels:
            entry = self._subscriptions.get(pattern)
            if entry is None:
                entry = Entry(pattern, asked_for=False)
                self._subscriptions.add(entry)
            if self._position.frozen is None and not entry.asked_for and not entry.joined:
                entry.state, entry.joined, entry.promised = State.HELD, True, offset
        if self._position.frozen is None:
            self._position.climb(offset)
            self._events.append(Subscribed(tuple(channels), offset))

    def _forget(self) -> None:
        """Offsets from before mean nothing any more."""
        self._position.forget()
        self._ledger.clear()
        for entry in self._subscriptions:
            entry.promised = None
            entry.had.clear()

    def _acknowledge(self, push: Push) -> None:
        flight = self._commander.flight
        if flight is None or push.get("id") != flight.command["id"]:
            return
        self._commander.flight = None
        accepted = set(texts(push.get("subscribed")))
        offset, recovered = offset_of(push.get("offset")) or 0, push.get("recovered")
        if recovered is False and self._position.is_ahead_of(offset):
            self._forget()  # a cursor from a future that never was
        mine = [entry for entry in flight.entries if entry.pattern in accepted]
        was_held = any(entry.state is State.HELD for entry in mine)
        if mine:
            self._hold(mine, flight.command, offset, recovered is False, was_held)
        self._reject(flight, push, accepted)
        self._commander.thaw()
        if mine:
            known = recovered if isinstance(recovered, bool) else None
            self._events.append(Subscribed(tuple(entry.pattern for entry in mine), offset, known))

    def _hold(self, mine: list[Entry], command: Command, offset: int, lost: bool, was_held: bool) -> None:
        """These entries are delivered from a position on."""
        for entry in mine:
            if lost:
                entry.promised, entry.owed = None, entry.snapshot
            entry.state, entry.joined = State.HELD, True
            entry.promised = offset if entry.promised is None else entry.promised
        if "resume" in command or "snapshot" in command:
            # To those who resume last values come only when something is missing.
            values = "snapshot" in command and (lost or "resume" not in command)
            serving = {entry for entry in mine if entry.owed} if values else set()
            high = math.inf if was_held else offset
            self._position.group = Group(command["id"], high, frozenset(mine), serving)
        self._position.climb(offset)

    def _reject(self, flight: Flight, push: Push, accepted: set[str]) -> None:
        codes = {}
        for one in listed(push.get("rejected")):
            if isinstance(one, dict):
                codes[text(one.get("channel"))] = text(one.get("code"))
        for entry in flight.entries:
            if entry.pattern not in accepted:
                # The list of rejections is bounded: not every channel has its code.
                entry.owed = False
                if entry.state is not State.HELD:
                    entry.state = State.REJECTED
                self._events.append(Rejected(entry.pattern, codes.get(entry.pattern, "rejected")))

    def _unsubscribed(self, push: Push) -> None:
        for pattern in texts(push.get("channels")):
            entry = self._subscriptions.get(pattern)
            if entry is not None and entry.asked_for:
                entry.state = State.REJECTED
            elif entry is not None:
                self._subscriptions.remove(pattern)
            self._events.append(Rejected(pattern, text(push.get("reason"))))

    def _live(self, push: Push) -> None:
        offset = offset_of(push.get("offset"))
        if self._position.group is None or push.get("id") != self._position.group.id or offset is None:
            return
        for entry in self._position.group.serving:
            entry.owed = False
        self._position.group = None
        self._position.climb(offset)

    def _pong(self, push: Push) -> None:
        offset = offset_of(push.get("offset"))
        if offset is not None:
            self._position.locate(offset)

    def _refuse(self, push: Push) -> None:
        code, message = text(push.get("code")), text(push.get("message"))
        self._events.append(Error(code, message))
        flight = self._commander.flight
        if flight is None or push.get("id") != flight.command["id"]:
            return
        refused = [{"channel": entry.pattern, "code": code} for entry in flight.entries]
        self._acknowledge({"id": push.get("id"), "rejected": refused})

    def _gap(self, push: Push) -> None:
        channel, first, last = (
            text(push.get("channel")),
            offset_of(push.get("from")),
            offset_of(push.get("to")),
        )
        if not channel or first is None or last is None:
            return
        if "*" in channel or ">" in channel:
            for entry in self._subscriptions:
                if entry.promised is not None and matches(entry.pattern, channel):
                    entry.promised = max(entry.promised, last)
        else:
            self._ledger.record(channel, 0, last)
        self._events.append(Gap(channel, first, last, text(push.get("reason"))))

    def _message(self, push: Push) -> None:
        message = decoded(push)
        if isinstance(message, Error):
            self._events.append(message)
            return
        channel, offset = message.channel, message.offset
        held = self._subscriptions.held(channel)
        if message.snapshot:
            if is_fresh_value(channel, offset, held, self._ledger):
                if not any(entry.snapshot for entry in held):
                    self._ledger.record(channel, offset)  # it may come again after the next reconnect
                self._yield(message, held)
            return
        if not held:
            return  # unsubscribed meanwhile, or to be resumed first
        if offset <= self._ledger.last(channel):
            self.duplicates += 1
            return
        promised = min((entry.promised for entry in held if entry.promised is not None), default=0)
        hole = self._ledger.hole(channel, message.prev, promised)
        if hole is not None:
            # The message itself comes with the next event, and so does the cursor behind it.
            self._ledger.record(channel, 0, message.prev)
            self._inbox.appendleft(push)
            self._events.append(Gap(channel, *hole, "missed"))
            return
        self._ledger.record(channel, offset)
        self._position.proved(offset, held)
        self._yield(message, held)

    def _yield(self, message: Message, held: list[Entry]) -> None:
        for entry in held:
            if entry.snapshot:
                remember(entry.had, message.channel, max(message.offset, entry.had.get(message.channel, 0)))
        self._events.append(message)

    def _reconnect(self, push: Push) -> None:
        self._events.append(Reconnect(offset_of(push.get("afterMs")) or 0, text(push.get("reason"))))

    def _expiring(self, push: Push) -> None:
        self._events.append(TokenExpiring(offset_of(push.get("expiresAt")) or 0))

    _HANDLERS: ClassVar[dict[str, Callable[[Session, Push], None]]] = {
        "message": _message,
        "connection:established": _greet,
        "subscription_ack": _acknowledge,
        "live": _live,
        "gap": _gap,
        "unsubscribed": _unsubscribed,
        "auth_ack": _preset,
        "pong": _pong,
        "error": _refuse,
        "reconnect": _reconnect,
        "token_expiring": _expiring,
    }
