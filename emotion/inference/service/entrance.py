"""What stands before the service's routes: names, websites, keys, sizes, and the count of requests."""

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Callable, Iterable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocket

from emotion.errors import ConfigError
from emotion.files import named_errors
from emotion.inference.service.answers import refuse_by
from emotion.inference.service.clip_queue import Busy, ClipQueue
from emotion.inference.service.metrics import ServiceMetrics
from emotion.inference.web.guard import Refused, check_host_name, check_site

OPEN_PATHS = ("/", "/healthz", "/docs", "/openapi.json")  # which need no key
UPLOADS = ("/v1/predict", "/v1/jobs")
STREAM = "/v1/stream"
FORM_BYTES = 256 * 1024  # of a form besides its file
IS_KNOWN = "emotion.is_known"  # in the scope: whether the key was right, or none is needed
MIN_KEY, MAX_KEY = 16, 4096  # letters
# A body that is refused is read on for so long, since many clients look for an answer only when they have sent it all.
DRAINED_BYTES, DRAIN_SECONDS = 64 * 2**20, 5.0


class Keys:
    """The API keys; without any, everybody may ask."""

    def __init__(self, keys: Iterable[str] = ()):
        self._hashes = [hashlib.sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def hold(self, key: str) -> bool:
        """Whether a key is one of them; how long this takes tells nothing about them."""
        asked = hashlib.sha256(key.encode("utf-8", "replace")).digest()
        return any([hmac.compare_digest(asked, each) for each in self._hashes])  # a list: all are compared


def read_keys(path, variable: str | None) -> Keys:
    """Reads the API keys: a line each of a file, or the value of ``EMOTION_API_KEY``.

    Args:
        path: of the file; None for none.
        variable: the value; None or empty for none.

    Raises:
        ConfigError: if a key is too short to be safe, or holds other letters than HTTP carries.
        FileError: if the file cannot be read.
    """
    keys, source = [variable] if variable else [], "EMOTION_API_KEY"
    if path is not None:
        source = f"--api_key_file {path}"
        with named_errors(path):
            keys = path.read_text(encoding="utf-8", errors="replace").split()
        if not keys:
            raise ConfigError(f"{source}: holds no key. Write one into it: openssl rand -hex 32")
    for key in keys:
        if not (MIN_KEY <= len(key) <= MAX_KEY and key.isascii() and key.isprintable() and " " not in key):
            raise ConfigError(
                f"{source}: a key must have {MIN_KEY} letters or more, without spaces. Make one: openssl rand -hex 32"
            )
    return Keys(keys)


class TooMuch(HTTPException):
    """A body that is larger, or comes more slowly, than is allowed."""


class Entrance:
    """Refuses what need not reach the routes, and counts what does.

    Args:
        names: of this computer, in lower case.
        max_bytes: of an upload.
        max_upload_seconds: that an upload may take.
        is_stopping: tells whether the service ends.
        find_route: returns the name under which a path is counted.
    """

    def __init__(
        self,
        app,
        *,
        names: set[str],
        keys: Keys,
        clips: ClipQueue,
        metrics: ServiceMetrics,
        max_bytes: int,
        max_upload_seconds: float,
        is_stopping: Callable[[], bool],
        find_route: Callable[[dict], str],
    ):
        self._app, self._names, self._keys, self._clips, self._metrics = app, names, keys, clips, metrics
        self._max_bytes, self._max_upload_seconds = max_bytes, max_upload_seconds
        self._is_stopping, self._find_route = is_stopping, find_route
        self._arriving: Counter[str] = Counter()  # uploads by address
        self._arriving_bytes = 0

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def counted(message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close":
                status = status or 403
            await send(message)

        try:
            await self._answer(scope, receive, counted)
        finally:
            method = scope.get("method", "WEBSOCKET")
            self._metrics.count_request(self._find_route(scope), method, status or 499, time.perf_counter() - began)

    async def _answer(self, scope, receive, send) -> None:
        headers, address = Headers(scope=scope), (scope.get("client") or ("",))[0]
        is_upload = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in UPLOADS
        try:
            self._check(scope, headers)
            n_bytes = self._check_upload(headers, address) if is_upload else 0
        except Refused as refused:
            await self._refuse(refused, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._max_bytes + FORM_BYTES, self._max_upload_seconds)
        self._arriving[address] += is_upload
        self._arriving_bytes += n_bytes

        def arrived() -> None:  # called once
            self._arriving[address] -= is_upload
            self._arriving_bytes -= n_bytes
            if not self._arriving[address]:
                del self._arriving[address]

        body.when_whole(arrived)
        try:
            await self._app(scope, body, send)
        finally:
            body.end()

    def _check(self, scope, headers: Headers) -> None:
        path = scope["path"].rstrip("/") or "/"
        check_host_name(headers, self._names)
        check_site(headers, is_visit=path in ("/", "/docs"))
        kind, _, key = headers.get("authorization", "").partition(" ")
        has_right_key = bool(self._keys) and kind.lower() == "bearer" and self._keys.hold(key.strip())
        scope[IS_KNOWN] = has_right_key or not self._keys
        # Browsers cannot send a key with a web socket: there it may stand in the first message.
        may_ask_later = path == STREAM and scope["type"] == "websocket" and "authorization" not in headers
        if not scope[IS_KNOWN] and path not in OPEN_PATHS and not may_ask_later:
            words = "wrong" if kind else "missing"
            raise Refused(401, f"The API key is {words}. Send it as: Authorization: Bearer KEY")
        if self._is_stopping() and (scope["type"] == "websocket" or scope["method"] == "POST"):
            raise Busy(503, "The service is ending. Try again later.", 10.0)

    def _check_upload(self, headers: Headers, address: str) -> int:
        """Returns how many bytes an upload says that it brings."""
        length = headers.get("content-length", "0")
        n_bytes = int(length) if length.isdecimal() else 0
        if n_bytes > self._max_bytes + FORM_BYTES:
            raise Refused(413, _too_large(self._max_bytes))
        self._clips.check_room(address, n_bytes + self._arriving_bytes, n_arriving=self._arriving[address])
        return n_bytes

    async def _refuse(self, refused: Refused, scope, receive, send) -> None:
        answer = refuse_by(refused)
        if scope["type"] == "websocket":
            socket = WebSocket(scope, receive, send)
            await receive()
            if "websocket.http.response" in scope.get("extensions", {}):
                await socket.send_denial_response(answer)
            else:
                await socket.close(1008, str(refused)[:120])
            return
        if "expect" not in Headers(scope=scope):  # who asks first sends no body after a refusal
            await _drain(receive)
        await answer(scope, receive, send)


class _Body:
    """Receives a request, and ends it when its body is larger or slower than is allowed."""

    def __init__(self, receive, max_bytes: int, max_seconds: float):
        self._receive, self._max_bytes, self._max_seconds = receive, max_bytes, max_seconds
        self._deadline, self._n_bytes, self._is_whole = time.monotonic() + max_seconds, 0, False
        self._when_whole: Callable[[], None] | None = None

    def when_whole(self, call: Callable[[], None]) -> None:
        self._when_whole = call

    def end(self) -> None:
        """The body is whole, or will never be."""
        self._is_whole = True
        if self._when_whole is not None:
            self._when_whole()
            self._when_whole = None

    async def __call__(self):
        if self._is_whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.01, self._deadline - time.monotonic()))
        except TimeoutError:
            raise TooMuch(408, f"The upload took longer than {self._max_seconds:g} s.") from None
        self._n_bytes += len(message.get("body", b""))
        if self._n_bytes > self._max_bytes:
            if message.get("more_body", False):
                await _drain(self._receive)
            raise TooMuch(413, _too_large(self._max_bytes - FORM_BYTES))
        if not message.get("more_body", False):
            self.end()
        return message


async def _drain(receive) -> None:
    """Reads the rest of a body, up to a limit."""
    n_bytes, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while more and n_bytes < DRAINED_BYTES:
                message = await receive()
                n_bytes += len(message.get("body", b""))
                more = message.get("more_body", False)


def _too_large(max_bytes: int) -> str:
    return (
        f"The upload is larger than {max_bytes / 2**20:g} MB, which is all that this service takes. Send a shorter "
        "or smaller clip."
    )
