"""Reads frames from a camera."""

import threading
import time
from collections.abc import Iterator
from typing import Self

import cv2

from emotion.errors import MediaError
from emotion.media.pictures import VideoFrame

FIRST_FRAME_SECONDS = 10.0  # how long to wait for the first frame
PATIENCE_SECONDS = 3.0  # how long to wait for each later one


class Camera:
    """Yields a camera's latest frame and drops those that came meanwhile. Use it with ``with``.

    A thread reads the camera, so that a frame that takes long to process does not delay all later ones.

    Args:
        index: the camera's number, 0 for the first.
        max_seconds: when to stop; None for never.

    Raises:
        MediaError: if the camera cannot be opened.
    """

    def __init__(self, index: int, *, max_seconds: float | None = None):
        self._name = f"camera {index}"
        self._max_seconds = max_seconds
        self._capture = open_capture(index)
        if not self._capture.isOpened():
            raise MediaError(
                f"{self._name}: cannot be opened. Check that it is plugged in, that no other program uses it, and that "
                "you have permission. Cameras are numbered from 0; to read a file, give its name."
            )
        self._latest: VideoFrame | None = None
        self._arrived = threading.Condition()
        self._stops = False
        self._thread = threading.Thread(target=self._watch, name=self._name, daemon=True)

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._stops = True
        self._thread.join(timeout=PATIENCE_SECONDS)
        if not self._thread.is_alive():  # OpenCV must not release a camera during a read
            self._capture.release()

    def frames(self) -> Iterator[VideoFrame]:
        """Yields the latest RGB frame each time, with the seconds since the start, until the camera stops.

        Raises:
            MediaError: if no frame comes at all.
        """
        last = None
        while self._max_seconds is None or time.monotonic() - self._start < self._max_seconds:
            patience = FIRST_FRAME_SECONDS if last is None else PATIENCE_SECONDS
            if last is not None and self._max_seconds is not None:
                patience = min(patience, max(0.0, self._start + self._max_seconds - time.monotonic()))
            with self._arrived:
                self._arrived.wait_for(lambda seen=last: self._latest is not seen, timeout=patience)
                frame = self._latest
            if frame is last:
                break
            last = frame
            yield VideoFrame(frame.time_seconds, cv2.cvtColor(frame.image, cv2.COLOR_BGR2RGB), frame.duration_seconds)
        if last is None:
            raise MediaError(f"{self._name}: gives no picture. Close other programs that use it.")

    def _watch(self) -> None:
        last_seconds = -1.0
        while not self._stops:
            is_there, image = self._capture.read()
            if not is_there:
                break
            seconds = max(time.monotonic() - self._start, last_seconds + 0.001)
            frame = VideoFrame(seconds, image, seconds - max(0.0, last_seconds))
            last_seconds = seconds
            with self._arrived:
                self._latest = frame
                self._arrived.notify_all()


def open_capture(index: int):
    """Opens a camera through OpenCV, without OpenCV's own messages about a missing one."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(index)
    finally:
        cv2.utils.logging.setLogLevel(level)
