"""MkDocs hooks: pages whose text lies elsewhere in the project, and links that lead out of ``docs/``."""

import html
import posixpath
import re
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
# Pages of the site, and the project's files that they show.
PAGES = {
    "index.md": "README.md",
    "dataset.md": "dataset/README.md",
    "responsible_use.md": "RESPONSIBLE_USE.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
# A code block, a link (whose words may be code), or inline code, in which nothing is a link.
TOKEN = re.compile(
    r"^```.*?^```|(?P<link>(!?)\[((?:`[^`\n]*`|[^\]`])*)\]\(([^)\s]+)\))|`[^`\n]+`", re.MULTILINE | re.DOTALL
)
REFERENCE = re.compile(r"""(?:href|src)="([^"#?]+)[^"]*\"""")


def on_page_markdown(markdown: str, page, **_) -> str:
    """Returns the text of the project's file for a page in ``PAGES``, with links out of the site as plain text."""
    name = page.file.src_uri
    source = PAGES.get(name, f"docs/{name}")
    if name in PAGES:
        markdown = (ROOT / source).read_text(encoding="utf-8")
    return TOKEN.sub(lambda token: _relink(token, source, name) if token["link"] else token.group(), markdown)


def on_post_build(config, **_) -> None:
    """Checks every reference of the site's pages.

    Raises:
        FileNotFoundError: a page refers to a file that does not exist.
    """
    site = Path(config["site_dir"])
    for page in sorted(site.rglob("*.html")):
        for target in REFERENCE.findall(page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:|/", target):  # another site; "/": the 404 page
                continue
            place = page.parent / unquote(html.unescape(target))
            if not (place / "index.html" if place.is_dir() else place).exists():
                raise FileNotFoundError(f"{page.relative_to(site)} refers to {target}, which does not exist.")


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
            raise FileNotFoundError(f"{source} links to {target}, which does not exist.")
        return words
    relative = posixpath.relpath(inside, posixpath.dirname(name) or ".")
    return f"{mark}[{words}]({relative}{'#' + anchor if anchor else ''})"
