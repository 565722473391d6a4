"""One labelled recording, as every data set's ``load`` returns it, and a table that counts recordings."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from emotion.errors import DatasetError
from emotion.labels import EIGHT_EMOTIONS, read_emotion
from emotion.media.recordings import Recording

SEXES = ("female", "male")
TRAIN, VALIDATION, TEST = SIDES = ("train", "validation", "test")


@dataclass(frozen=True)
class Clip:
    """One labelled recording, in one file or several.

    Attributes:
        clip_id: prefixed by its data set: ``ravdess:01-05-01-02-01-01``.
        emotion: its canonical emotion, or the data set's own word in lower case if it is none of these. Such clips are
            counted and left out of training and evaluation.
        speaker: the person, prefixed by the data set: ``ravdess:01``; None if the data set does not say.
        video_path: the video or photograph, or None.
        audio_path: the file with the sound, or None. It equals ``video_path`` if the sound is expected inside the
            video; only decoding shows whether it is there.
        sex: ``female``, ``male``, or None if the data set does not say.
        split: the authors' own side, ``train``, ``validation`` or ``test``, or None if they made no split.
        start_seconds, end_seconds: the part of the files that is the clip, on the files' own clocks; None for the
            beginning and the end.
        reference: a file that shows the speaker calm, to compare them with; None if there is none.
        details: what else the data set says of the clip, such as ``{"vocal_channel": "speech"}``.

    Raises:
        DatasetError: for an impossible value, or if the clip has neither file.
    """

    clip_id: str
    emotion: str
    speaker: str | None = None
    video_path: str | None = None
    audio_path: str | None = None
    sex: str | None = None
    split: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    reference: str | None = None
    # A dict cannot be hashed; clip_id already tells clips apart in a set.
    details: dict[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.emotion or self.emotion != read_emotion(self.emotion):
            raise DatasetError(
                f"{self.clip_id}: emotion must be one of {', '.join(EIGHT_EMOTIONS)}, or another word in lower case, "
                f"got {self.emotion!r}."
            )
        if self.sex is not None and self.sex not in SEXES:
            raise DatasetError(f"{self.clip_id}: sex must be one of {', '.join(SEXES)} or None, got {self.sex!r}.")
        if self.split is not None and self.split not in SIDES:
            raise DatasetError(f"{self.clip_id}: split must be one of {', '.join(SIDES)} or None, got {self.split!r}.")
        start, end = self.start_seconds or 0.0, self.end_seconds
        if not 0 <= start < math.inf or (end is not None and not start < end < math.inf):
            raise DatasetError(
                f"{self.clip_id}: start and end must be seconds from 0 on, the end after the start, got "
                f"{self.start_seconds} and {self.end_seconds}."
            )
        if self.video_path is None and self.audio_path is None:
            raise DatasetError(f"{self.clip_id}: a clip needs a video file, a sound file or both; it has neither.")

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that hold the clip, each once, the picture first."""
        return tuple(dict.fromkeys(path for path in (self.video_path, self.audio_path) if path))

    @property
    def recording(self) -> Recording:
        return Recording(self.video_path, self.audio_path, self.start_seconds or 0.0, self.end_seconds)


def summarize(clips: Sequence[Clip]) -> str:
    """Returns a small table: clips by emotion, speakers by sex, and what files the clips have.

    A video file counts as picture and sound; only decoding shows whether it has sound.
    """
    by_emotion = Counter(clip.emotion for clip in clips)
    others = sorted(by_emotion.keys() - set(EIGHT_EMOTIONS))
    width = max(len("emotion"), *(len(emotion) for emotion in (*EIGHT_EMOTIONS, *others)))
    rows = [f"{'emotion':<{width}}  {'clips':>6}"]
    rows += [f"{name:<{width}}  {by_emotion[name]:>6}" for name in (*EIGHT_EMOTIONS, *others) if by_emotion[name]]
    rows.append(f"{'total':<{width}}  {len(clips):>6}")

    sex_of = {clip.speaker: clip.sex or "of unknown sex" for clip in clips if clip.speaker is not None}
    by_sex = Counter(sex_of.values())
    sexes = ", ".join(f"{by_sex[sex]} {sex}" for sex in sorted(by_sex))
    unknown = sum(clip.speaker is None for clip in clips)
    rows.append(
        f"speakers: {len(sex_of)}"
        + (f" ({sexes})" if sexes else "")
        + (f", and {unknown} clips that have no known speaker" if unknown else "")
    )

    face_only = sum(clip.audio_path is None for clip in clips)
    voice_only = sum(clip.video_path is None for clip in clips)
    both = len(clips) - face_only - voice_only
    rows.append(f"files: videos {both}, with sound or without; sound only {voice_only}, picture only {face_only}")
    return "\n".join(rows)


def restrict_clip(clip: Clip, modalities: Sequence[str]) -> Clip | None:
    """Returns a clip without the files of other modalities, so that they are not decoded; None if none is left."""
    video = clip.video_path if "video" in modalities else None
    audio = clip.audio_path if "audio" in modalities else None
    return dataclasses.replace(clip, video_path=video, audio_path=audio) if video or audio else None
