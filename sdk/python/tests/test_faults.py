"""Servers that refuse, hang, close in the middle and send rubbish; and a line that is dead without being closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from websockets.asyncio.server import Server, ServerConnection, serve

from wsgateway import Backoff, Closed, Error, Heartbeat, Message, Opened, Reconnect

from .support.recorder import AsyncCase, Recorder

GREETING = json.dumps({"type": "connection:established", "epoch": "e", "connectionId": "c", "pod": "p", "limits": {}})


def message(n: int) -> str:
    return json.dumps({"type": "message", "channel": "a", "offset": n, "prev": n - 1, "ts": 1, "data": {"n": n}})


async def acknowledge(socket: ServerConnection, **more: object) -> dict[str, object]:
    """Takes a subscribe and answers it; returns the command."""
    command: dict[str, object] = json.loads(await socket.recv())
    answer = {"type": "subscription_ack", "id": command["id"], "subscribed": command["channels"], "offset": 0, **more}
    await socket.send(json.dumps(answer))
    return command


class Faults(AsyncCase):
    async def websocket(self, *connections: Callable[[ServerConnection], Awaitable[object]]) -> str:
        """A server whose connections behave one after the other; the last one for good."""
        count = 0

        async def handle(socket: ServerConnection) -> None:
            nonlocal count
            count += 1
            await connections[min(count, len(connections)) - 1](socket)

        server = await serve(handle, "127.0.0.1", 0, close_timeout=0.1)
        return self.address(server)

    async def tcp(self, answer: bytes, hang: bool = False) -> str:
        """A server that answers every connection with these bytes."""

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if hang:
                await reader.read()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        return self.address(server)

    def address(self, server: Server | asyncio.Server) -> str:
        async def stop() -> None:
            server.close()
            await server.wait_closed()

        self.addAsyncCleanup(stop)
        return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/ws"

    def connect(self, *urls: str, **options: object) -> Recorder:
        return self.record(*urls, **options).run("a")

    async def good(self, socket: ServerConnection) -> None:
        await socket.send(GREETING)
        await acknowledge(socket)
        await socket.send(message(1))
        await socket.wait_closed()

    async def test_a_gateway_that_is_full_is_left_alone_for_as_long_as_it_says_and_the_next_one_is_asked(self) -> None:
        body = b'{"code":"full","message":"m","retryAfterMs":120}'
        head = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        recorder = self.connect(await self.tcp(head + body), await self.websocket(self.good))
        await recorder.received(1)
        (closed,) = recorder.of(Closed)
        self.assertEqual((closed.code, closed.reason), (1013, "HTTP 503 full"))
        assert closed.retry_in is not None
        self.assertGreaterEqual(closed.retry_in, 0.12)

    async def test_a_ban_ends_the_iteration(self) -> None:
        body = b'{"code":"banned","message":"m"}'
        head = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        recorder = self.connect(await self.tcp(head + body))
        await recorder.until("the refusal", lambda: recorder.refused)
        assert recorder.refused is not None
        self.assertEqual(recorder.refused.code, 4013)

    async def test_what_speaks_no_http_and_what_redirects_are_attempts_like_any_other(self) -> None:
        rubbish = await self.tcp(b"\x00\xff rubbish \r\n\r\n")
        elsewhere = b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
        recorder = self.connect(rubbish, await self.tcp(elsewhere), await self.websocket(self.good))
        await recorder.received(1)
        self.assertEqual([closed.code for closed in recorder.of(Closed)], [1006, 1006])
        self.assertEqual(recorder.of(Closed)[1].reason, "HTTP 302")

    async def test_nobody_listens_and_then_somebody_does(self) -> None:
        recorder = self.connect("ws://127.0.0.1:1/ws", await self.websocket(self.good))
        await recorder.received(1)

    async def test_a_server_that_hangs_before_the_upgrade_or_before_the_greeting_is_given_up(self) -> None:
        silent = await self.websocket(lambda socket: socket.wait_closed())
        recorder = self.connect(await self.tcp(b"", hang=True), silent, connect_timeout=0.3)
        for reason in ("not connected in time", "not greeted in time"):
            await recorder.until(
                reason, lambda reason=reason: reason in [closed.reason for closed in recorder.of(Closed)]
            )

    async def test_a_line_that_is_dead_without_being_closed_is_given_up_and_resumed(self) -> None:
        resumed: list[object] = []

        async def dead(socket: ServerConnection) -> None:
            await socket.send(GREETING)
            await acknowledge(socket)
            await socket.send(message(1))
            async for _ in socket:
                pass  # pings are heard and not answered

        async def alive(socket: ServerConnection) -> None:
            await socket.send(GREETING)
            command = await acknowledge(socket, offset=1, recovered=True)
            resumed.append(command["resume"])
            await socket.send(message(1))  # a gateway may send twice what it is not sure of
            await socket.send(message(2))
            async for _ in socket:
                await socket.send('{"type":"pong"}')

        url = await self.websocket(dead, alive)
        recorder = self.connect(url, heartbeat=Heartbeat(interval=0.2, timeout=1))
        await recorder.received(2)
        self.assertEqual(recorder.of(Closed)[0].reason, "no answer in time")
        self.assertEqual((resumed, recorder.numbers), ([{"epoch": "e", "offset": 1}], [1, 2]))
        self.assertEqual(recorder.client.duplicates, 1)

    async def test_a_close_in_the_middle_of_catching_up_is_resumed_from_what_had_come(self) -> None:
        resumed: list[object] = []

        async def cut(socket: ServerConnection) -> None:
            await socket.send(GREETING)
            resumed.append((await acknowledge(socket, offset=len(resumed), recovered=True)).get("resume"))
            await socket.send(message(len(resumed)))
            socket.transport.abort()

        async def begin(socket: ServerConnection) -> None:
            await socket.send(GREETING)
            await acknowledge(socket)
            socket.transport.abort()

        recorder = self.connect(await self.websocket(begin, cut))
        await recorder.received(5)
        self.assertEqual(recorder.numbers[:5], [1, 2, 3, 4, 5])
        self.assertEqual(resumed[:3], [{"epoch": "e", "offset": n} for n in range(3)])

    async def test_rubbish_is_an_error_each_and_what_follows_comes(self) -> None:
        async def rubbish(socket: ServerConnection) -> None:
            await socket.send(GREETING)
            await acknowledge(socket)
            strange: list[str | bytes] = [
                "no json",
                "7",
                "[]",
                "[" * 100_000,
                b"\xff\xfe",
                '{"type":"message"}',
                '{"type":[]}',
                "{}",
            ]
            wrong = {"type": "message", "channel": "a", "offset": 9, "encoding": "base64", "data": "!"}
            kinds = (
                "message",
                "gap",
                "batch",
                "live",
                "pong",
                "subscription_ack",
                "error",
                "reconnect",
                "unsubscribed",
            )
            broken = [json.dumps({"type": kind, "messages": 1, "channels": {}, "id": []}) for kind in kinds]
            for frame in (*strange, json.dumps(wrong), *broken, message(1)):
                await socket.send(frame)
            await socket.wait_closed()

        recorder = self.connect(await self.websocket(rubbish))
        await recorder.received(1)
        self.assertEqual(recorder.numbers, [1])
        self.assertGreaterEqual(len(recorder.of(Error)), 7)
        self.assertEqual(len(recorder.of(Opened)), 1)

    async def test_a_frame_that_is_too_big_ends_the_iteration(self) -> None:
        async def big(socket: ServerConnection) -> None:
            await socket.send(GREETING)
            await socket.send(json.dumps({"type": "x", "data": "x" * (17 << 20)}))
            await socket.wait_closed()

        recorder = self.connect(await self.websocket(big))
        await recorder.until("the refusal", lambda: recorder.refused)
        assert recorder.refused is not None
        self.assertEqual(recorder.refused.code, 1009)

    async def test_advice_is_followed_to_the_time(self) -> None:
        async def drain(socket: ServerConnection) -> None:
            await socket.send(GREETING)
            await acknowledge(socket)
            await socket.send('{"type":"reconnect","afterMs":300,"reason":"drain"}')
            await socket.close(1012)

        recorder = self.connect(await self.websocket(drain, self.good), backoff=Backoff(base=30, cap=30))
        await recorder.received(1)
        self.assertEqual(recorder.of(Reconnect), [Reconnect(300, "drain")])
        (closed,) = recorder.of(Closed)
        assert closed.retry_in is not None
        self.assertTrue(0 < closed.retry_in <= 0.3, closed)

    async def test_1000_ends_the_iteration_and_a_break_leaves_nothing_open(self) -> None:
        closed = asyncio.Event()

        async def watch(socket: ServerConnection) -> None:
            await self.good(socket)
            closed.set()

        async def bye(socket: ServerConnection) -> None:
            await socket.send(GREETING)
            await socket.close(1000, "bye")

        recorder = Recorder(await self.websocket(watch))
        async with recorder.client as client:
            client.subscribe("a")
            async for event in client:
                if isinstance(event, Message):
                    break
        await asyncio.wait_for(closed.wait(), 60)
        recorder = self.connect(await self.websocket(bye))
        await recorder.until("the end", lambda: recorder.of(Closed))
        self.assertEqual(recorder.of(Closed), [Closed(1000, "bye", None)])
