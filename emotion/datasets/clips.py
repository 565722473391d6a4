"""The record that every data set's ``load`` returns a sorted list of, and a table that counts them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from emotion.errors import DatasetError
from emotion.labels import EIGHT_EMOTIONS

SEXES = ("female", "male")


@dataclass(frozen=True)
class Clip:
    """One labelled recording, whatever number of files hold it.

    Attributes:
        clip_id: the recording, prefixed by its data set: ``ravdess:01-05-01-02-01-01``.
        emotion: its canonical emotion.
        speaker: the person, prefixed by the data set: ``ravdess:01``.
        video_path: the file with the picture, or None.
        audio_path: the file with the sound, or None. It equals ``video_path`` where the sound is expected inside the
            video file; only decoding can tell whether it really is there.
        sex: ``female``, ``male``, or None if the data set does not say.
        split: the side the data set's authors put the clip on, or None if they made no split.
        details: what else the data set says of the clip, such as ``{"vocal_channel": "speech"}``.

    Raises:
        DatasetError: if the emotion or the sex is none of the known ones, or the clip has neither file.
    """

    clip_id: str
    emotion: str
    speaker: str
    video_path: str | None = None
    audio_path: str | None = None
    sex: str | None = None
    split: str | None = None
    # A dict cannot be hashed; clip_id already tells clips apart in a set.
    details: dict[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self):
        if self.emotion not in EIGHT_EMOTIONS:
            raise DatasetError(
                f"{self.clip_id}: emotion must be one of {', '.join(EIGHT_EMOTIONS)}, got {self.emotion!r}."
            )
        if self.sex is not None and self.sex not in SEXES:
            raise DatasetError(f"{self.clip_id}: sex must be one of {', '.join(SEXES)} or None, got {self.sex!r}.")
        if self.video_path is None and self.audio_path is None:
            raise DatasetError(f"{self.clip_id}: a clip needs a video file, a sound file or both; it has neither.")


def summarize(clips: Sequence[Clip]) -> str:
    """Returns a small table: clips by emotion, speakers by sex, and what evidence the clips hold.

    A video file with its sound inside counts as face and voice, as far as its name can tell.
    """
    by_emotion = Counter(clip.emotion for clip in clips)
    width = max(len("emotion"), *(len(emotion) for emotion in EIGHT_EMOTIONS))
    rows = [f"{'emotion':<{width}}  {'clips':>6}"]
    rows += [f"{emotion:<{width}}  {by_emotion[emotion]:>6}" for emotion in EIGHT_EMOTIONS if by_emotion[emotion]]
    rows.append(f"{'total':<{width}}  {len(clips):>6}")

    sex_of = {clip.speaker: clip.sex or "of unknown sex" for clip in clips}
    by_sex = Counter(sex_of.values())
    sexes = ", ".join(f"{by_sex[sex]} {sex}" for sex in sorted(by_sex))
    rows.append(f"speakers: {len(sex_of)}" + (f" ({sexes})" if sexes else ""))

    face_only = sum(clip.audio_path is None for clip in clips)
    voice_only = sum(clip.video_path is None for clip in clips)
    both = len(clips) - face_only - voice_only
    rows.append(f"face and voice: {both}, voice only: {voice_only}, face only: {face_only}")
    return "\n".join(rows)
