"""Fenced YAML and JSON: it parses, WsGateways are valid, values render the chart, and the figures of sizing.md are `wsgw check`'s."""

import json
import re
import subprocess
import tempfile
from pathlib import Path

import yaml

from pages import ROOT, Fence, all_pages
from report import Report

MINIMAL = "manifests/samples/minimal.yaml"


class Programs:
    """The programs under test."""

    def __init__(self, target: Path) -> None:
        self.wsgw = target / "wsgw"
        self.helm = Path(subprocess.run(["hack/tools", "--path", "helm"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip())

    def wsgw_check(self, manifest: dict) -> tuple[bool, str]:
        done = subprocess.run([self.wsgw, "check", "-f", "-"], input=yaml.safe_dump(manifest), capture_output=True, text=True, check=False)
        return done.returncode == 0, done.stdout + done.stderr

    def renders(self, values: dict) -> tuple[bool, str]:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(values, file)
            file.flush()
            command = [self.helm, "template", "wsgateway", "charts/wsgateway", "--namespace", "wsgateway-system", "-f", file.name]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode == 0 and "kind: Deployment" in done.stdout, done.stderr


def spec_fields() -> set[str]:
    crd = yaml.safe_load((ROOT / "crds/wsgateways.yaml").read_text())
    return set(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])


def merged(base: object, change: object) -> object:
    if isinstance(base, dict) and isinstance(change, dict):
        return {**base, **{key: merged(base.get(key), value) for key, value in change.items()}}
    return change


def check(report: Report, programs: Programs) -> None:
    fields = spec_fields()
    minimal = yaml.safe_load((ROOT / MINIMAL).read_text())
    for page in all_pages().values():
        for fence in page.fences:
            if fence.language == "json":
                one_json(report, fence)
            elif fence.language in ("yaml", "yml"):
                one_yaml(report, programs, fence, fields, minimal)
    sizes(report, programs, minimal)


def one_json(report: Report, fence: Fence) -> None:
    try:
        json.loads(fence.text)
        problem = ""
    except ValueError as error:
        # One value a line.
        lines = [line for line in fence.text.splitlines() if line.strip()]
        problem = "" if len(lines) > 1 and all(is_json(line) for line in lines) else str(error)
    report.check(not problem, f"{fence.where}: {problem}")


def is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def one_yaml(report: Report, programs: Programs, fence: Fence, fields: set[str], minimal: dict) -> None:
    try:
        documents = [document for document in yaml.safe_load_all(fence.text) if document is not None]
    except yaml.YAMLError as error:
        report.check(False, f"{fence.where}: {error}")
        return
    report.check(bool(documents), f"{fence.where}: empty")
    values = fence.option("values")
    for document in documents:
        if values == "wsgateway":
            ok, why = programs.renders(document)
            report.check(ok, f"{fence.where}: helm template: {why}")
        elif isinstance(document, dict) and document.get("kind") == "WsGateway":
            ok, why = programs.wsgw_check(document)
            report.check(ok, f"{fence.where}: {why}")
        elif isinstance(document, dict) and not values and set(document) <= fields:
            # A part of a specification.
            whole = merged(minimal, {"spec": document})
            if "redis" in document:
                whole["spec"] = {key: value for key, value in whole["spec"].items() if key not in ("nats", "stream")}
            ok, why = programs.wsgw_check(whole)
            report.check(ok, f"{fence.where}: {why}")


def sizes(report: Report, programs: Programs, minimal: dict) -> None:
    """The table of memory in docs/sizing.md."""
    rows = re.findall(r"^\| ([\d,]+) \| (\d+) KiB \| (\d+) MiB \| (\d+) MiB \|$", (ROOT / "docs/sizing.md").read_text(), re.MULTILINE)
    report.check(len(rows) >= 3, "docs/sizing.md: the table of memory is gone")
    for connections, outbox, history, requested in rows:
        capacity = {"connectionsPerPod": int(connections.replace(",", "")), "outboxPerConnection": f"{outbox}Ki"}
        size = f"{int(outbox) // 4}Ki"
        spec = {"capacity": capacity, "history": {"bytes": f"{history}Mi"}, "stream": {"maxMessageSize": size}}
        ok, said = programs.wsgw_check(merged(minimal, {"spec": spec}))
        report.check(ok and f"memory {requested} MiB requested" in said, f"docs/sizing.md: {connections} connections: {said}")
