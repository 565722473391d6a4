"""Opens a video or sound file with FFmpeg, and chooses the tracks that are read."""

import collections
import contextlib
import errno
import math
import os
import re
from pathlib import Path
from typing import Self

import av

from emotion.errors import MediaError
from emotion.files import displayable
from emotion.media.formats import OPTIONS
from emotion.media.moving_webp import is_moving_webp, open_moving_webp
from emotion.media.stills import describe_broken_still
from emotion.media.streams import DecodingError, calling_pyav
from emotion.media.tracks import ANY_TRACKS, TrackChoice, choose_tracks
from emotion.media.wav import MendedFile, WavLength, read_wav_length

WEB_PAGE = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)
HEAD_BYTES = 256
LFS_POINTER = b"version https://git-lfs.github.com/spec"
MP4_MARK = b"ftyp"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # no text holds them
_RIGHTS = "Check the file's permissions."
UNREADABLE = {
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ELOOP: "It is a link that leads to itself: make the link anew, or give the file.",
    errno.ENAMETOOLONG: "No file has so long a name. Check it.",
    errno.ENOTDIR: "A part of that path is a file. Check the spelling and the folder.",
}
# What FFmpeg may take the rest of a file for whose beginning is missing, and files that are never such streams.
BARE_STREAMS = ("m4v", "mpegvideo", "h261", "h263", "h264", "hevc", "vvc", "evc", "obu", "vc1", "dirac", "cavsvideo",
                "avs2", "avs3", "dnxhd", "mjpeg")  # fmt: skip
WHOLE_SUFFIXES = (".mp4", ".mov", ".mkv", ".mk3d", ".webm", ".avi", ".flv", ".wmv", ".asf", ".3gp", ".3g2", ".ogv",
                  ".mxf", ".mka", ".m4a", ".mts", ".m2ts", ".ts")  # fmt: skip
# FFmpeg looks for streams until it knows all of them, at most for 5 MB or 5 seconds, which some begin later than.
LONG_LOOK = {"probesize": "50000000", "analyzeduration": "60000000"}  # bytes, microseconds


def _open_media(path: str | os.PathLike):
    """Returns PyAV's container and, of a WAV file, what its header says.

    Raises:
        MediaError: if the file is missing, a folder, empty, a Git LFS pointer, or not media.
    """
    name = os.fspath(path)
    head, wav = _read_head(name)
    # With "file:", a colon in the name does not make a protocol. Some recorders write metadata that is not UTF-8.
    file = MendedFile(name, wav.lengths) if wav is not None and wav.lengths else f"file:{name}"
    try:
        if is_moving_webp(head):
            file = open_moving_webp(name)
    except MediaError:
        raise
    except Exception as error:  # Pillow's decoders raise what they like
        raise MediaError(f"{name}: {describe_broken_still(name)}") from error
    try:
        with calling_pyav():
            return av.open(file, options=OPTIONS | LONG_LOOK, metadata_errors="replace"), wav
    except DecodingError as error:
        words = str(error)
        if isinstance(error.__cause__, av.ArgumentError):  # of a kind that is not in ``OPTIONS``
            if head.startswith(UTF16_MARKS) or not CONTROLS.search(head):
                raise MediaError(
                    f"{name}: holds text or a playlist, not media. Give a video, sound or image file."
                ) from error
            words = "it is damaged, or of a kind that is not read"
        way_out = "Download it again, or convert it to MP4."
        if head[4:8] == MP4_MARK:
            way_out = "Its index is missing or damaged: was it cut off? Copy or download it again."
        raise MediaError(f"{name}: not a readable media file ({words}). {way_out}") from error


def _read_head(name: str) -> tuple[bytes, WavLength | None]:
    """Returns how a file begins and, of a WAV file, what its header says; raises as ``_open_media``."""
    if not name:
        raise MediaError("the name of the clip is empty. Give a media file.")
    if "\0" in name:
        raise MediaError(f"{displayable(name)}: no file has such a name, for it holds a NUL character.")
    if os.path.isdir(name):
        raise MediaError(f"{name}: is a folder. Give a media file inside it.")
    if os.path.exists(name) and not os.path.isfile(name):
        raise MediaError(f"{name}: is a pipe or a device. Give a file; to use a camera, give its number.")
    try:
        with open(name, "rb") as file:
            head = file.read(HEAD_BYTES)
            wav = read_wav_length(file)
    except FileNotFoundError:
        raise MediaError(f"{name}: no such file. Check the spelling and the folder.") from None
    except OSError as error:
        way_out = UNREADABLE.get(error.errno, "Check the disk and the connection to it.")
        raise MediaError(f"{name}: cannot be read ({error.strerror}). {way_out}") from error
    if not head:
        raise MediaError(f"{name}: is empty (0 bytes). Copy or download it again.")
    if head.startswith(LFS_POINTER):
        raise MediaError(f"{name}: is a Git LFS pointer, not the media itself. Run `git lfs pull` to download it.")
    if WEB_PAGE.match(head):
        raise MediaError(f"{name}: is a web page, not media: the download went wrong. Download the file itself.")
    return head, wav


class MediaFile:
    """A media file opened for reading; raises ``MediaError`` if it is not media, or has no such track. Use ``with``.

    Args:
        path: the file.
        choice: tracks to read; by default those that suit best.
        is_look: whether it is opened only to look at it: packets read to choose the tracks may be missing.

    Attributes:
        container: PyAV's.
        video, audio: the streams to read; None for a kind that the file lacks, or that cannot be decoded.
        choice: the same by number.
        notes: why these, and which others there are; and what is wrong with the header.
        undecodable: by kind, ``video`` or ``audio``, the codec of a kind that is there but cannot be decoded.
        wav: of a WAV file, how much sound there is and should be.
    """

    def __init__(self, path: str | os.PathLike, choice: TrackChoice = ANY_TRACKS, *, is_look: bool = False):
        self.path = path
        self.container, self.wav = _open_media(path)
        try:
            chosen = choose_tracks(path, self.container, choice)
            self.video, self.audio, self.choice = chosen.video, chosen.audio, chosen.choice
            if chosen.has_read and is_look:
                with contextlib.suppress(DecodingError), calling_pyav():
                    self.container.seek(0)
            elif chosen.has_read:
                self._open_again()
        except BaseException:
            self.container.close()
            raise
        self.undecodable = chosen.undecodable
        beheaded = describe_beheaded(path, self.container.format.name)
        self.notes = chosen.notes + _describe_header(self.wav) + ((beheaded,) if beheaded else ())

    def _open_again(self) -> None:
        places = [None if stream is None else stream.index for stream in (self.video, self.audio)]
        self.container.close()
        self.container, _ = _open_media(self.path)
        self.video, self.audio = (None if place is None else self.container.streams[place] for place in places)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self.container.close()


def describe_beheaded(path: str | os.PathLike, format_name: str) -> str | None:
    """Says that a file holds a bare stream though its name promises more; None if its name fits."""
    if format_name not in BARE_STREAMS or Path(path).suffix.lower() not in WHOLE_SUFFIXES:
        return None
    return f"its beginning is missing or damaged: what is left looks like a bare {format_name} stream"


def _describe_header(wav: WavLength | None) -> tuple[str, ...]:
    if wav is None or not wav.is_understated:
        return ()
    return (
        f"its header says {wav.stated_seconds:.2f} s of sound, but it holds {wav.held_seconds:.2f} s; all of it was "
        "judged",
    )


class SharedSource(MediaFile):
    """A file opened once for its frames and its sound.

    ``iterate_media(shared=...)`` decodes the frames and puts the sound's packets here, from which
    ``VideoWriter(source=...)`` takes them, in another thread if need be.

    Args:
        part: start and end, in seconds, of what is written; time begins at 0 there. None for all of it.

    Attributes:
        video_end_seconds: when the last frame ends, once all were read; None before.
    """

    def __init__(
        self, path: str | os.PathLike, choice: TrackChoice = ANY_TRACKS, part: tuple[float, float] | None = None
    ):
        super().__init__(path, choice)
        self.start_seconds, self.end_seconds = part or (0.0, math.inf)
        self.video_end_seconds: float | None = None
        self._packets: collections.deque = collections.deque()

    def put(self, packet) -> None:
        self._packets.append(packet)

    def take(self):
        """Returns the sound's next packet; None if it has not been read yet."""
        return self._packets.popleft() if self._packets else None
