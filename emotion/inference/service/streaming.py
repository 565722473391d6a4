"""Judges what comes over a web socket: pictures and sound in, results out as windows are judged.

After the hello, each binary message is a block: one byte for its kind (1 a picture in a file format, 2 sound as
little-endian int16), then its time in seconds as a little-endian float64 if the hello says ``timestamps``, then its
content. The text ``{"type": "end"}`` ends the stream.
"""

import asyncio
import contextlib
import dataclasses
import io
import json
import logging
import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from emotion.errors import EmotionError, InputTypeError, MediaError
from emotion.inference.service.options import StreamHello
from emotion.outputs.tables import to_json
from emotion.results import MediaPrediction

if TYPE_CHECKING:
    from emotion.inference.predictor import EmotionPredictor

logger = logging.getLogger(__name__)

PICTURE_BLOCK, SOUND_BLOCK = 1, 2
TIME = struct.Struct("<d")
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MAX_PIXELS = 4096 * 4096
MAX_BLOCKS = 32  # that wait to be judged; further pictures of a live stream are left out
WAIT_SECONDS = 0.01
# Codes of RFC 6455 and its registry at IANA.
NORMAL, GOING_AWAY, UNREADABLE, REFUSED, TRY_LATER = 1000, 1001, 1003, 1008, 1013


@dataclass
class StreamTally:
    """What became of a stream's blocks."""

    windows: int = 0
    pictures: int = 0
    dropped: int = 0
    unreadable: int = 0


class Blocks:
    """The blocks of a stream, from their messages to pictures and sound with their times.

    ``put`` is called by who receives, ``items`` is read by who judges.
    """

    def __init__(self, hello: StreamHello, tally: StreamTally):
        self._hello, self._tally = hello, tally
        self._queue: queue.Queue[tuple[int, float, bytes] | None] = queue.Queue()
        self._n_pictures = self._n_frames = 0
        self._begun: float | None = None
        self._last: dict[int, float] = {}
        self._is_over = False

    @property
    def is_full(self) -> bool:
        return self._queue.qsize() >= MAX_BLOCKS

    def end(self) -> None:
        """Nothing more comes; what waits is still judged."""
        self._queue.put(None)

    def abort(self) -> None:
        """Nobody wants an answer any more."""
        self._is_over = True
        self._queue.put(None)

    def put(self, message: bytes) -> None:
        """Takes a message.

        Raises:
            InputTypeError: if it is no block.
        """
        kind, head = message[0] if message else None, 1
        if kind not in (PICTURE_BLOCK, SOUND_BLOCK):
            raise InputTypeError(f"A block begins with the byte {PICTURE_BLOCK} (picture) or {SOUND_BLOCK} (sound).")
        if kind == SOUND_BLOCK and self._hello.sample_rate is None:
            raise InputTypeError("Sound came, but the hello names no sample_rate.")
        now = time.monotonic()
        self._begun = now if self._begun is None else self._begun
        if self._hello.timestamps:
            head += TIME.size
            if len(message) < head:
                raise InputTypeError("A block must hold its time, as the hello says timestamps.")
            (at,) = TIME.unpack_from(message, 1)
            if not (np.isfinite(at) and at >= self._last.get(kind, 0.0)):
                raise InputTypeError(f"The times of blocks must rise from 0, got {at!r} s.")
        elif kind == PICTURE_BLOCK:
            at = self._n_pictures / self._hello.fps if self._hello.fps else now - self._begun
        else:
            at = self._n_frames / self._hello.sample_rate
        self._last[kind] = at
        content = message[head:]
        if kind == SOUND_BLOCK:
            n_frames, rest = divmod(len(content), 2 * self._hello.channels)
            if rest or not n_frames:
                raise InputTypeError(
                    f"A block of sound must hold whole samples of {2 * self._hello.channels} bytes, got {len(content)}."
                )
            self._n_frames += n_frames
        else:
            self._n_pictures += 1
            if self._hello.live and self.is_full:
                self._tally.dropped += 1
                return
        self._queue.put((kind, at, content))

    def items(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yields ``(seconds, picture (height, width, 3))`` and ``(seconds, sound (n_samples, n_channels))``."""
        while (block := self._queue.get()) is not None and not self._is_over:
            kind, at, content = block
            if kind == SOUND_BLOCK:
                yield at, np.frombuffer(content, "<i2").astype(np.int16).reshape(-1, self._hello.channels)
                continue
            try:
                picture = read_picture(content)
            except MediaError:
                self._tally.unreadable += 1
                continue
            self._tally.pictures += 1
            yield at, picture


def read_picture(content: bytes) -> np.ndarray:
    """Returns a picture's file as RGB ``(height, width, 3)`` uint8.

    Raises:
        MediaError: if it is none of ``PICTURE_FORMATS``, damaged, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=PICTURE_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise MediaError(f"The picture has more than {MAX_PIXELS} pixels.")
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise MediaError("The picture cannot be read.") from error


async def serve_stream(
    socket: WebSocket,
    hello: StreamHello,
    predictor: "EmotionPredictor",
    *,
    model: str,
    max_seconds: float,
    is_stopping: Callable[[], bool],
    tell: Callable[[], None],
) -> StreamTally:
    """Serves an accepted web socket until the caller or the limit of time ends it.

    Args:
        model: its name, for the answers.
        tell: called with every window that is judged.
    """
    loop = asyncio.get_running_loop()
    tally = StreamTally()
    blocks, results = Blocks(hello, tally), asyncio.Queue()
    settings = {"model": model, "model_sha256": predictor.run.sha256, "runtime": predictor.run.runtime}

    def post(message: dict[str, Any] | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(results.put_nowait, message)

    def judge() -> None:
        try:
            for now in predictor.predict_stream(blocks.items(), sample_rate=hello.sample_rate):
                tally.windows += 1
                tell()
                post({"type": "result", "dropped": tally.dropped, "unreadable": tally.unreadable,
                      "result": to_json(_of_latest(now), settings=settings)})  # fmt: skip
            post({"type": "end", **vars(tally)})
        except EmotionError as error:
            post(_say_error(type(error).__name__, str(error)))
        except Exception:
            logger.exception("a stream ended")
            post(_say_error("InternalError", "This is a fault of the service; its log says more."))
        post(None)

    await socket.send_json({
        "type": "ready", "model": model, "class_names": list(predictor.config.class_names),
        "window_seconds": predictor.window_seconds, "step_seconds": predictor.step_seconds,
        "max_seconds": max_seconds,
    })  # fmt: skip
    thread = threading.Thread(target=judge, name="stream", daemon=True)
    thread.start()
    receiving = asyncio.create_task(_receive(socket, blocks, hello, max_seconds, is_stopping))
    try:
        code = NORMAL
        while (message := await results.get()) is not None:
            await socket.send_json(message)
            if message["type"] == "error":
                code = UNREADABLE
        ended = await receiving if receiving.done() else NORMAL
        code = ended if code == NORMAL else code
        if socket.client_state is WebSocketState.CONNECTED:
            await socket.close(code)
    except (WebSocketDisconnect, RuntimeError):  # gone while something was being sent
        pass
    finally:
        receiving.cancel()
        blocks.abort()
        await asyncio.to_thread(thread.join)
    return tally


async def _receive(
    socket: WebSocket, blocks: Blocks, hello: StreamHello, max_seconds: float, is_stopping: Callable[[], bool]
) -> int:
    """Receives blocks until the end, and returns the code with which to close."""
    deadline = time.monotonic() + max_seconds
    waiting = asyncio.ensure_future(socket.receive())
    try:
        while True:
            done, _ = await asyncio.wait([waiting], timeout=0.5)
            if is_stopping() or time.monotonic() > deadline:
                blocks.end()
                return GOING_AWAY
            if not done:
                continue
            message = waiting.result()
            if message["type"] == "websocket.disconnect":
                blocks.abort()
                return NORMAL
            try:
                if message.get("bytes") is not None:
                    blocks.put(message["bytes"])
                elif _is_end(message.get("text") or ""):
                    blocks.end()
                    return NORMAL
            except InputTypeError as error:
                await socket.send_json(_say_error(type(error).__name__, str(error)))
                blocks.abort()
                return UNREADABLE
            is_picture = (message.get("bytes") or b"")[:1] == bytes([PICTURE_BLOCK])
            while blocks.is_full and not (hello.live and is_picture) and not is_stopping():
                await asyncio.sleep(WAIT_SECONDS)  # the caller has to wait: sound is never left out
            waiting = asyncio.ensure_future(socket.receive())
    finally:
        waiting.cancel()


def _of_latest(now: MediaPrediction) -> MediaPrediction:
    """Returns a moment's answers without windows that were sent before."""
    latest = max((window.end_seconds for window in now.windows), default=0.0)
    return dataclasses.replace(now, windows=tuple(each for each in now.windows if each.end_seconds == latest))


def _is_end(text: str) -> bool:
    """Whether a text message ends the stream.

    Raises:
        InputTypeError: if it says anything else.
    """
    with contextlib.suppress(ValueError):
        said = json.loads(text)
        if isinstance(said, dict) and said.get("type") == "end":
            return True
    raise InputTypeError('After the hello, the only text is {"type": "end"}.')


def _say_error(kind: str, words: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": words}}
