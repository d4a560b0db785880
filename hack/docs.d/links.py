"""Links, anchors, navigation, and what pages say about files and tests: all of it must exist."""

import re

from pages import ROOT, SUMMARY, all_pages, in_navigation, resolve
from report import Report

# Test and page of an attack: `tests/….rs`: `name`
TEST = re.compile(r"`((?:tests|crates|gateway|operator)/[\w/.-]+\.rs)`: `(\w+)`")
# Files that commands and prose name.
NAMED = re.compile(r"`((?:tests|hack|charts|manifests|crds|crates|gateway|operator|tools\.mod)/[\w/.-]+)`")
# Records of decisions and the changelog are of their time.
OF_ITS_TIME = re.compile(r"docs/adr/\d|CHANGELOG.md")


def check(report: Report) -> None:
    pages = all_pages()
    for path, page in pages.items():
        for line, target in page.links:
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue  # another host: there is no internet here
            to, _, anchor = target.partition("#")
            file = resolve(path, to) if to else path
            there = (ROOT / file).exists()
            where = f"{path}:{line}: {target}"
            if report.check(there, f"{where}: no such file") and anchor:
                report.check(file in pages and anchor in pages[file].anchors, f"{where}: no such heading")
    navigation(report)
    files(report)


def navigation(report: Report) -> None:
    """Every page of docs/ is in the navigation, and every page of it exists."""
    listed = {path for _, part in in_navigation() for _, path in part}
    for path in listed:
        report.check((ROOT / path).exists(), f"{SUMMARY}: {path} does not exist")
    for path in all_pages():
        if re.fullmatch(r"docs/[^/]+\.md", path) and path != SUMMARY:
            report.check(path in listed, f"{path} is not in {SUMMARY}")


def files(report: Report) -> None:
    """Tests and files that pages name."""
    for path, page in all_pages().items():
        if OF_ITS_TIME.match(path):
            continue
        text = (ROOT / path).read_text()
        for file, test in TEST.findall(text):
            source = ROOT / file
            ok = source.exists() and re.search(rf"\bfn {test}\b", source.read_text()) is not None
            report.check(ok, f"{path}: {file} has no test {test}")
        for file in set(NAMED.findall(text)):
            # A file or a folder, a program without its ending, or a path inside a crate.
            report.check((ROOT / file.rstrip("/.")).exists(), f"{path}: {file} does not exist")
