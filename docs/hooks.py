"""For the documentation's generator: pages that lie elsewhere in the project, and links that lead out of ``docs/``."""

import html
import posixpath
import re
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
# Pages that are files of the project, where people look for them.
PAGES = {
    "index.md": "README.md",
    "dataset.md": "dataset/README.md",
    "responsible_use.md": "RESPONSIBLE_USE.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
# What comes first, from left to right: a block of code, a link, whose words may be code, or code, which holds no link.
TOKEN = re.compile(
    r"^```.*?^```|(?P<link>(!?)\[((?:`[^`\n]*`|[^\]`])*)\]\(([^)\s]+)\))|`[^`\n]+`", re.MULTILINE | re.DOTALL
)
REFERENCE = re.compile(r"""(?:href|src)="([^"#?]+)[^"]*\"""")


def on_page_markdown(markdown: str, page, **_) -> str:
    """Puts a project's file in a page's place, and turns links that lead out of the site into plain text."""
    name = page.file.src_uri
    source = PAGES.get(name, f"docs/{name}")
    if name in PAGES:
        markdown = (ROOT / source).read_text(encoding="utf-8")
    return TOKEN.sub(lambda token: _relink(token, source, name) if token["link"] else token.group(), markdown)


def on_post_build(config, **_) -> None:
    """Looks for every file that a page of the site refers to.

    Raises:
        FileNotFoundError: naming the page and what is not there; the site is not to be used then.
    """
    site = Path(config["site_dir"])
    for page in sorted(site.rglob("*.html")):
        for target in REFERENCE.findall(page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:|/", target):  # another site's; "/": of the page for what is not found
                continue
            place = page.parent / unquote(html.unescape(target))
            if not (place / "index.html" if place.is_dir() else place).exists():
                raise FileNotFoundError(f"{page.relative_to(site)} refers to {target}, which is not there.")


def _relink(link: re.Match, source: str, name: str) -> str:
    _, mark, words, target = link.groups()
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
