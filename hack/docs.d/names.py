"""Fields of the specification and status, values of the chart, labels and annotations that pages name: each must exist."""

import re
from pathlib import Path

import yaml

from links import OF_ITS_TIME
from pages import ROOT, all_pages
from report import Report

CODE = re.compile(r"`([^`\n]+)`")
# a.b.c, with or without spec. in front, also a[].b
PATH = re.compile(r"(?:spec\.|\.status\.)?[a-z]\w*(?:\[\])?(?:\.[a-z]\w*(?:\[\])?)+")
KEY = re.compile(r"wsgateway\.dev/([a-z][a-z-]+[a-z])")
# Pages about other programs' settings, or with paths of their own kind.
ELSEWHERE = re.compile(r"docs/adr/|CHANGELOG|bench/|sdk/|ARCHITECTURE|CONTRIBUTING|docs/(protocol|metrics|logs|monitoring|images)")
# Protocols, a setting of the gateway's own file, a setting of Flux.
# Subjects of the samples.
SUBJECT = re.compile(r"odin\.(tokens?|trades|market|global)\.")
OTHERS = {"odin.v1", "symbols.v1", "listener.address", "spec.upgrade.crds"}
# Names of files.
FILE = re.compile(r"\.(md|yaml|json|go|rs|toml|png|svg|creds|nk|crt|key)$")


def schema() -> dict:
    crd = yaml.safe_load((ROOT / "crds/wsgateways.yaml").read_text())
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]


def is_field(node: dict, parts: list[str]) -> bool:
    """Whether a path leads somewhere in a schema; what keeps unknown fields has all."""
    for part in parts:
        while node.get("type") == "array":
            node = node["items"]
        if node.get("x-kubernetes-preserve-unknown-fields") or node.get("additionalProperties"):
            return True
        if part not in node.get("properties", {}):
            return False
        node = node["properties"][part]
    return True


def is_value(node: object, parts: list[str]) -> bool:
    for part in parts:
        if not isinstance(node, dict) or not node:
            return node == {} or node == []
        if part not in node:
            return False
        node = node[part]
    return True


def check(report: Report) -> None:
    fields = schema()
    values = yaml.safe_load((ROOT / "charts/wsgateway/values.yaml").read_text())
    keys = known_keys()
    for path in all_pages():
        text = (ROOT / path).read_text()
        if OF_ITS_TIME.match(path):
            continue
        for key in sorted(set(KEY.findall(text))):
            report.check(key in keys, f"{path}: nothing knows wsgateway.dev/{key}")
        if ELSEWHERE.match(path):
            continue
        for word in sorted(set(CODE.findall(text))):
            if PATH.fullmatch(word) and not FILE.search(word) and word not in OTHERS and not SUBJECT.match(word):
                one(report, path, word, fields, values)


def one(report: Report, path: str, word: str, fields: dict, values: dict) -> None:
    parts = word.replace("[]", "").lstrip(".").split(".")
    if parts[0] in ("spec", "status"):
        report.check(is_field(fields[parts[0]], parts[1:]), f"{path}: there is no field {word}")
        return
    is_ours = parts[0] in fields["spec"]["properties"]
    is_charts = parts[0] in values
    if is_ours or is_charts:
        found = is_ours and is_field(fields["spec"], parts) or is_charts and is_value(values, parts)
        report.check(found, f"{path}: {word} is neither a field nor a value of the chart")


def known_keys() -> set[str]:
    """Labels and annotations in code and chart."""
    found: set[str] = set()
    for folder, kind in (("operator/src", "*.rs"), ("crds/src", "*.rs"), ("crates", "*.rs"), ("charts", "*.yaml"), ("gateway/src", "*.rs")):
        for file in Path(ROOT, folder).rglob(kind):
            found.update(KEY.findall(file.read_text()))
    return found
