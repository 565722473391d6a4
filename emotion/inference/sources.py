"""Takes whatever a clip is given as, and makes a recording of it that can be read."""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from emotion.errors import ConfigError, EmotionError, InputTypeError, MediaError
from emotion.files import lent_folder
from emotion.media.arrays import ArrayRecording, Colours, as_name, is_pillow, name_of_type, to_picture
from emotion.media.recordings import Recording
from emotion.media.tracks import ANY_TRACKS, TrackChoice

TAKEN = (
    "a path, bytes or a file object; an array (height, width, 3) or (n, height, width, 3) of uint8; a picture of "
    "Pillow's; or an iterable of pictures"
)
Source = str | os.PathLike[str] | bytes | bytearray | IO[bytes] | np.ndarray | Iterable[Any] | Recording
NAMELESS = "<bytes>"
IN_MEMORY = "<array>"


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """What belongs to a clip that is no file.

    Attributes:
        fps: pictures a second.
        times: when each picture is shown, in seconds, rising; instead of ``fps``.
        samples: sound, ``(n_samples,)`` or ``(n_samples, n_channels)``: floats of full scale 1, int16 or int32.
        sample_rate: of the sound, in Hz.
        colours: of arrays, ``rgb`` or ``bgr`` as in OpenCV.
    """

    fps: float | None = None
    times: Iterable[float] | None = None
    samples: np.ndarray | None = None
    sample_rate: int | None = None
    colours: Colours = "rgb"

    def __post_init__(self) -> None:
        if self.fps is not None and self.times is not None:
            raise ConfigError("fps and times: give one of them.")
        if self.fps is not None and not (np.isfinite(self.fps) and self.fps > 0):
            raise ConfigError(f"fps: pictures a second, more than 0, got {self.fps!r}.")
        if self.colours not in ("rgb", "bgr"):
            raise ConfigError(f"colours: rgb or bgr, got {self.colours!r}.")
        if (self.samples is None) != (self.sample_rate is None):
            raise ConfigError("samples and sample_rate: give both, or none.")
        if self.samples is not None:
            _check_samples(self.samples, self.sample_rate)

    @property
    def is_empty(self) -> bool:
        return self.fps is None and self.times is None and self.samples is None


@contextlib.contextmanager
def opened(
    source: Source | None, options: SourceOptions, span: tuple[float, float | None], choice: TrackChoice = ANY_TRACKS
) -> Iterator[Recording | ArrayRecording]:
    """Lends a recording of whatever a clip is given as; bytes lie in a file meanwhile.

    Args:
        source: see ``TAKEN``; None for sound alone.
        span: the part to read, in seconds.
        choice: of a file's tracks.

    Raises:
        InputTypeError: if it is none of what is taken.
        ConfigError: if its pictures have neither ``fps`` nor ``times``, or a file has any of them.
        MediaError: if a file object cannot be read.
    """
    if isinstance(source, Recording | ArrayRecording):
        whole = span == (0.0, None)
        yield source if whole else dataclasses.replace(source, start_seconds=span[0], end_seconds=span[1])
        return
    is_path = isinstance(source, str | os.PathLike)
    is_raw = isinstance(source, bytes | bytearray | memoryview) or hasattr(source, "read")
    if (is_path or is_raw) and not options.is_empty:
        raise ConfigError("fps, times and samples belong to arrays; a file brings its own.")
    if isinstance(source, str | os.PathLike):
        yield Recording.of_part(source, choice, span)
    elif is_raw:
        name = as_name(source) or NAMELESS
        with lent_folder("clip") as folder:
            path = _keep(source, folder)
            try:
                yield LentRecording(str(path), str(path), span[0], span[1], choice, name)
            except EmotionError as error:  # it names a file that you do not know
                error.args = (str(error).replace(str(path), name),)
                raise
    else:
        arrays = _of_arrays(source, options)
        yield dataclasses.replace(arrays, choice=choice, start_seconds=span[0], end_seconds=span[1])


@dataclasses.dataclass(frozen=True)
class LentRecording(Recording):
    """A recording whose file has another name than results say, since it is there for a while only."""

    called: str = NAMELESS

    @property
    def path(self) -> str:
        return self.called


def _keep(source: Any, folder: Path) -> Path:
    """Writes bytes, or what a file object holds, to a file in a folder."""
    path = folder / "clip"
    with path.open("wb") as file:
        if not hasattr(source, "read"):
            file.write(source)
            return path
        try:
            shutil.copyfileobj(source, file)
        except TypeError:
            raise InputTypeError(
                "This file object gives text. Open the file in binary mode: open(path, 'rb')."
            ) from None
        except (OSError, ValueError) as error:
            raise MediaError(f"{as_name(source) or NAMELESS}: cannot be read ({error}).") from error
    return path


def _of_arrays(source: Any, options: SourceOptions) -> ArrayRecording:
    if source is None:
        if options.samples is None:
            raise InputTypeError(f"predict takes {TAKEN}; or samples=, sample_rate= for sound alone.")
        return ArrayRecording(IN_MEMORY, samples=options.samples, sample_rate=options.sample_rate or 0)
    if is_pillow(source) or (isinstance(source, np.ndarray) and source.ndim == 3):
        if options.samples is not None:
            raise ConfigError("A single picture has no course that sound could go with. Give several, or leave it out.")
        image = to_picture(source, options.colours)
        return ArrayRecording(IN_MEMORY, (image,), is_still=True)
    if isinstance(source, np.ndarray) and source.ndim != 4:
        raise InputTypeError(f"predict takes {TAKEN}; not {name_of_type(source)}.")
    if not isinstance(source, Iterable) or isinstance(source, dict):
        raise InputTypeError(f"predict takes {TAKEN}; not {name_of_type(source)}.")
    if options.fps is None and options.times is None:
        raise ConfigError("Pictures need their times: fps=25, or times=[0.0, 0.04, ...].")
    return ArrayRecording(
        IN_MEMORY, source, options.times, options.fps, samples=options.samples, sample_rate=options.sample_rate or 0,
        colours=options.colours,
    )  # fmt: skip


def _check_samples(samples: Any, rate: Any) -> None:
    if not isinstance(samples, np.ndarray) or samples.ndim not in (1, 2) or not len(samples):
        raise InputTypeError(f"samples: an array (n_samples,) or (n_samples, n_channels), not {name_of_type(samples)}.")
    if samples.dtype.kind != "f" and samples.dtype.name not in ("int16", "int32"):
        raise InputTypeError(f"samples: floats of full scale 1, int16 or int32, not {samples.dtype}.")
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise InputTypeError(f"samples: (n_samples, n_channels), but the array is {samples.shape}. Transpose it.")
    if not isinstance(rate, int | np.integer) or not 1000 <= rate <= 768_000:
        raise ConfigError(f"sample_rate: a whole number of Hz, 1000 to 768000, got {rate!r}.")
