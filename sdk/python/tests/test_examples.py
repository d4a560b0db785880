"""The publishers of examples/publish and the snippets of the READMEs, as they stand there: hack/clients builds them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from wsgateway import Message

from .support.servers import PREFIX, REPOSITORY, Server, programs, until
from .test_gateway import Case

EXAMPLES = REPOSITORY / "examples/publish"
PUBLISHERS = {
    "python": [sys.executable, str(EXAMPLES / "python/publish.py")],
    "node": ["node", str(EXAMPLES / "node/publish.js")],
    "go": [os.environ.get("EXAMPLE_PUBLISH_GO", "run this test with hack/clients")],
    "rust": [str(programs() / "publish")],
    "cli": [str(EXAMPLES / "cli/publish.sh")],
}


class Examples(Case):
    async def publishes(self, language: str) -> None:
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats)
        recorder = self.record(gateway.url).run("BTC.price")
        await recorder.subscribed()
        result = await asyncio.to_thread(
            subprocess.run,
            [*PUBLISHERS[language], f"{PREFIX}BTC.price"],
            input=b'{"n":1}\n{"n":2}\n{"n":3}\n',
            env={
                **os.environ,
                "NATS_URL": f"nats://127.0.0.1:{nats.port}",
                "PATH": f"{programs()}:{os.environ['PATH']}",
            },
            capture_output=True,
            check=False,
        )
        self.assertEqual(
            (result.stdout.decode(), result.returncode), ("stored as 1\nstored as 2\nstored as 3\n", 0), result.stderr
        )
        await self.complete(recorder, 3)
        self.assertEqual({message.channel for message in recorder.of(Message)}, {"BTC.price"})

    async def test_what_the_publisher_in_python_stores_comes_to_a_client(self) -> None:
        await self.publishes("python")

    async def test_what_the_publisher_in_node_stores_comes_to_a_client(self) -> None:
        await self.publishes("node")

    async def test_what_the_publisher_in_go_stores_comes_to_a_client(self) -> None:
        await self.publishes("go")

    async def test_what_the_publisher_in_rust_stores_comes_to_a_client(self) -> None:
        await self.publishes("rust")

    async def test_what_the_publisher_for_the_shell_stores_comes_to_a_client(self) -> None:
        await self.publishes("cli")

    async def shows(self, binary: Path, *arguments: str) -> None:
        """A program that is told where the gateway is shows its messages."""
        nats = await self.start_nats()
        gateway = await self.start_gateway(nats)
        snippet = Server(binary)
        self.addAsyncCleanup(snippet.stop)
        snippet.launch(*arguments, gateway.url)

        async def publish() -> None:
            while "BTC.price" not in snippet.log:
                await nats.publish("BTC.price", {"price": 42})
                await asyncio.sleep(0.05)

        publishing = asyncio.create_task(publish())
        await until("a line", lambda: publishing.done() or snippet.ended, lambda: snippet.log)
        self.assertRegex(snippet.log, r"BTC\.price .*price.*42")

    async def test_the_snippet_of_the_python_readme_shows_messages(self) -> None:
        text = (REPOSITORY / "sdk/python/README.md").read_text()
        (snippet, *_) = re.findall(r"```python\n(import asyncio.*?)```", text, re.DOTALL)
        url = '"ws://localhost:8080/ws"'
        self.assertIn(url, snippet)
        await self.shows(Path(sys.executable), "-u", "-c", snippet.replace(url, "__import__('sys').argv[1]"))

    async def test_the_snippet_of_the_go_readme_shows_messages(self) -> None:
        await self.shows(Path(os.environ.get("EXAMPLE_SNIPPET_GO", "run this test with hack/clients")))
