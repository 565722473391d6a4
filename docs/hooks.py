"""For the documentation's generator: pages that lie elsewhere in the project, and links that lead out of ``docs/``."""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Pages that are files of the project, where people look for them.
PAGES = {
    "index.md": "README.md",
    "dataset.md": "dataset/README.md",
    "responsible_use.md": "RESPONSIBLE_USE.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
CODE = re.compile(r"(^```.*?^```|(?<!\[)`[^`\n]+`(?!\]))", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_page_markdown(markdown: str, page, **_) -> str:
    """Puts a project's file in a page's place, and turns links that lead out of the site into plain text."""
    name = page.file.src_uri
    source = PAGES.get(name, f"docs/{name}")
    if name in PAGES:
        markdown = (ROOT / source).read_text(encoding="utf-8")
    parts = CODE.split(markdown)  # every second one is code, in which nothing is a link
    return "".join(
        part if number % 2 else LINK.sub(lambda link: _relink(link, source, name), part)
        for number, part in enumerate(parts)
    )


def _relink(link: re.Match, source: str, name: str) -> str:
    mark, words, target = link.groups()
    path, _, anchor = target.partition("#")
    if "://" in target or not path:
        return link.group()
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    shown = {file: page for page, file in PAGES.items()}
    if wanted.startswith("docs/"):
        inside = wanted.removeprefix("docs/")
    elif wanted in shown:
        inside = shown[wanted]
    else:
        if not (ROOT / wanted).exists():
            raise FileNotFoundError(f"{source} links to {target}, which is not there.")
        return words
    relative = posixpath.relpath(inside, posixpath.dirname(name) or ".")
    return f"{mark}[{words}]({relative}{'#' + anchor if anchor else ''})"
