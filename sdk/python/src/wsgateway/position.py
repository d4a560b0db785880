"""Where a connection is in the stream: one cursor for all channels, and never ahead of any of them. Pure.

Until every channel that is to be resumed is acknowledged, the cursor stays where it was before the connection ended.
A command that is catching up may be behind everything else: until it is live, the cursor is not ahead of what it has
brought.
"""

from __future__ import annotations

from .events import Cursor
from .subscriptions import Entry, Group


class Position:
    """The cursor."""

    def __init__(self, given: Cursor | None) -> None:
        self.epoch = ""
        self.frozen = given
        """Where to resume, while not everything has been resumed."""
        self.given = given is not None
        """The cursor came from outside: the first channels resume from it, too."""
        self.group: Group | None = None
        """The command that is catching up."""
        self._high: int | None = None

    @property
    def cursor(self) -> Cursor | None:
        """Where to resume."""
        if self.frozen is not None or self._high is None:
            return self.frozen
        high = self._high if self.group is None else min(self._high, self.group.high)
        return Cursor(self.epoch, int(high))

    def is_ahead_of(self, offset: int) -> bool:
        """Whether the cursor is of this epoch and of a future that never was."""
        cursor = self.cursor
        return cursor is not None and cursor.epoch == self.epoch and offset < cursor.offset

    def climb(self, offset: int) -> None:
        """Nothing before ``offset`` is still to come, but for the group."""
        self._high = max(self._high or 0, offset)

    def proved(self, offset: int, held: list[Entry]) -> None:
        """A message of these entries has come."""
        group = self.group
        # It proves how far a command has caught up only when nothing else can have brought it.
        if group is not None and not group.blind and group.entries.issuperset(held):
            group.high = max(group.high, offset)
        self.climb(offset)

    def locate(self, offset: int) -> None:
        """Everything up to ``offset`` has come, on all channels."""
        if self.frozen is None and self._high is not None:
            if self.group is not None:
                self.group.high = max(self.group.high, offset)
            self.climb(offset)

    def freeze(self) -> None:
        """The connection has ended: the next one begins here."""
        self.frozen = self.cursor
        same = self.frozen is not None and self.frozen.epoch == self.epoch
        self._high = self.frozen.offset if self.frozen is not None and same else None
        self.group = None

    def forget(self) -> None:
        """Offsets from before mean nothing any more."""
        self.group = self._high = None
