"""Requests over HTTPS with the standard library: only to addresses that may be asked, again after what may pass."""

import contextlib
import http.client
import json
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from emotion.console import SILENT, Reporter
from emotion.errors import EmotionError

TIMEOUT_SECONDS = 30.0  # without a single byte
ATTEMPTS = 5  # in a row
FIRST_PAUSE_SECONDS = 1.0  # doubles with every failure in a row
MAX_PAUSE_SECONDS = 300.0  # if a server asks for more, the download ends
MAX_JSON_BYTES = 1 << 24
CHUNK_BYTES = 1 << 16

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
PASSING_FAULTS = (408, 425, 429, 500, 502, 503, 504)


class FetchError(EmotionError):
    """A file that cannot be fetched, or is not the one that its owner describes.

    ``status`` is the HTTP status, if a server answered and said no.
    """

    def __init__(self, message: str, status: int | None = None):
        super().__init__(message)
        self.status = status


class PassingFault(Exception):
    """A failure that may pass by itself; ``wait_seconds`` is the pause that the server asks for, if any."""

    def __init__(self, reason: str, wait_seconds: float | None = None):
        super().__init__(reason)
        self.wait_seconds = wait_seconds


@contextlib.contextmanager
def with_way_out(text: str) -> Iterator[None]:
    """Adds a way out to the message of a ``FetchError``."""
    try:
        yield
    except FetchError as error:
        raise FetchError(f"{error} {text}") from None


def check_address(url: str, *, may_be_local: bool = True) -> None:
    """Raises FetchError for every address but https; plain http is for this machine alone."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if not (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS and may_be_local):
        raise FetchError(f"{url} is not fetched: only https addresses are (and http on this machine).")


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        check_address(newurl, may_be_local=urllib.parse.urlsplit(req.full_url).hostname in LOCAL_HOSTS)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(url: str, *, headers: dict, private_headers: dict | None = None, body: bytes | None = None):
    """Returns the open response; raises ``FetchError`` for what will not pass, ``PassingFault`` for what may."""
    check_address(url)
    sent = {"User-Agent": "emotion-datasets", "Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(url, data=body, headers=sent)
    for name, value in (private_headers or {}).items():
        request.add_unredirected_header(name, value)
    try:
        return urllib.request.build_opener(_CheckedRedirects).open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            reason = f"{url} answers {error.code} {error.reason}{_server_words(error)}"
            if error.code in PASSING_FAULTS:
                raise PassingFault(reason, read_retry_after(error.headers.get("Retry-After"))) from None
            raise FetchError(f"{reason}.", error.code) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise FetchError(f"{url} cannot be trusted: {error.reason}.") from None
        raise PassingFault(f"cannot reach {url} ({error.reason})") from None
    except (OSError, http.client.HTTPException) as error:
        raise PassingFault(f"cannot reach {url} ({error or type(error).__name__})") from None


def _server_words(error: urllib.error.HTTPError) -> str:
    """Returns the ``message`` of a JSON answer, which says more than the status, or nothing."""
    try:
        words = json.loads(error.read(CHUNK_BYTES))["message"]
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError):
        return ""
    return f" ({str(words)[:200].rstrip('.')})"


def read_retry_after(value: str | None) -> float | None:
    """Returns the seconds of a ``Retry-After`` header, which holds seconds or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        if value.strip().isdigit():
            return float(value)
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def read_chunks(response, url: str) -> Iterator[bytes]:
    """Yields what arrives as it arrives: ``read`` would wait for whole chunks and never notice a stall."""
    try:
        while chunk := response.read1(CHUNK_BYTES):
            yield chunk
    except TimeoutError:
        raise PassingFault(f"nothing came from {url} for {TIMEOUT_SECONDS:.0f} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise PassingFault(f"the connection to {url} broke ({error or type(error).__name__})") from None


def pause(error: PassingFault, n_failures: int, reporter: Reporter, stop: threading.Event) -> None:
    """Waits before the next attempt; raises FetchError if there is to be none."""
    if n_failures >= ATTEMPTS:
        raise FetchError(f"Gave up after {ATTEMPTS} attempts: {error}.") from None
    seconds = error.wait_seconds
    if seconds is None:
        seconds = FIRST_PAUSE_SECONDS * 2 ** (n_failures - 1)
    if seconds > MAX_PAUSE_SECONDS:
        raise FetchError(f"{error}, and asks to wait {seconds / 60:.0f} minutes. Try again after that.") from None
    reporter.warn(f"note: {error}; trying again in {seconds:.0f} s")
    stop.wait(seconds)


def read_bytes(
    url: str, *, limit: int, headers: dict | None = None, body: bytes | None = None, reporter: Reporter = SILENT
) -> bytes:
    """Returns a small answer whole; with ``body`` the request is a POST.

    Raises:
        FetchError: if it cannot be had, or has more than ``limit`` bytes.
    """
    n_failures = 0
    while True:
        try:
            content = bytearray()
            with open_url(url, headers=headers or {}, body=body) as response:
                expected = response.headers.get("Content-Length")
                for chunk in read_chunks(response, url):
                    content += chunk
                    if len(content) > limit:
                        raise FetchError(f"{url} sends more than {limit} bytes: it is not what is expected there.")
            if expected is not None and len(content) < int(expected):
                raise PassingFault(f"the connection to {url} broke off")
            return bytes(content)
        except PassingFault as error:
            n_failures += 1
            pause(error, n_failures, reporter, threading.Event())


def read_json(url: str, *, headers: dict | None = None, body: bytes | None = None, reporter: Reporter = SILENT):
    """Returns the JSON at an address; see ``read_bytes``."""
    content = read_bytes(url, limit=MAX_JSON_BYTES, headers=headers, body=body, reporter=reporter)
    try:
        return json.loads(content)
    except ValueError:
        raise FetchError(f"{url} does not answer with JSON: another page may stand before it.") from None
