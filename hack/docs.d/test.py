"""hack/docs-test: see there."""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import blocks
import commands
import gitops
import links
import names
import reasons
import search
from pages import ROOT
from report import Report


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hack/docs-test")
    parser.add_argument("--mode", choices=["text", "loopback", "cluster"], required=True)
    parser.add_argument("--target", type=Path, required=True, help="folder with wsgw, the built program")
    parser.add_argument("--site", type=Path, help="folder of the built site")
    parser.add_argument("--ready", type=Path, help="file that appears when the first WsGateway is ready")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    report = Report()
    if options.mode != "cluster":
        programs = blocks.Programs(options.target)
        links.check(report)
        reasons.check(report)
        names.check(report)
        blocks.check(report, programs)
    if options.site:
        search.check(report, options.site)
    if options.mode != "text":
        tools = subprocess.run(["hack/tools", "--dir"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
        with tempfile.TemporaryDirectory(prefix="wsgateway-docs-") as work:
            path = f"{options.target}:{tools}"
            os.environ["PATH"] = f"{tools}:{os.environ['PATH']}"
            commands.check(report, options.mode, Path(work), path, options.ready)
        if options.mode == "loopback":
            gitops.check(report, f"{tools}/helm")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
