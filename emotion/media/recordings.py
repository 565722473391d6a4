"""One recording, in whatever files it is stored: a whole file, part of one, or video and sound in two files."""

import heapq
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from emotion.errors import ConfigError
from emotion.media.pictures import VideoFrame
from emotion.media.reading import AudioChunk, MediaInfo, iterate_media, probe_media
from emotion.media.streams import Damage
from emotion.media.stretches import iterate_stretch
from emotion.media.tracks import ANY_TRACKS, TrackChoice


@dataclass(frozen=True)
class Recording:
    """The files that hold one recording.

    Attributes:
        video_path, audio_path: the same file if it holds both; None for a stream that is missing.
        start_seconds, end_seconds: the part to read, on the files' own clocks; an end of None reads everything.
        choice: of the files' tracks.
    """

    video_path: str | None
    audio_path: str | None
    start_seconds: float = 0.0
    end_seconds: float | None = None
    choice: TrackChoice = ANY_TRACKS

    @classmethod
    def of_file(cls, path: str | os.PathLike[str], choice: TrackChoice = ANY_TRACKS) -> "Recording":
        """Returns a file as a recording.

        Raises:
            ConfigError: if this is no path, or an empty one.
        """
        if isinstance(path, str) and not path:
            raise ConfigError("the path of the clip is empty. Name a media file.")
        if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
            raise ConfigError(
                f"a clip is given by its path, as str or pathlib.Path, or as a Recording, not as {type(path).__name__}."
            )
        return cls(os.fspath(path), os.fspath(path), choice=choice)

    @classmethod
    def of_part(
        cls, path: str | os.PathLike[str], choice: TrackChoice, span: tuple[float, float | None]
    ) -> "Recording":
        return replace(cls.of_file(path, choice), start_seconds=span[0], end_seconds=span[1])

    @property
    def part(self) -> tuple[float, float | None] | None:
        """Start and end of what is read; None for all of it."""
        whole = self.start_seconds == 0 and self.end_seconds is None
        return None if whole else (self.start_seconds, self.end_seconds)

    def length_of(self, info: MediaInfo) -> float | None:
        """Returns how long the part of a file lasts, by the file's headers; None if they do not say."""
        end = info.duration_seconds
        if self.end_seconds is not None:
            end = self.end_seconds if end is None else min(end, self.end_seconds)
        return None if end is None else max(0.0, end - self.start_seconds)

    @property
    def path(self) -> str:
        """The file to name in messages and results."""
        return self.video_path or self.audio_path

    def probe(self) -> "RecordingInfo":
        """Reads the headers.

        Raises:
            MediaError: if a file is missing or no media, or has no such track.
        """
        infos = {path: probe_media(path, self._choice(path)) for path in self._paths}
        return RecordingInfo.of(self, infos)

    def read(self, sample_rate: int, *, damage: Damage | None = None) -> Iterator[VideoFrame | AudioChunk]:
        """Yields frames and sound as ``iterate_media``; two files are read side by side, in order of time.

        Raises:
            MediaError: as ``iterate_media``; and if a file ends before the part begins.
        """
        streams = [self._read(path, sample_rate, damage) for path in self._paths]
        return streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda item: item.time_seconds)

    @property
    def _paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(path for path in (self.video_path, self.audio_path) if path))

    def _choice(self, path: str) -> TrackChoice:
        """Returns the tracks to read of one of the files."""
        audio = {} if path == self.audio_path else {"audio": None, "channel": None}
        video = {} if path == self.video_path else {"video": None}
        return replace(self.choice, **audio, **video)

    def _read(self, path: str, sample_rate: int, damage: Damage | None) -> Iterator[VideoFrame | AudioChunk]:
        chosen = {
            "with_video": path == self.video_path,
            "with_audio": path == self.audio_path,
            "choice": self._choice(path),
        }
        if self.start_seconds == 0 and self.end_seconds is None:
            return iterate_media(path, sample_rate=sample_rate, damage=damage, **chosen)
        stretch = {"start_seconds": self.start_seconds, "end_seconds": self.end_seconds}
        return iterate_stretch(path, sample_rate=sample_rate, **chosen, **stretch)


@dataclass(frozen=True)
class RecordingInfo:
    """What a recording holds, from its files' headers, as ``MediaInfo`` says it of one file."""

    has_video: bool
    has_audio: bool
    is_still: bool
    duration_seconds: float | None
    choice: TrackChoice = ANY_TRACKS
    video_codec: str | None = None
    audio_codec: str | None = None
    undecodable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, recording: Recording, infos: dict[str, MediaInfo]) -> "RecordingInfo":
        video, audio = infos.get(recording.video_path), infos.get(recording.audio_path)
        lengths = [info.duration_seconds for info in infos.values() if info.duration_seconds is not None]
        end = max(lengths, default=None) if recording.end_seconds is None else recording.end_seconds
        return cls(
            has_video=video is not None and video.has_video,
            has_audio=audio is not None and audio.has_audio,
            is_still=video is not None and video.is_still,
            duration_seconds=None if end is None else max(0.0, end - recording.start_seconds),
            choice=TrackChoice(
                None if video is None else video.choice.video,
                None if audio is None else audio.choice.audio,
                recording.choice.channel,
            ),
            video_codec=video and video.video_codec,
            audio_codec=audio and audio.audio_codec,
            undecodable={
                kind: info.undecodable[kind]
                for kind, info in (("video", video), ("audio", audio))
                if info is not None and kind in info.undecodable
            },
            notes=tuple(dict.fromkeys(note for info in infos.values() for note in info.notes)),
        )
