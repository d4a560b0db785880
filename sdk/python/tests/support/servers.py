"""Real servers for tests: nats-server and the gateway, each on a port that stays the same over restarts."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import math
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .nats import NatsClient

REPOSITORY = Path(__file__).resolve().parents[4]
STREAM = "PRICES"
PREFIX = "p."
"""Subjects are channels behind this prefix."""
SOON = 60.0
"""How long anything may take on a machine that compiles at the same time (seconds)."""
# Below the ports of outgoing connections (Linux: 32768 and up), so that no client takes one in between, and below those
# of the Go client's tests, which run at the same time.
FIRST_PORT, PORTS = 20_000, 6_000


async def until(what: str, condition: Callable[[], object], context: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}: {context()}")
        await asyncio.sleep(0.005)


def _ports() -> Any:
    offset = os.getpid() * 97
    while True:
        port = FIRST_PORT + offset % PORTS
        offset += 1
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port


_free_ports = _ports()


def free_port() -> int:
    """A port that nobody listens on. It is handed out once, so that a server finds its own again after a restart."""
    return int(next(_free_ports))


class Server:
    """A child process with its log in a file."""

    def __init__(self, binary: Path) -> None:
        self.binary = binary
        self.folder = Path(tempfile.mkdtemp(prefix=f"wsgateway-{binary.name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def launch(self, *arguments: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binary, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def ready(self, condition: Callable[[], bool]) -> None:
        process = self._process
        assert process is not None
        await until(f"a ready {self.binary.name}", lambda: process.poll() is not None or condition(), lambda: self.log)
        assert process.poll() is None, self.log

    async def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            await asyncio.to_thread(process.wait)

    async def stop(self) -> None:
        await self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class Nats(Server):
    """nats-server with a JetStream stream, and a client of it."""

    client: NatsClient

    @classmethod
    async def start(cls, **stream: object) -> Nats:
        command = ["bash", str(REPOSITORY / "hack/tools"), "--path", "nats-server"]
        binary = (await asyncio.to_thread(subprocess.check_output, command)).decode().strip()
        nats = cls(Path(binary))
        nats.port = free_port()
        config = nats.folder / "nats.conf"
        store = json.dumps(str(nats.folder / "store"))
        config.write_text(f'listen: "127.0.0.1:{nats.port}"\njetstream {{ store_dir: {store} }}\n')
        nats.launch("-c", str(config))
        await nats.ready(lambda: _listens(nats.port))
        nats.client = await NatsClient.connect(nats.port)
        await nats.create_stream(**stream)
        return nats

    port = 0

    async def create_stream(self, **stream: object) -> None:
        config = {"name": STREAM, "subjects": [f"{PREFIX}>"], "storage": "file", "allow_direct": True, **stream}
        await self.client.api(f"STREAM.CREATE.{STREAM}", config)

    async def delete_stream(self) -> None:
        await self.client.api(f"STREAM.DELETE.{STREAM}", {})

    async def publish(self, channel: str, payload: object) -> int:
        """Stores a message on a channel; returns its offset."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return await self.client.publish(PREFIX + channel, body)

    async def stop(self) -> None:
        await self.client.close()
        await super().stop()


def programs() -> Path:
    """Where cargo has built our programs."""
    return Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "debug"


class Gateway(Server):
    """A gateway, ready."""

    port = 0
    admin = 0

    @classmethod
    async def start(cls, nats: Nats, **extra: object) -> Gateway:
        gateway = cls(programs() / "gateway")
        gateway.port, gateway.admin = free_port(), free_port()
        config = {
            "name": "test/prices",
            "source": {"jetStream": {"servers": [f"nats://127.0.0.1:{nats.port}"], "stream": STREAM}},
            "channels": {"stripPrefix": PREFIX},
            "drain": {"window": 0},
            **extra,
        }
        (gateway.folder / "gateway.yaml").write_text(json.dumps(config))  # YAML holds all of JSON
        await gateway.start_again()
        return gateway

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def clients(self) -> int:
        """Connections that it holds."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5) as answer:
            found = re.findall(r"^wsgateway_connections(?:{[^}]*})? (\d+)", answer.read().decode(), re.MULTILINE)
        return sum(map(int, found))

    async def start_again(self) -> None:
        """Starts it on the same port."""
        addresses = ["--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin}"]
        self.launch("--config", str(self.folder / "gateway.yaml"), *addresses)
        await self.ready(lambda: _answers(f"http://127.0.0.1:{self.admin}/readyz"))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Relay:
    """A TCP proxy whose connections can be cut."""

    port = 0

    @classmethod
    async def start(cls, port: int) -> Relay:
        relay = cls()
        relay._target = port
        relay._server = await asyncio.start_server(relay._relay, "127.0.0.1", 0)
        relay.port = relay._server.sockets[0].getsockname()[1]
        return relay

    _target = 0
    _server: asyncio.Server

    def __init__(self) -> None:
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def stop(self) -> None:
        self._server.close()
        self.cut()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            self._open |= {writer, back}
            await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()


class Issuer:
    """Issues tokens: a secret in a file for the configuration of a gateway, and tokens that are signed with it."""

    def __init__(self) -> None:
        self._secret = secrets.token_hex(32)
        self._folder = Path(tempfile.mkdtemp(prefix="wsgateway-issuer-"))
        (self._folder / "key").write_text(self._secret)
        self.issued = 0

    @property
    def config(self) -> dict[str, object]:
        return {"jwt": {"keys": [{"file": str(self._folder / "key")}], "algorithms": ["HS256"], "leeway": 0}}

    def token(self, seconds: int, user: str = "ann") -> str:
        """A token that is good for some seconds."""
        self.issued += 1
        claims = {"sub": user, "exp": math.ceil(time.time()) + seconds, "jti": str(self.issued)}
        signed = f"{_part({'alg': 'HS256'})}.{_part(claims)}"
        signature = hmac.digest(self._secret.encode(), signed.encode(), hashlib.sha256)
        return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
