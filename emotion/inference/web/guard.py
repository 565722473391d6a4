"""Who may ask the page for what: names, origins, proxies, addresses, and how much of the disk.

Everything here is decided before Gradio sees the request.
"""

import ipaddress
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

API = "/gradio_api/"
UPLOAD, JOIN, LOGIN = f"{API}upload", f"{API}queue/join", "/login"
# What Gradio's own page asks for. It also serves its statistics, its API's description, a code editor and more.
PATHS = (
    "/config", LOGIN, "/logout", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json", "/pwa_icon", UPLOAD,
    JOIN, *(API + name for name in (
        "app_id", "cancel", "info", "login_check", "queue/data", "reset", "startup-events", "theme.css",
        "upload_progress", "user",
    )),
)  # fmt: skip
FOLDERS = ("/assets/", "/static/", *(API + name for name in ("file=", "heartbeat/", "run/")))
# Of one address: requests open at a time, such as one for each page that is open; uploads at a time; clips that wait
# or are analysed; attempts to log in within some seconds.
MAX_OPEN, MAX_UPLOADS, MAX_PLACES, MAX_LOGINS, LOGIN_SECONDS = 64, 4, 3, 10, 60.0
MAX_ADDRESSES = 10_000  # whose recent requests are remembered
HOUR = 3600.0


class Refused(Exception):
    """A request that is not answered.

    Attributes:
        code: HTTP status.
    """

    def __init__(self, code: int, words: str):
        super().__init__(words)
        self.code = code


def middleware_for(
    names: Iterable[str],
    proxies: Iterable[str],
    *,
    count_places: Callable[[str], int],
    has_room: Callable[[int], bool],
    max_share: float,
) -> list[Middleware]:
    """Returns what stands before Gradio.

    Args:
        names: host names that the page has; numeric addresses are always its own, as no website can rebind them.
        proxies: addresses, or networks such as ``10.0.0.0/8``, whose word on who asks is believed.
        count_places: returns how many clips of an address wait or are analysed.
        has_room: whether so many bytes more may be uploaded.
        max_share: bytes that an address may upload in an hour.
    """
    proxies = list(proxies)
    return [
        Middleware(Forwarded, proxies=proxies),
        Middleware(ProxyHeadersMiddleware, trusted_hosts=proxies),
        Middleware(
            Guard,
            names={*names, "localhost", *own_names()},
            count_places=count_places,
            has_room=has_room,
            max_share=max_share,
        ),
    ]


def own_names() -> set[str]:
    """Returns the names that this computer gives itself."""
    name = socket.gethostname().lower()
    return {name, f"{name}.local"}


class Forwarded:
    """Drops what anybody but a named proxy says about who asks, and under which name."""

    def __init__(self, app, proxies: list[str]):
        self._app = app
        self._networks = [ipaddress.ip_network(proxy) for proxy in proxies]

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "lifespan" and not self._is_proxy(scope):
            kept = [
                (name, value)
                for name, value in scope["headers"]
                if not name.startswith(b"x-forwarded") and name not in (b"forwarded", b"x-gradio-server")
            ]
            scope = {**scope, "headers": kept}
        await self._app(scope, receive, send)

    def _is_proxy(self, scope) -> bool:
        try:
            address = ipaddress.ip_address((scope.get("client") or ("",))[0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)


class Recent:
    """Adds up what each address did within some seconds."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._done: dict[str, Counter[int]] = {}  # by the sixtieth part of these seconds

    def add(self, address: str, amount: int) -> int:
        """Notes an amount, and returns the sum of the address."""
        part = int(time.monotonic() / self._seconds * 60)
        if len(self._done) >= MAX_ADDRESSES:
            self._done.clear()
        recent = {then: each for then, each in self._done.get(address, {}).items() if part - then < 60}
        self._done[address] = Counter(recent)
        self._done[address][part] += amount
        return self._done[address].total()


class Guard:
    """Refuses foreign names, foreign websites, paths that the page does not need, and too much from one address."""

    def __init__(
        self, app, *, names: set[str], count_places: Callable[[str], int], has_room: Callable[[int], bool],
        max_share: float,
    ):  # fmt: skip
        self._app, self._names = app, {name.lower() for name in names}
        self._count_places, self._has_room, self._max_share = count_places, has_room, max_share
        self._open: Counter[tuple[str, str]] = Counter()
        self._arriving = 0  # bytes of uploads that are under way
        self._logins, self._uploaded = Recent(LOGIN_SECONDS), Recent(HOUR)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page opens no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        headers, address = Headers(scope=scope), (scope.get("client") or ("",))[0]
        path = scope["path"].rstrip("/") or "/"
        try:
            check_host_name(headers, self._names)
            check_site(headers, is_visit=path == "/")
            self._check_path(path)
            n_bytes = self._check_amount(scope["method"], path, headers, address)
        except Refused as refused:
            await PlainTextResponse(f"{refused}\n", refused.code)(scope, receive, send)
            return
        keys = [(address, "")] + [(address, path)] * (path in (UPLOAD, JOIN))
        self._open.update(keys)
        self._arriving += n_bytes
        try:
            await self._app(scope, receive, send)
        finally:
            self._arriving -= n_bytes
            self._open.subtract(keys)
            for key in keys:
                if not self._open[key]:
                    del self._open[key]

    def _check_path(self, path: str) -> None:
        if path not in ("/", *PATHS) and not path.startswith(FOLDERS):
            raise Refused(404, "There is no such page.")

    def _check_amount(self, method: str, path: str, headers: Headers, address: str) -> int:
        """Returns how many bytes an upload brings."""
        if self._open[address, ""] >= MAX_OPEN:
            raise Refused(429, "Too many requests from your address at a time. Close some pages.")
        if path == JOIN and self._count_places(address) + self._open[address, JOIN] >= MAX_PLACES:
            raise Refused(429, f"{MAX_PLACES} clips from your address wait already. Try again when one is done.")
        if path == LOGIN and method == "POST" and self._logins.add(address, 1) > MAX_LOGINS:
            raise Refused(429, "Too many attempts to log in. Wait a minute.")
        if path != UPLOAD:
            return 0
        if self._open[address, UPLOAD] >= MAX_UPLOADS:
            raise Refused(429, f"{MAX_UPLOADS} uploads from your address are under way. Try again when one is done.")
        length = headers.get("content-length", "")
        if not length.isdecimal() or "transfer-encoding" in headers:
            raise Refused(411, "The upload must state its length.")
        if not self._has_room(self._arriving + int(length)):
            raise Refused(507, "The page has no room for more clips. Try again in an hour.")
        if self._uploaded.add(address, int(length)) > self._max_share:
            raise Refused(429, "Your address has uploaded enough for now. Try again in an hour.")
        return int(length)


def check_host_name(headers: Headers, names: set[str]) -> None:
    """Makes sure that a request names this computer: a website's own name may have been pointed at it.

    Args:
        names: of this computer, in lower case; numeric addresses are always its own.

    Raises:
        Refused: if it does not.
    """
    for name in ("host", "x-forwarded-host"):
        said = headers.get(name, "").split(",")[0].strip()
        if (said or name == "host") and not _is_own(_name_of(f"//{said}"), names):
            raise Refused(400, "This is not a name of this page; see --allowed_hosts.")


def check_site(headers: Headers, *, is_visit: bool) -> None:
    """Makes sure that no other website sent its visitor's browser here.

    Args:
        is_visit: whether a link on a website may lead here.

    Raises:
        Refused: if one did.
    """
    is_visit = is_visit and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_visit:
        raise Refused(403, "Another website asked for this.")
    origin = headers.get("origin")
    if origin is None or headers.get("sec-fetch-site") == "same-origin":
        return  # the latter is said by browsers only, and about what they see in front of a proxy
    places = {headers.get("host", "").lower(), headers.get("x-forwarded-host", "").split(",")[0].strip().lower()}
    scheme, _, place = origin.lower().partition("://")
    if scheme not in ("http", "https") or not place or place not in places:
        raise Refused(403, "Another website asked for this.")


def _is_own(name: str, names: set[str]) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def _name_of(url: str) -> str:
    """Returns a URL's host name, in lower case; empty if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
