"""Frames as they come: JSON objects of which nothing is believed. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from .events import Error, Message

Push = dict[str, Any]
MAX_OFFSET = 2**63 - 1


def parse(frame: str | bytes) -> list[Push]:
    """The pushes of a frame; those of a batch one by one. Raises ValueError for anything else."""
    try:
        push = json.loads(frame)
    except RecursionError:
        raise ValueError("a frame that is nested too deeply") from None
    if not isinstance(push, dict):
        raise ValueError("a frame that is no object")
    if push.get("type") != "batch":
        return [push]
    return [message for message in listed(push.get("messages")) if isinstance(message, dict)]


def offset_of(value: object) -> int | None:
    """An offset or a time, or None when it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_OFFSET else None


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def texts(value: object) -> list[str]:
    return [one for one in listed(value) if isinstance(one, str)]


def decoded(push: Push) -> Message | Error:
    """A message as users get it. A deletion has no data, whatever else it holds."""
    channel, offset = push.get("channel"), offset_of(push.get("offset"))
    if not isinstance(channel, str) or offset is None:
        return Error("bad_message", "a message without channel or offset")
    deleted = text(push.get("deleted")) or None
    data = None if deleted else push.get("data")
    if push.get("encoding") == "base64" and not deleted:
        try:
            data = base64.b64decode(text(data), validate=True)
        except binascii.Error:
            return Error("bad_message", "a message whose base64 is broken")
    prev, ts = offset_of(push.get("prev")) or 0, offset_of(push.get("ts")) or 0
    return Message(channel, offset, prev, ts, data, push.get("snapshot") is True, deleted)
