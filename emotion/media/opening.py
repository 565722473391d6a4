"""The one door into a media file: opens it, and chooses the tracks that are read."""

import collections
import os
import re
from typing import Self

import av

from emotion.errors import MediaError
from emotion.media.formats import OPTIONS
from emotion.media.streams import FAULTS, words_of
from emotion.media.tracks import ANY_TRACKS, KINDS, TrackChoice, can_be_decoded, choose_tracks
from emotion.media.wav import MendedFile, WavLength, read_wav_length

WEB_PAGE = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)
HEAD_BYTES = 256
LFS_POINTER = b"version https://git-lfs.github.com/spec"
# Of formats without a table of their streams FFmpeg reads the first seconds. Where this is too little, it reads more.
FORMATS_WITHOUT_TABLE = ("mpegts", "mpeg", "flv")
LONG_LOOK = {"probesize": "50000000", "analyzeduration": "60000000"}  # bytes, microseconds


def open_media(path: str | os.PathLike):
    """Opens a media file for reading; use it with ``with``.

    Raises:
        MediaError: if the file is missing, a folder, empty, a Git LFS pointer, or not media.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        raise MediaError(f"{name}: is a folder. Give a media file inside it.")
    if os.path.exists(name) and not os.path.isfile(name):
        raise MediaError(f"{name}: is a pipe or a device. Give a file; to use a camera, give its number.")
    try:
        with open(name, "rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise MediaError(f"{name}: no such file. Check the spelling and the folder.") from None
    except OSError as error:
        raise MediaError(f"{name}: cannot be read ({error.strerror}). Check the file's permissions.") from error
    if not head:
        raise MediaError(f"{name}: is empty (0 bytes). Copy or download it again.")
    if head.startswith(LFS_POINTER):
        raise MediaError(f"{name}: is a Git LFS pointer, not the media itself. Run `git lfs pull` to download it.")
    if WEB_PAGE.match(head):
        raise MediaError(f"{name}: is a web page, not media: the download went wrong. Download the file itself.")
    try:
        container = _open(name, {})
        if _needs_a_longer_look(container):
            container.close()
            container = _open(name, LONG_LOOK)
    except av.ArgumentError as error:
        raise MediaError(
            f"{name}: holds text, a playlist or another kind that is not read, not media. Give a video, sound or image "
            "file."
        ) from error
    except FAULTS as error:
        raise MediaError(
            f"{name}: not a readable media file ({words_of(error)}). Download it again, or convert it to MP4."
        ) from error
    return container


def _open(name: str, options: dict[str, str]):
    length = read_wav_length(name)
    # With "file:", a colon in the name does not make a protocol. Some recorders write metadata that is not UTF-8.
    if length is not None and length.lengths:
        return av.open(MendedFile(name, length.lengths), options=OPTIONS | options, metadata_errors="replace")
    return av.open(f"file:{name}", options=OPTIONS | options, metadata_errors="replace")


def _needs_a_longer_look(container) -> bool:
    """Whether streams may begin later than FFmpeg looked."""
    streams = [stream for stream in container.streams if stream.type in KINDS]
    if any(stream.codec_context is not None and not can_be_decoded(stream) for stream in streams):
        return True
    return container.format.name in FORMATS_WITHOUT_TABLE and {stream.type for stream in streams} != set(KINDS)


class MediaFile:
    """A media file opened for reading; raises as ``open_media`` and ``choose_tracks``. Use it with ``with``.

    Attributes:
        container: PyAV's.
        video, audio: the streams to read; None for a kind that the file lacks, or that cannot be decoded.
        choice: the same by number.
        notes: why these, and which others there are; and what is wrong with the header.
        undecodable: by kind, ``video`` or ``audio``, the codec of a kind that is there but cannot be decoded.
        wav: of a WAV file, how much sound there is and should be.
    """

    def __init__(self, path: str | os.PathLike, choice: TrackChoice = ANY_TRACKS):
        self.path = path
        self.container = open_media(path)
        try:
            chosen = choose_tracks(path, self.container, choice, lambda: open_media(path))
            self.wav = read_wav_length(path)
        except BaseException:
            self.container.close()
            raise
        self.video, self.audio, self.choice = chosen.video, chosen.audio, chosen.choice
        self.notes, self.undecodable = chosen.notes + _describe_header(self.wav), chosen.undecodable

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error) -> None:
        self.container.close()


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

    Attributes:
        video_end_seconds: when the last frame ends, once all were read; None before.
    """

    def __init__(self, path: str | os.PathLike, choice: TrackChoice = ANY_TRACKS):
        super().__init__(path, choice)
        self.video_end_seconds: float | None = None
        self._packets: collections.deque = collections.deque()

    def put(self, packet) -> None:
        self._packets.append(packet)

    def take(self):
        """Returns the sound's next packet; None if it has not been read yet."""
        return self._packets.popleft() if self._packets else None
