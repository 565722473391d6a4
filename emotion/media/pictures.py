"""A video's frames as they were decoded, converted to RGB only on request.

Video stores brightness at full size and colour at half size (YUV 4:2:0). Most steps need only the brightness, or a
small part of the picture, so whole pictures are rarely converted.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import av
import cv2
import numpy as np

from emotion.results import Box

# Numbers from H.273's tables. If a file states no matrix, players choose one by the height.
BT709, UNSPECIFIED = 1, 2
MATRICES_601 = (5, 6)
KNOWN_MATRICES = (BT709, UNSPECIFIED, *MATRICES_601)
LIMITED_RANGE = 1
SMALLEST_HD_HEIGHT = 720
# Weights of red and blue in the brightness.
LUMA_WEIGHTS = {"709": (0.2126, 0.0722), "601": (0.299, 0.114)}


@dataclass(frozen=True)
class ColourSpace:
    """What a file states about its colours, in H.273's numbers, 2 for nothing; the range is limited, 16 to 235."""

    matrix: int = BT709
    primaries: int = BT709
    transfer: int = BT709

    def weights(self, height: int) -> str:
        """Returns which ``LUMA_WEIGHTS`` apply to pictures of a height."""
        if self.matrix == UNSPECIFIED:
            return "709" if height >= SMALLEST_HD_HEIGHT else "601"
        return "601" if self.matrix in MATRICES_601 else "709"


class Canvas(Protocol):
    """A picture that can be drawn on, part by part."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and 3."""

    def region(self, part: Box) -> contextlib.AbstractContextManager[np.ndarray]:
        """Lends a part as RGB ``(height, width, 3)`` uint8, to be changed in place until the block ends.

        Raises:
            ValueError: if the part is empty or not inside the picture.
        """


class RgbPicture:
    """An RGB picture to draw on; ``image`` is ``(height, width, 3)`` uint8 and changed in place."""

    def __init__(self, image: np.ndarray):
        self.image = image

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.image.shape

    @contextlib.contextmanager
    def region(self, part: Box) -> Iterator[np.ndarray]:
        left, top, right, bottom = _check_part(self.shape, part)
        yield self.image[top:bottom, left:right]


class YuvPicture:
    """A picture to draw on that stays as decoded wherever nothing is drawn.

    Args:
        frame: PyAV's, in ``yuv420p`` and of even height and width; it is changed in place.
        space: its colour space.
        is_decoders: whether a decoder may still need the frame, which makes it read-only.

    Attributes:
        luma: a view of the brightness, ``(height, width)`` uint8.
        blue, red: views of the colours, ``(height / 2, width / 2)`` uint8.
    """

    def __init__(self, frame: av.VideoFrame, space: ColourSpace, *, is_decoders: bool = False):
        self.frame, self.space = frame, space
        self.shape = (frame.height, frame.width, 3)
        self.luma, self.blue, self.red = (_view(plane) for plane in frame.planes)
        for plane in (self.luma, self.blue, self.red):
            plane.flags.writeable = not is_decoders

    @classmethod
    def make(cls, width: int, height: int, space: ColourSpace) -> "YuvPicture":
        """Returns a picture of even size with undefined content."""
        return cls(av.VideoFrame(width, height, "yuv420p"), space)

    def copy(self) -> "YuvPicture":
        """Returns a copy that can be drawn on."""
        copied = self.make(self.shape[1], self.shape[0], self.space)
        copied.luma[:], copied.blue[:], copied.red[:] = self.luma, self.blue, self.red
        return copied

    @contextlib.contextmanager
    def region(self, part: Box) -> Iterator[np.ndarray]:
        left, top, right, bottom = _check_part(self.shape, part)
        # Each two rows and two columns share their colours.
        x1, y1, x2, y2 = left - left % 2, top - top % 2, right + right % 2, bottom + bottom % 2
        luma = self.luma[y1:y2, x1:x2]
        blue, red = (plane[y1 // 2 : y2 // 2, x1 // 2 : x2 // 2] for plane in (self.blue, self.red))
        size = (x2 - x1, y2 - y1)
        wide = [cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST) for plane in (blue, red)]
        to_rgb, from_rgb = _matrices(self.space.weights(self.shape[0]))
        rgb = cv2.transform(cv2.merge([luma, *wide]), to_rgb)
        yield rgb[top - y1 : bottom - y1, left - x1 : right - x1]
        changed = cv2.transform(rgb, from_rgb)
        half = cv2.resize(changed, (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA)
        luma[:], blue[:], red[:] = changed[..., 0], half[..., 1], half[..., 2]

    def sample(self, row_step: int, column_step: int) -> np.ndarray:
        """Returns every ``row_step``-th row and ``column_step``-th column as RGB ``(rows, columns, 3)`` uint8."""
        luma = np.ascontiguousarray(self.luma[::row_step, ::column_step])
        if row_step % 2 == column_step % 2 == 0:
            colours = [
                np.ascontiguousarray(each[:: row_step // 2, :: column_step // 2]) for each in (self.blue, self.red)
            ]
        else:
            rows, columns = np.arange(0, self.shape[0], row_step), np.arange(0, self.shape[1], column_step)
            colours = [each[np.ix_(rows // 2, columns // 2)] for each in (self.blue, self.red)]
        to_rgb, _ = _matrices(self.space.weights(self.shape[0]))
        return cv2.transform(cv2.merge([luma, *colours]), to_rgb)


def _view(plane) -> np.ndarray:
    """Returns a view of a plane's pixels; rows in memory may be longer than the picture is wide."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def _check_part(shape: tuple[int, int, int], part: Box) -> Box:
    left, top, right, bottom = part
    if not (0 <= left < right <= shape[1] and 0 <= top < bottom <= shape[0]):
        raise ValueError(
            f"({left}, {top}, {right}, {bottom}) is not inside the picture, which has {shape[1]} x {shape[0]} pixels."
        )
    return part


@functools.cache
def _matrices(weights: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ``(3, 4)`` matrices from limited-range YUV to RGB and back (ITU-T H.273, section 8.3)."""
    red, blue = LUMA_WEIGHTS[weights]
    luma = np.array([red, 1 - red - blue, blue])
    from_rgb = np.stack([
        luma * 219 / 255,
        (np.array([0, 0, 1]) - luma) / (2 * (1 - blue)) * 224 / 255,
        (np.array([1, 0, 0]) - luma) / (2 * (1 - red)) * 224 / 255,
    ])  # fmt: skip
    offset = np.array([16.0, 128.0, 128.0])
    to_rgb = np.linalg.inv(from_rgb)
    return np.column_stack([to_rgb, -to_rgb @ offset]), np.column_stack([from_rgb, offset])


class VideoFrame:
    """An upright picture of a video, and when and for how long it is shown on the file's own clock.

    ``image`` is ``(height, width, 3)`` RGB uint8, or a picture as decoded.
    """

    def __init__(self, time_seconds: float, image: "np.ndarray | DecodedPicture", duration_seconds: float = 0.0):
        self.time_seconds, self.duration_seconds = time_seconds, duration_seconds
        self._source = image
        self.height, self.width = image.shape[:2]

    def at(self, time_seconds: float, duration_seconds: float) -> "VideoFrame":
        """Returns the same picture, shown at another time."""
        return VideoFrame(time_seconds, self._source, duration_seconds)

    @functools.cached_property
    def image(self) -> np.ndarray:
        """``(height, width, 3)``, RGB uint8 and upright."""
        return self._source.to_rgb() if self.is_decoded else self._source

    @functools.cached_property
    def luma(self) -> np.ndarray:
        """Brightness ``(height, width)`` uint8: 16 to 235 if as decoded, else 0 to 255."""
        return cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY) if self._yuv is None else self._yuv.luma

    def sample(self, row_step: int, column_step: int) -> np.ndarray:
        """Returns every ``row_step``-th row and ``column_step``-th column as RGB ``(rows, columns, 3)`` uint8."""
        if self._yuv is not None and "image" not in self.__dict__:
            return self._yuv.sample(row_step, column_step)
        return np.ascontiguousarray(self.image[::row_step, ::column_step])

    def canvas(self) -> RgbPicture | YuvPicture:
        """Returns a copy to draw on, as decoded if possible."""
        return self._source.to_yuv().copy() if self.is_decoded else RgbPicture(np.array(self._source, order="C"))

    @property
    def is_decoded(self) -> bool:
        """Whether the picture is as decoded."""
        return not isinstance(self._source, np.ndarray)

    @functools.cached_property
    def _yuv(self) -> YuvPicture | None:
        return self._source.to_yuv() if self.is_decoded else None


@dataclass(frozen=True)
class DecodedPicture:
    """An upright picture as decoded.

    Attributes:
        shape: height, width and 3.
        to_rgb: returns it as RGB ``(height, width, 3)`` uint8, converted at each call.
        to_yuv: returns its planes, read-only because they are the decoder's.
    """

    shape: tuple[int, int, int]
    to_rgb: Callable[[], np.ndarray]
    to_yuv: Callable[[], YuvPicture]
