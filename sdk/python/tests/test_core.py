"""The core without sockets: frames and times in, events and commands out."""

from __future__ import annotations

import json
import unittest

from wsgateway import Backoff, Cursor, Gap, Message, Rejected
from wsgateway.backoff import End, delay, from_http
from wsgateway.channels import chunks, matches
from wsgateway.ledger import Ledger
from wsgateway.session import Session


def push(session: Session, kind: str, **fields: object) -> list[object]:
    """Events of one frame."""
    session.receive(json.dumps({"type": kind, **fields}))
    return list(iter(session.poll, None))


def greeted(cursor: Cursor | None = None, *channels: str, snapshot: bool = False) -> Session:
    session = Session(cursor)
    session.subscribe(channels, snapshot)
    push(session, "connection:established", epoch="e", limits={"commandsPerSecond": 10, "commandBytes": 65536})
    return session


def message(session: Session, channel: str, offset: int, prev: int = 0, **fields: object) -> list[object]:
    return push(session, "message", channel=channel, offset=offset, prev=prev, ts=1, data=offset, **fields)


class Core(unittest.TestCase):
    def test_patterns_match_as_those_of_nats(self) -> None:
        for one, other, expected in (
            ("a.b", "a.b", True),
            ("a.*", "a.b", True),
            ("a.*", "a.b.c", False),
            ("a.>", "a.b.c", True),
            ("a.>", "a", False),
            (">", "a", True),
            ("*.b", "a.*", True),
            ("a", "a.b", False),
        ):
            self.assertIs(matches(one, other), expected, (one, other))

    def test_a_list_is_cut_so_that_every_part_fits_as_json(self) -> None:
        channels = [f"channel.{n}.ü" for n in range(100)]
        parts = list(chunks(channels, 500))
        self.assertEqual([one for part in parts for one in part], channels)
        self.assertLessEqual(max(len(json.dumps(part)) for part in parts), 500)

    def test_a_ledger_forgets_the_oldest_and_reports_no_hole_that_it_cannot_know(self) -> None:
        ledger = Ledger(limit=2)
        for offset, channel in enumerate(("a", "b", "c"), 1):
            ledger.record(channel, offset)
        self.assertEqual([ledger.last(channel) for channel in "abc"], [0, 2, 3])
        self.assertIsNone(ledger.hole("a", 1, 0))
        self.assertEqual(ledger.hole("b", 5, 0), (3, 5))

    def test_delays_are_random_below_a_ceiling_that_doubles_and_codes_that_stay_end_it(self) -> None:
        options = Backoff(base=1, cap=8)
        delays = [delay(End(1006, ""), attempt, None, options, 1.0) for attempt in (0, 1, 2, 3, 9999)]
        self.assertEqual(delays, [1, 2, 4, 8, 8])
        for code in (1000, 1003, 1007, 1009, 4010, 4013, 4001, 4004):
            self.assertIsNone(delay(End(code, ""), 1, None, options, 0.5), code)
        self.assertEqual(delay(End(4009, ""), 1, None, options, 0.0), 5)
        self.assertEqual(delay(End(1012, "", 1.5), 1, None, options, 1.0), 1.5)
        self.assertEqual(delay(End(1013, "", 1e9), 1, None, options, 0.0), 120)

    def test_a_refused_token_is_worth_a_fresh_one_at_once_and_then_a_wait(self) -> None:
        options = Backoff(base=1, cap=8)
        self.assertEqual(delay(End(4001, ""), 5, 1, options, 1.0), 1)
        self.assertEqual(delay(End(4001, ""), 0, 2, options, 0.0), 5)

    def test_refusals_before_the_upgrade_mean_what_close_codes_mean(self) -> None:
        self.assertEqual(from_http(401, {"code": "token_missing"}, {}), End(4001, "HTTP 401 token_missing"))
        self.assertEqual(from_http(403, {"code": "banned"}, {"Retry-After": "3"}), End(1013, "HTTP 403 banned", 3.0))
        self.assertEqual(from_http(429, [], {"Retry-After": "-1"}), End(1013, "HTTP 429"))
        self.assertEqual(from_http(404, None, {}), End(1006, "HTTP 404"))

    def test_commands_keep_to_the_rate_of_the_gateway(self) -> None:
        session = greeted()
        sent = 0
        for n in range(30):
            session.subscribe([f"c.{n}"], False)
            for command in session.commands(0.0):
                push(session, "subscription_ack", id=command["id"], subscribed=command["channels"], offset=1)
                sent += 1
        self.assertLessEqual(sent, 10)
        assert session.wake_at is not None
        self.assertEqual(len(session.commands(session.wake_at)), 1)

    def test_the_cursor_stays_behind_the_command_that_is_catching_up(self) -> None:
        session = greeted(Cursor("e", 10), "a")
        (command,) = session.commands(0)
        self.assertEqual(command["resume"], {"epoch": "e", "offset": 10})
        push(session, "subscription_ack", id=1, subscribed=["a"], offset=10, recovered=True)
        message(session, "a", 12, 9)
        self.assertEqual(session.cursor, Cursor("e", 12))
        push(session, "live", id=1, offset=20)
        session.subscribe(["b"], True)
        session.commands(1)
        push(session, "subscription_ack", id=2, subscribed=["b"], offset=21)
        message(session, "a", 30, 12)
        self.assertEqual(session.cursor, Cursor("e", 21))
        session.ended()
        self.assertEqual(session.cursor, Cursor("e", 21))

    def test_events_of_a_batch_move_the_cursor_one_by_one(self) -> None:
        session = greeted(None, "a")
        session.commands(0)
        push(session, "subscription_ack", id=1, subscribed=["a"], offset=0)
        batch = [{"type": "message", "channel": "a", "offset": n, "prev": n - 1, "data": 1} for n in (1, 2)]
        session.receive(json.dumps({"type": "batch", "messages": batch}))
        session.poll()
        self.assertEqual(session.cursor, Cursor("e", 1))
        session.ended()  # the second one was not taken: it comes again
        self.assertEqual(session.cursor, Cursor("e", 1))

    def test_a_hole_that_nobody_reported_is_a_gap(self) -> None:
        session = greeted(None, "a")
        session.commands(0)
        push(session, "subscription_ack", id=1, subscribed=["a"], offset=5)
        message(session, "a", 7, 5)
        session.receive('{"type":"message","channel":"a","offset":12,"prev":10}')
        self.assertEqual(session.poll(), Gap("a", 8, 10, "missed"))
        self.assertEqual(session.cursor, Cursor("e", 7))
        self.assertIsInstance(session.poll(), Message)
        self.assertEqual(session.cursor, Cursor("e", 12))
        push(session, "gap", channel="a", **{"from": 13, "to": 20}, reason="slow_consumer")
        self.assertEqual(len(message(session, "a", 21, 20)), 1)

    def test_a_value_that_nobody_asked_for_comes_once(self) -> None:
        session = greeted(None, "a")
        session.commands(0)
        push(session, "subscription_ack", id=1, subscribed=["a"], offset=5)
        self.assertEqual(len(message(session, "a", 6)), 1)
        events = [message(session, "a", offset, snapshot=True) for offset in (6, 7, 7)]
        self.assertEqual([len(some) for some in events], [0, 1, 0])

    def test_last_values_that_a_resume_does_not_bring_are_asked_for_afterwards(self) -> None:
        session = greeted(Cursor("e", 10), "a", snapshot=True)
        (command,) = session.commands(0)
        self.assertEqual((command["snapshot"], command["resume"]["offset"]), (True, 10))
        push(session, "subscription_ack", id=1, subscribed=["a"], offset=10, recovered=True)
        push(session, "live", id=1, offset=12)
        (command,) = session.commands(1)
        self.assertEqual((command["channels"], command["snapshot"], "resume" in command), (["a"], True, False))
        push(session, "subscription_ack", id=2, subscribed=["a"], offset=12)
        self.assertEqual(len(message(session, "a", 9, snapshot=True)), 1)
        push(session, "live", id=2, offset=12)
        self.assertEqual((session.commands(2), session.cursor, session.settled), ([], Cursor("e", 12), True))

    def test_a_rejected_channel_is_asked_for_again_on_the_next_connection(self) -> None:
        session = greeted(None, "a", "b")
        session.commands(0)
        rejected = [{"channel": "b", "code": "not_allowed"}]
        events = push(session, "subscription_ack", id=1, subscribed=["a"], rejected=rejected, offset=5)
        self.assertIn(Rejected("b", "not_allowed"), events)
        self.assertEqual(session.commands(1), [])
        session.ended()
        push(session, "connection:established", epoch="e")
        (command,) = session.commands(2)
        self.assertEqual((command["channels"], command["resume"]["offset"]), (["a"], 5))

    def test_channels_that_the_token_sets_are_delivered_and_resumed(self) -> None:
        session = Session(None)
        push(session, "connection:established", epoch="e", subscribed=["user.ann"], offset=3)
        self.assertEqual(session.commands(0), [])
        self.assertEqual(len(message(session, "user.ann", 4, 3)), 1)
        session.ended()
        push(session, "connection:established", epoch="e", subscribed=["user.ann"], offset=9)
        self.assertEqual(message(session, "user.ann", 10, 5), [])  # comes again, behind what was missed
        (command,) = session.commands(0)
        self.assertEqual(command["resume"], {"epoch": "e", "offset": 4})
        push(session, "subscription_ack", id=command["id"], subscribed=["user.ann"], offset=4, recovered=True)
        self.assertEqual([len(message(session, "user.ann", *at)) for at in ((5, 4), (10, 5))], [1, 1])
