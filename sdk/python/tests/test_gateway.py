"""The client on a real gateway and a real nats-server."""

from __future__ import annotations

import asyncio
import io
import logging
import signal

from wsgateway import Client, Closed, Error, Gap, Heartbeat, Message, Opened, Rejected, Subscribed

from .support.recorder import EAGER, AsyncCase, Publisher, Recorder
from .support.servers import Gateway, Issuer, Nats, Relay, until


class Case(AsyncCase):
    async def start_nats(self, **stream: object) -> Nats:
        nats = await Nats.start(**stream)
        self.addAsyncCleanup(nats.stop)
        return nats

    async def start_gateway(self, nats: Nats, **extra: object) -> Gateway:
        gateway = await Gateway.start(nats, **extra)
        self.addAsyncCleanup(gateway.stop)
        return gateway

    async def complete(self, recorder: Recorder, count: int) -> None:
        """Everything that was published has come, once, in order, and nothing was said to be missing."""
        await recorder.received(count)
        self.assertEqual(recorder.numbers, list(range(1, count + 1)))
        self.assertEqual([recorder.of(Gap), recorder.of(Rejected), recorder.client.duplicates], [[], [], 0])


class Delivery(Case):
    async def test_channels_and_patterns_come_in_order_with_what_is_no_json_as_bytes(self) -> None:
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats)
        recorder = self.record(gateway.url).run("BTC.price", "*.trade")
        await recorder.subscribed()
        await nats.publish("BTC.price", {"n": 1})
        await nats.publish("BTC.other", {"n": 2})
        await nats.publish("ETH.trade", b"\xff\x00")
        await recorder.received(2)
        self.assertEqual(
            [(m.channel, m.offset, m.data) for m in recorder.of(Message)],
            [("BTC.price", 1, {"n": 1}), ("ETH.trade", 3, b"\xff\x00")],
        )
        self.assertEqual(recorder.of(Opened)[0].epoch, recorder.client.cursor and recorder.client.cursor.epoch)

    async def test_a_channel_that_cannot_be_is_rejected_and_the_others_come(self) -> None:
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats)
        recorder = self.record(gateway.url).run("a..b", "x" * 300, "good")
        await recorder.until("the rejections", lambda: len(recorder.of(Rejected)) == 2)
        rejected = {one.channel[:4]: one.code for one in recorder.of(Rejected)}
        self.assertEqual(rejected["xxxx"], "channel_too_long")
        self.assertEqual(set(rejected), {"a..b", "xxxx"})
        await nats.publish("good", {"n": 1})
        await recorder.received(1)

    async def test_last_values_come_first_once_also_for_a_second_wish(self) -> None:
        nats = await self.start_nats()
        for n in range(1, 11):
            await nats.publish(f"late.{n % 5}", {"n": n})
        gateway = await self.start_gateway(nats)  # afterwards, so that all of them are values from before
        recorder = self.record(gateway.url).run("late.*", snapshot=True)
        await recorder.received(5)
        self.assertEqual(sorted(recorder.numbers), [6, 7, 8, 9, 10])
        self.assertTrue(all(message.snapshot for message in recorder.of(Message)))
        recorder.client.subscribe("late.3", snapshot=True)
        await recorder.received(6)
        self.assertEqual(recorder.numbers[-1], 8)
        await nats.publish("late.3", {"n": 11})
        await recorder.received(7)
        last = recorder.of(Message)[-1]
        self.assertEqual((last.data, last.snapshot, recorder.of(Gap)), ({"n": 11}, False, []))

    async def test_channels_come_and_go_on_one_connection(self) -> None:
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats)
        recorder = self.record(gateway.url).run("one")
        await recorder.subscribed()
        recorder.client.unsubscribe("one")
        recorder.client.subscribe("two")
        await recorder.subscribed(2)
        await nats.publish("one", {"n": 1})
        await nats.publish("two", {"n": 2})
        await recorder.received(1)
        self.assertEqual((recorder.numbers, len(recorder.of(Opened))), ([2], 1))

    async def test_the_cursor_of_a_quiet_channel_stays_young(self) -> None:
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats)
        recorder = self.record(gateway.url, heartbeat=Heartbeat(interval=0.1, timeout=60)).run("quiet")
        await recorder.subscribed()
        last = [await nats.publish("busy", {"n": n}) for n in range(20)][-1]
        client = recorder.client
        await recorder.until("a young cursor", lambda: client.cursor is not None and client.cursor.offset == last)


class Resume(Case):
    async def test_a_gateway_that_is_killed_and_comes_back_costs_nothing(self) -> None:
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats)
        recorder = self.record(gateway.url).run("kill.a", "kill.quiet")
        await recorder.subscribed()
        publisher = Publisher(nats, "kill.a")
        for round_ in range(1, 4):
            await recorder.received(round_ * 50)
            await gateway.end(signal.SIGKILL)
            before = publisher.count
            await recorder.until("messages nobody delivers", lambda before=before: publisher.count > before + 20)
            await gateway.start_again()
            await recorder.subscribed(round_ + 1)
        await self.complete(recorder, await publisher.stop())
        self.assertEqual([one.recovered for one in recorder.of(Subscribed)], [None, True, True, True])

    async def test_a_stop_is_followed_by_the_other_gateway_when_the_first_one_advises_it(self) -> None:
        nats = await self.start_nats()
        one = await self.start_gateway(nats, drain={"window": 200})
        other = await self.start_gateway(nats)
        recorder = self.record(one.url, other.url).run(">")
        await recorder.subscribed()
        publisher = Publisher(nats, "drain.a")
        await recorder.received(50)
        await one.end(signal.SIGTERM)
        await recorder.subscribed(2)
        await self.complete(recorder, await publisher.stop())
        self.assertEqual([closed.code for closed in recorder.of(Closed)], [1012])

    async def test_connections_that_are_cut_again_and_again_lose_nothing_while_others_come_with_last_values(
        self,
    ) -> None:
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats)
        relay = await Relay.start(gateway.port)
        self.addAsyncCleanup(relay.stop)
        recorder = self.record(relay.url).run("cut.*")
        await recorder.subscribed()
        publisher = Publisher(nats, "cut.a")
        for round_ in range(1, 11):
            before = len(recorder.of(Message))
            recorder.client.subscribe(f"other.{round_}", snapshot=round_ % 2 == 0)
            if round_ % 3 == 0:
                recorder.client.unsubscribe(f"other.{round_ - 1}")
            await recorder.received(before + 10)
            relay.cut()
        count = await publisher.stop()
        await recorder.received(count)
        self.assertEqual(recorder.numbers, list(range(1, count + 1)))
        self.assertEqual([recorder.of(Gap), recorder.of(Rejected)], [[], []])
        self.assertGreaterEqual(len(recorder.of(Opened)), 5)

    async def test_an_iteration_that_is_cancelled_again_and_again_goes_on(self) -> None:
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats)
        publisher = Publisher(nats, "cancel.a")
        numbers: list[int] = []
        cut = False
        relay = await Relay.start(gateway.port)
        self.addAsyncCleanup(relay.stop)
        async with Client(relay.url, backoff=EAGER) as client:
            client.subscribe("cancel.a")
            while len(numbers) < 100:
                try:
                    event = await asyncio.wait_for(anext(client), 0.001)
                except TimeoutError:
                    continue
                if isinstance(event, Message):
                    numbers.append(event.data["n"])
                if len(numbers) == 50 and not cut:
                    cut = True
                    relay.cut()
        await publisher.stop()
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 100)))

    async def test_a_consumer_that_does_not_read_is_cut_off_and_gets_everything_when_it_does(self) -> None:
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats, slowConsumer={"grace": 1000})
        client = Client(gateway.url, backoff=EAGER)
        self.addAsyncCleanup(client.close)
        client.subscribe("much")
        while not isinstance(await anext(client), Subscribed):
            pass
        count = 1500
        for n in range(count):
            await nats.publish("much", {"n": n, "filling": "x" * 16_384})
        await until("the end of the connection", lambda: gateway.clients == 0, lambda: gateway.clients)
        numbers: list[int] = []
        codes: list[int] = []
        while len(numbers) < count:
            event = await anext(client)
            if isinstance(event, Message):
                numbers.append(event.data["n"])
            elif isinstance(event, Closed):
                codes.append(event.code)
            self.assertNotIsInstance(event, Gap)
        self.assertEqual(numbers, list(range(count)))
        self.assertIn(codes[0], (1006, 4008))

    async def test_a_value_that_waits_for_its_rate_when_the_connection_is_cut_comes_after_it(self) -> None:
        nats = await self.start_nats()
        rules = [{"match": "slow.*", "delivery": "Latest", "maxRate": 1}]
        gateway = await self.start_gateway(nats, channels={"stripPrefix": "p.", "rules": rules})
        relay = await Relay.start(gateway.port)
        self.addAsyncCleanup(relay.stop)
        recorder = self.record(relay.url).run("slow.a", "fast")
        await recorder.subscribed()
        for channel, n in (("slow.a", 1), ("slow.a", 2), ("fast", 3)):
            await nats.publish(channel, {"n": n})
        await recorder.until("the last one", lambda: 3 in recorder.numbers)
        relay.cut()
        await recorder.received(3)
        self.assertEqual(sorted(recorder.numbers), [1, 2, 3])

    async def test_a_cursor_that_was_kept_lets_the_next_client_go_on(self) -> None:
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats)
        first = self.record(gateway.url).run("keep.a")
        await first.subscribed()
        await nats.publish("keep.a", {"n": 1})
        await first.received(1)
        await first.stop()
        for n in (2, 3):
            await nats.publish("keep.a", {"n": n})
        second = self.record(gateway.url, cursor=first.client.cursor).run("keep.a")
        await second.received(2)
        self.assertEqual(second.numbers, [2, 3])
        # While a message is handled the cursor is behind it, and behind no other.
        messages = [(e, c) for e, c in zip(second.events, second.cursors, strict=True) if isinstance(e, Message)]
        self.assertEqual([c and c.offset for _, c in messages], [m.offset for m, _ in messages])

    async def test_what_the_stream_has_discarded_is_a_gap_and_the_rest_comes(self) -> None:
        nats = await self.start_nats(max_msgs=10)
        gateway = await self.start_gateway(nats)
        recorder = self.record(gateway.url).run("short.a")
        await recorder.subscribed()
        await nats.publish("short.a", {"n": 1})
        await recorder.received(1)
        await gateway.end(signal.SIGKILL)
        for n in range(2, 41):
            await nats.publish("short.a", {"n": n})
        await gateway.start_again()
        await recorder.received(11)
        self.assertEqual(recorder.numbers, [1, *range(31, 41)])
        self.assertEqual(recorder.of(Gap), [Gap("short.a", 2, 30, "retention")])
        self.assertIs(recorder.of(Subscribed)[-1].recovered, False)

    async def test_a_stream_that_is_replaced_is_a_gap_and_the_new_one_is_followed(self) -> None:
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats)
        recorder = self.record(gateway.url).run("epoch.a")
        await recorder.subscribed()
        await nats.publish("epoch.a", {"n": 1})
        await recorder.received(1)
        before = recorder.client.cursor
        await nats.delete_stream()
        await nats.create_stream()
        await recorder.until("the gap", lambda: [gap.reason for gap in recorder.of(Gap)] == ["epoch"])
        await recorder.subscribed(2)
        await nats.publish("epoch.a", {"n": 2})
        await recorder.received(2)
        assert before is not None and recorder.client.cursor is not None
        self.assertNotEqual(recorder.client.cursor.epoch, before.epoch)


class Tokens(Case):
    async def test_tokens_of_seconds_are_exchanged_under_live_messages_and_nothing_is_lost(self) -> None:
        issuer = self.issuer()
        log = self.everything_logged()
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats, auth=issuer.config)
        recorder = self.record(gateway.url, token=lambda: issuer.token(2)).run("line.a")
        await recorder.subscribed()
        publisher = Publisher(nats, "line.a")
        await recorder.until("three more tokens", lambda: issuer.issued >= 4)
        await self.complete(recorder, await publisher.stop())
        self.assertEqual([len(recorder.of(Opened)), recorder.of(Closed), recorder.of(Error)], [1, [], []])
        self.assertNotIn("eyJ", log.getvalue())  # what a token begins with

    async def test_a_login_that_is_away_until_the_token_has_expired_costs_a_reconnect_and_nothing_else(self) -> None:
        issuer = self.issuer()
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats, auth=issuer.config)
        away = asyncio.Event()

        async def token() -> str:
            if away.is_set():
                raise RuntimeError("the login is away")
            away.set()
            return issuer.token(2 if issuer.issued == 0 else 600)

        recorder = self.record(gateway.url, token=token).run("line.a")
        await recorder.subscribed()
        publisher = Publisher(nats, "line.a")
        await recorder.until("the end of the token", lambda: 4004 in [one.code for one in recorder.of(Closed)])
        away.clear()
        await recorder.subscribed(2)
        await self.complete(recorder, await publisher.stop())
        self.assertIn("token_unavailable", [error.code for error in recorder.of(Error)])
        self.assertNotIn("the login is away", repr(recorder.events))

    async def test_a_refused_token_that_cannot_change_ends_the_iteration_and_is_in_no_text(self) -> None:
        nats = await self.start_nats()
        issuer, other = self.issuer(), self.issuer()
        gateway = await self.start_gateway(nats, auth=issuer.config)
        token = other.token(600)
        recorder = self.record(gateway.url, token=token).run("line.a")
        await recorder.until("the refusal", lambda: recorder.refused)
        assert recorder.refused is not None
        self.assertEqual(recorder.refused.code, 4001)
        self.assertNotIn(token[-20:], f"{recorder.events} {recorder.refused} {gateway.log}")

    async def test_a_refused_token_of_a_function_is_exchanged_for_a_fresh_one_at_once(self) -> None:
        nats = await self.start_nats()
        issuer, other = self.issuer(), self.issuer()
        gateway = await self.start_gateway(nats, auth=issuer.config)
        tokens = iter([other.token(600), issuer.token(600)])
        recorder = self.record(gateway.url, token=lambda: next(tokens)).run("line.a")
        await recorder.subscribed()
        self.assertEqual([closed.code for closed in recorder.of(Closed)], [4001])

    def everything_logged(self) -> io.StringIO:
        """What a program logs that logs everything."""
        log, root, level = io.StringIO(), logging.getLogger(), logging.getLogger().level
        handler = logging.StreamHandler(log)
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        self.addCleanup(root.setLevel, level)
        self.addCleanup(root.removeHandler, handler)
        return log

    def issuer(self) -> Issuer:
        issuer = Issuer()
        self.addCleanup(issuer.remove)
        return issuer
