"""The Markdown of the repository: its links, anchors and fenced blocks."""

import re
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
SUMMARY = "docs/SUMMARY.md"


@dataclass
class Fence:
    """A fenced block: where it begins, its language, the rest of its info string, its text."""

    page: str
    line: int
    language: str
    info: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    def option(self, name: str) -> str | None:
        """The value of NAME= in the info string; that of run= goes on to the end of it."""
        found = re.search(rf"\b{name}=(.*)" if name == "run" else rf"\b{name}=(\S+)", self.info)
        return found[1].strip() if found else None


@dataclass
class Page:
    """One file: links with their lines, anchors of its headings, fenced blocks."""

    path: str
    links: list[tuple[int, str]] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    fences: list[Fence] = field(default_factory=list)


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


def read(path: str) -> Page:
    page = Page(path)
    tokens = MarkdownIt("commonmark").enable("table").parse((ROOT / path).read_text())
    seen: dict[str, int] = {}
    for at, token in enumerate(tokens):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "heading_open":
            words = "".join(one.content for one in tokens[at + 1].children if one.type in ("text", "code_inline"))
            anchor = slug(words)
            count = seen.get(anchor, 0)
            seen[anchor] = count + 1
            page.anchors.add(f"{anchor}-{count}" if count else anchor)
        elif token.type == "fence":
            language, _, info = token.info.strip().partition(" ")
            page.fences.append(Fence(path, line, language, info, token.content))
        elif token.type == "inline":
            for one in token.children:
                target = one.attrGet("href") if one.type == "link_open" else one.attrGet("src") if one.type == "image" else None
                if target:
                    page.links.append((line, str(target)))
    return page


@cache
def all_pages() -> dict[str, Page]:
    """All Markdown that Git knows, or would know, without the parts of pages that lie next to the code that writes them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split()
    return {path: read(path) for path in sorted(set(listed)) if (ROOT / path).exists() and "/src/" not in path}


def in_navigation() -> list[tuple[str, list[tuple[str, str]]]]:
    """The parts of the navigation: title, and title and path of each page."""
    parts: list[tuple[str, list[tuple[str, str]]]] = []
    for line in (ROOT / SUMMARY).read_text().splitlines():
        if line.startswith("## "):
            parts.append((line[3:], []))
        elif found := re.fullmatch(r"- \[(.+)\]\((.+)\)", line):
            parts[-1][1].append((found[1], resolve(SUMMARY, found[2])))
    return parts


def resolve(page: str, target: str) -> str:
    """The path in the repository that a relative link of a page leads to."""
    return ((ROOT / page).parent / target).resolve().relative_to(ROOT).as_posix()
