"""The built site in a browser: its search finds what somebody on call types."""

import subprocess
import tempfile
from pathlib import Path

from pages import ROOT
from report import Report

# What is typed, and the page that must be found.
WANTED = {
    "NatsUnauthorized": "docs/conditions.html",
    "drain a node": "docs/operations.html",
    "connectionsPerPod": "docs/configuration.html",
    "NetworkPolicies": "docs/install.html",
}


def browser() -> str:
    done = subprocess.run(["hack/chromium"], cwd=ROOT, check=True, capture_output=True, text=True)
    # chromium: PATH (VERSION)
    return done.stdout.split()[1]


def check(report: Report, site: Path) -> None:
    program = browser()
    for typed, page in WANTED.items():
        url = f"file://{site}/search.html?q={typed.replace(' ', '+')}"
        with tempfile.TemporaryDirectory(prefix="wsgateway-chromium-") as profile:
            command = [
                program, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--virtual-time-budget=10000",
                "--dump-dom", url,
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        report.check(f'href="{page}' in done.stdout, f"the site's search for {typed} does not find {page}: {done.stderr[-500:]}")
