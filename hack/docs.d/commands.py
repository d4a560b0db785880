"""Runs the commands of the docs, in the order of the navigation, in one folder, against the cluster of KUBECONFIG.

A block of `sh` says where it runs: `run=loopback`, `run=cluster`, both with a comma, or `run=no: REASON`. In the pages of MARKED
each block has to say so. A block that ends with an error, or prints nothing at all where a `get` should, fails.
"""

import os
import subprocess
import time
from pathlib import Path

from pages import ROOT, Fence, all_pages, in_navigation
from report import Report

# Where every block says whether it runs.
MARKED = ("docs/install.md", "docs/operations.md", "docs/security.md", "docs/sizing.md", "docs/conditions.md", "docs/migration.md", "CONTRIBUTING.md")
# README's blocks carry no marks, which readers of a forge would not mind, but this list does as well: how each begins, and who runs it.
README = {
    "make run": "no: tests/tests/wsgw.rs runs it",
    "make test": "no: this is a part of it",
    "helm install": "no: docs/install.md has the same",
    "make e2e": "no: needs a cluster of its own",
    "cargo run": "no: tests/tests/wsgw.rs runs it",
    "ln -s": "no: it changes your PATH; tests/tests/operator/people.rs runs the commands",
}
SECONDS = 180


def mark(fence: Fence) -> str | None:
    if fence.page == "README.md":
        return next((run for begin, run in README.items() if fence.text.startswith(begin)), None)
    return fence.option("run")


def blocks() -> list[Fence]:
    """Blocks of commands, in the order in which a reader meets them."""
    pages = all_pages()
    order = [path for _, part in in_navigation() for _, path in part if path in pages]
    return [fence for path in order for fence in pages[path].fences if fence.language == "sh"]


def check(report: Report, mode: str, work: Path, path: str, wait_for: Path | None) -> None:
    """Runs all of a mode. `wait_for` is the file that appears when the first WsGateway is ready, once the chart is installed."""
    prepare(work)
    ran = 0
    for fence in blocks():
        run = mark(fence)
        if run is None:
            if fence.page in MARKED or fence.page == "README.md":
                report.check(False, f"{fence.where}: does not say where it runs: run=loopback, run=cluster or run=no: REASON")
            else:
                report.skip("does not say where it runs", fence.page)
            continue
        if run.startswith("no"):
            reason = run.partition(":")[2].strip()
            report.check(bool(reason), f"{fence.where}: run=no needs a reason")
            report.skip(reason, fence.where)
            continue
        modes = [one.strip() for one in run.split(",")]
        report.check(set(modes) <= {"loopback", "cluster"}, f"{fence.where}: run={run}")
        if mode not in modes:
            report.skip(f"runs on {run}", fence.where)
            continue
        ran += 1
        one(report, fence, work, path)
        if wait_for and "helm install" in fence.text and not wait(wait_for):
            report.check(False, f"{fence.where}: no WsGateway is ready after it")
            return
    report.check(ran > 5, f"only {ran} blocks run on {mode}")


def prepare(work: Path) -> None:
    """The folder of the commands: as the repository, for what they read, and with the files that are the reader's own."""
    work.mkdir(parents=True, exist_ok=True)
    for name in ("charts", "manifests", "crds", "examples"):
        if not (work / name).exists():
            (work / name).symlink_to(ROOT / name)
    (work / "user.creds").write_text("-----BEGIN NATS USER JWT-----\nnot one\n------END NATS USER JWT------\n")


def one(report: Report, fence: Fence, work: Path, path: str) -> None:
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    begin = time.monotonic()
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", fence.text], cwd=work, env=environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
        )
        code, out = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        code, out = -1, f"not done after {SECONDS} s: {late.stdout!r}"
    # `helm install` and `get` that say nothing have done nothing. A filter may have nothing to say.
    silent = not out.strip() and "select(" not in fence.text and ">" not in fence.text
    ok = report.check(code == 0 and not silent, f"{fence.where}: code {code}\n{fence.text}\n{out}")
    if ok:
        print(f"docs: ok {fence.where} ({time.monotonic() - begin:.1f} s)", flush=True)


def wait(file: Path) -> bool:
    end = time.monotonic() + SECONDS
    while not file.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
