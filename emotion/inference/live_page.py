"""A page in the browser that shows annotated frames as they are made.

The server listens on this computer only, so that nobody else sees the camera.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import cv2
import numpy as np

from emotion.errors import ConfigError

HOST = "127.0.0.1"
BOUNDARY = "frame"
JPEG_QUALITY = 85
PATIENCE_SECONDS = 1.0
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Emotions, live</title>
<style>body{margin:0;background:#101010;color:#f5f5f5;font:16px system-ui,sans-serif;text-align:center}
img{max-width:100vw;max-height:calc(100vh - 3em)}p{margin:.6em}</style></head>
<body><img src="/stream" alt="The camera's picture with labelled faces">
<p>An AI system is recognising emotions in this picture. To stop it, press Ctrl-C in the terminal.</p></body></html>
"""


class LivePage:
    """Serves the latest frame. Use it with ``with``.

    Args:
        port: 0 takes any free one.

    Raises:
        ConfigError: if the port is taken.
    """

    def __init__(self, port: int):
        self._jpeg: bytes | None = None
        self._changed = threading.Condition()
        self._is_open = True
        try:
            self._server = ThreadingHTTPServer((HOST, port), self._make_handler())
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"--port {port}: cannot listen there ({error}). Choose another port, or 0 for any."
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="live page", daemon=True)

    def close(self) -> None:
        """Frees the port; leaving the ``with`` block does so too."""
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        self._server.shutdown()
        self.close()

    def show(self, image: np.ndarray) -> None:
        """Replaces the frame: RGB uint8 ``(height, width, 3)``."""
        _, encoded = cv2.imencode(
            ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
        with self._changed:
            self._jpeg = encoded.tobytes()
            self._changed.notify_all()

    def _next(self, last: bytes | None) -> bytes | None:
        """Waits for the frame after ``last``; None once the page is closed."""
        with self._changed:
            while self._is_open and (self._jpeg is None or self._jpeg is last):
                self._changed.wait(PATIENCE_SECONDS)
            return self._jpeg if self._is_open else None

    def _make_handler(page):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                # Otherwise a website whose name resolves to this address could read the camera (DNS rebinding).
                if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
                    self.send_error(403)
                elif self.path == "/":
                    self._send("text/html; charset=utf-8", PAGE.encode())
                elif self.path == "/stream":
                    self._stream()
                else:
                    self.send_error(404)

            def log_message(self, *arguments):
                """Keeps requests out of the terminal."""

            def _send(self, kind: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                jpeg = None
                try:
                    while (jpeg := page._next(jpeg)) is not None:
                        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the browser has gone

        return Handler
