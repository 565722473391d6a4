"""Analyses a camera's frames as they come, shows them on a page in the browser, and records them.

The page's server listens on this computer only, so that nobody else sees the camera.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np

from emotion.errors import ConfigError
from emotion.inference.clip_result import JudgedWindow
from emotion.media.pictures import VideoFrame
from emotion.media.writing import VideoWriter
from emotion.outputs.video.annotator import Annotator
from emotion.results import MediaPrediction

if TYPE_CHECKING:
    from emotion.inference.predictor import EmotionPredictor

HOST = "127.0.0.1"
BOUNDARY = "frame"
JPEG_QUALITY = 85
PATIENCE_SECONDS = 1.0
BLUR_NOTE = (
    "a camera's faces are blurred from when they are found: a new, small or lying one may be clear for a moment; to "
    "search every frame, record without --blur_faces and blur the recording"
)
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Emotions, live</title>
<style>body{margin:0;background:#101010;color:#f5f5f5;font:16px system-ui,sans-serif;text-align:center}
img{max-width:100vw;max-height:calc(100vh - 3em)}p{margin:.6em}</style></head>
<body><img src="/stream" alt="The camera's picture with labelled faces">
<p>An AI system is recognising emotions in this picture. To stop it, press Ctrl-C in the terminal.</p></body></html>
"""


@dataclass
class _Recording:
    """A video that begins with the first frame, which gives its size."""

    path: Path | None
    writer: VideoWriter | None = None

    def write(self, time_seconds: float, image, stack: contextlib.ExitStack) -> None:
        if self.path is None:
            return
        if self.writer is None:
            height, width = image.shape[:2]
            self.writer = stack.enter_context(VideoWriter(self.path, width=width, height=height))
        self.writer.write(time_seconds, image)


def run_live(
    predictor: "EmotionPredictor",
    frames: Iterable[VideoFrame],
    *,
    name: str,
    page: "LivePage | None" = None,
    output: Path | None = None,
    drawing: dict[str, Any] | None = None,
) -> MediaPrediction:
    """Analyses frames as they come, and shows each with what is known by then.

    Ctrl-C ends it as the end of the frames does: the recording is complete and playable.

    Args:
        name: the camera's, for the result.
        page: shows the annotated frames.
        output: the MP4 file to record them to.
        drawing: what ``Annotator`` takes besides the result.

    Returns:
        The result for the whole time.
    """
    drawing = {"timeline": False, **(drawing or {})}
    cutter = predictor.watch_live(has_audio=False)
    result = predictor.build_result(name, cutter)
    judged: list[JudgedWindow] = []
    recording = _Recording(output)

    with contextlib.ExitStack() as stack:

        def shown(pictures: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
            annotator = None
            for picture in pictures:
                yield picture
                # By now the cutter has found its faces.
                now = result.at_moment(judged, picture.time_seconds)
                if annotator is None:
                    annotator = Annotator(now, **drawing)
                annotator.show(now)
                drawn = annotator.annotate(picture.image, picture.time_seconds)
                recording.write(picture.time_seconds, drawn, stack)
                if page is not None:
                    page.show(drawn)

        with contextlib.suppress(KeyboardInterrupt):
            for answer in predictor.judge(cutter.cut(shown(frames)), batch_windows=1):
                judged.append(answer)
    prediction = result.of_clip(judged, expects_sound=False)
    if drawing.get("blur_faces"):
        prediction = dataclasses.replace(prediction, notes=(*prediction.notes, BLUR_NOTE))
    return prediction


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
