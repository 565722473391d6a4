"""RAVDESS: 24 actors say or sing two sentences in eight emotions (Livingstone & Russo 2018, PLoS ONE 13(5)).

A file name such as ``01-01-05-02-01-02-11.mp4`` says everything: modality (01 picture and sound, 02 picture, 03 sound),
vocal channel, emotion, intensity, statement, repetition, actor. A recording is published up to three times, once for
each modality. The last six fields name the recording, so its files become one clip and cannot be split from each other.
Folder names do not matter.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emotion.datasets.clips import Clip
from emotion.datasets.paths import check_dataset_folder, walk_dataset, warn_left_out
from emotion.errors import ConfigError, DatasetError
from emotion.labels import RAVDESS_EMOTIONS
from emotion.media.kinds import is_recording, kind_of

NAME = "RAVDESS"
LICENCE = "CC BY-NC-SA 4.0"
EXAMPLE = "03-01-05-01-02-01-01.wav"
LAYOUT = "files named 03-01-05-01-02-01-01.wav, at any depth"
HOW_TO_GET_IT = (
    "RAVDESS is free for non-commercial use at https://zenodo.org/records/1188976 (Zenodo record 1188976). Take "
    "Audio_Speech_Actors_01-24.zip (about 0.2 GB) and Video_Speech_Actor_01.zip ... Video_Speech_Actor_24.zip "
    "(about 0.5 GB each), and unpack them inside that folder, or let this do both: "
    "python -m emotion.datasets download ravdess. "
    "To see the program work without any data: python train_model.py --demo"
)
# Share of listeners' answers that name the emotion the actor was given (Livingstone & Russo 2018).
HUMAN_ACCURACY = {"audio": 0.62}

N_ACTORS = 24

MODALITY_CODES = {"01": "audio-video", "02": "video-only", "03": "audio-only"}
VOCAL_CHANNELS = {"01": "speech", "02": "song"}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
REPETITIONS = {"01": "1", "02": "2"}
ACTORS = {f"{number:02d}": f"ravdess:{number:02d}" for number in range(1, N_ACTORS + 1)}

# What each field of a file name may hold, in order.
FIELDS = (MODALITY_CODES, VOCAL_CHANNELS, RAVDESS_EMOTIONS, INTENSITIES, STATEMENTS, REPETITIONS, ACTORS)

VIDEO_PREFERENCE = ("01", "02", "03")
AUDIO_PREFERENCE = ("03", "01", "02")
SOUNDLESS = "02"

_NAME = re.compile(r"[0-9]{2}(?:-[0-9]{2}){6}")


def recognizes(root: str | os.PathLike) -> bool:
    """Whether any file below a folder is named like RAVDESS."""
    return any(_NAME.fullmatch(path.stem) and is_recording(path) for path in walk_dataset(root, warn=False))


@dataclass
class _Recording:
    """The files found of one recording: modality code -> path, for picture and for sound files."""

    video_files: dict[str, str] = field(default_factory=dict)
    audio_files: dict[str, str] = field(default_factory=dict)


def load(root: str | os.PathLike, *, vocal_channels: Sequence[str] = ("speech",)) -> list[Clip]:
    """Finds the RAVDESS recordings anywhere below a folder.

    If a recording has several files, the picture comes from the video coded 01, then 02, then 03; the sound from a
    sound file coded 03, then any other, then from a video that is not coded 02. A warning counts picture and sound
    files that are not named like RAVDESS or hold impossible fields.

    Args:
        vocal_channels: ``speech``, ``song`` or both.

    Returns:
        One clip for each recording, sorted by ``clip_id``.

    Raises:
        ConfigError: if a vocal channel is unknown.
        DatasetError: if the folder is missing or holds no such recording.
    """
    known = tuple(VOCAL_CHANNELS.values())
    if isinstance(vocal_channels, str) or not vocal_channels or any(name not in known for name in vocal_channels):
        raise ConfigError(f"vocal_channels must be a list of some of {', '.join(known)}, got {vocal_channels!r}.")
    root = check_dataset_folder(root, HOW_TO_GET_IT)
    recordings: dict[tuple[str, ...], _Recording] = {}
    misnamed, impossible, archives = [], [], []
    for path in walk_dataset(root):
        if path.suffix.lower() == ".zip":
            archives.append(path.name)
        if not is_recording(path):
            continue
        if not _NAME.fullmatch(path.stem):
            misnamed.append(path.name)
            continue
        codes = tuple(path.stem.split("-"))
        if any(code not in meanings for code, meanings in zip(codes, FIELDS, strict=True)):
            impossible.append(path.name)
            continue
        recording = recordings.setdefault(codes[1:], _Recording())
        files = recording.video_files if kind_of(path) == "video" else recording.audio_files
        # Some copies of the data hold every file twice, in two folders: the first in sorted order counts.
        files.setdefault(codes[0], str(path))

    what = "picture or sound files that"
    warn_left_out(root, misnamed, f"{what} are not named like RAVDESS (03-01-05-01-02-01-01.wav)")
    warn_left_out(root, impossible, f"{what} have impossible fields in their RAVDESS name")
    clips = [_build_clip(key, recordings[key]) for key in sorted(recordings)]
    wanted = [clip for clip in clips if clip.details["vocal_channel"] in vocal_channels]
    if not wanted:
        raise DatasetError(_explain_nothing(root, vocal_channels, len(clips), archives))
    return wanted


def _build_clip(key: tuple[str, ...], recording: _Recording) -> Clip:
    channel, emotion, intensity, statement, repetition, actor = key
    videos, audios = recording.video_files, recording.audio_files
    with_sound = {code: path for code, path in videos.items() if code != SOUNDLESS}
    return Clip(
        clip_id=f"ravdess:{'-'.join(key)}",
        emotion=RAVDESS_EMOTIONS[emotion],
        speaker=ACTORS[actor],
        video_path=_first(videos, VIDEO_PREFERENCE),
        audio_path=_first(audios, AUDIO_PREFERENCE) or _first(with_sound, VIDEO_PREFERENCE),
        sex="male" if int(actor) % 2 else "female",
        details={
            "vocal_channel": VOCAL_CHANNELS[channel],
            "intensity": INTENSITIES[intensity],
            "statement": STATEMENTS[statement],
            "repetition": REPETITIONS[repetition],
        },
    )


def _first(files: dict[str, str], preference: Sequence[str]) -> str | None:
    return next((files[code] for code in preference if code in files), None)


def _explain_nothing(root: Path, vocal_channels: Sequence[str], n_other_clips: int, archives: list[str]) -> str:
    channels = " or ".join(vocal_channels)
    if n_other_clips:
        others = " or ".join(name for name in VOCAL_CHANNELS.values() if name not in vocal_channels)
        return (
            f"{root} holds no RAVDESS {channels}, only {n_other_clips} clips of {others}. "
            f"Add the {channels} files, or list the {others} files in a manifest. {HOW_TO_GET_IT}"
        )
    if archives:
        return (
            f"{root} holds no RAVDESS recordings, but {len(archives)} zip files ({archives[0]}). Unpack them there "
            f"first. {HOW_TO_GET_IT}"
        )
    return f"{root} holds no RAVDESS recordings. {HOW_TO_GET_IT}"
