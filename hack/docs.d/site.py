"""Builds the site: a copy of the repository's Markdown, in the order of docs/SUMMARY.md, through Sphinx.

Links stay as they are on GitHub. What a link leads to and is no page is copied along; a folder is named without a link.
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import main as sphinx

from pages import ROOT, SUMMARY, all_pages, in_navigation, resolve


def stage(folder: Path) -> None:
    """Copies pages, and what they lead to."""
    for path, page in all_pages().items():
        if path == SUMMARY:
            continue
        text = (ROOT / path).read_text()
        for _, target in page.links:
            if re.match(r"[a-z]+:|#", target):
                continue
            file = resolve(path, target.partition("#")[0])
            if (ROOT / file).is_dir() or file == SUMMARY:
                # Only the words stay.
                text = re.sub(r"\[([^\[\]]+)\]\(" + re.escape(target) + r"\)", r"\1", text)
            elif not file.endswith(".md"):
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, folder / file)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    with (folder / "README.md").open("a") as index:
        for title, pages in in_navigation():
            there = [(name, path) for name, path in pages if (ROOT / path).exists()]
            index.write(f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n")
            index.writelines(f"{'Start <self>' if path == 'README.md' else f'{name} <{path}>'}\n" for name, path in there)
            index.write("```\n")
    records = sorted(path for path in all_pages() if re.match(r"docs/adr/\d", path))
    with (folder / "docs/adr/README.md").open("a") as index:
        index.write("\n```{toctree}\n:hidden:\n\n")
        index.writelines(f"/{path}\n" for path in records)
        index.write("```\n")


def main() -> int:
    out = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="wsgateway-docs-") as scratch:
        source, html = Path(scratch, "source"), Path(scratch, "html")
        source.mkdir()
        stage(source)
        here = Path(__file__).parent
        shutil.copy(here / "conf.py", source)
        (source / "_static").mkdir()
        shutil.copy(here / "site.css", source / "_static")
        # A warning is a link that leads nowhere, or Markdown that is not what it looks like.
        status = sphinx(["-q", "-W", "--keep-going", "-j", "2", "-b", "html", str(source), str(html)])
        if status == 0:
            shutil.copy(html / "README.html", html / "index.html")
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(html, out, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo"))
            print(f"docs: {len(list(out.rglob('*.html')))} pages in {out}: open {out}/index.html")
    return status


if __name__ == "__main__":
    sys.exit(main())
