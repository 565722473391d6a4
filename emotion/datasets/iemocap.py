"""IEMOCAP: ten actors in five sessions of two people, scripted and improvised (Busso et al. 2008).

``Session1/dialog/EmoEvaluation/Ses01F_impro01.txt`` says when a turn begins and ends and which emotion most raters
gave it; ``Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav`` is its sound. The last part names the speaker
of the turn: F the woman, M the man of the session. ``Session1/dialog/avi/DivX/Ses01F_impro01.avi`` shows both people
side by side throughout a dialog.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from emotion.datasets.clips import Clip
from emotion.datasets.paths import check_dataset_folder, walk_dataset, warn_left_out
from emotion.datasets.votes import write_votes
from emotion.errors import ConfigError, DatasetError
from emotion.labels import IEMOCAP_EMOTIONS, read_emotion
from emotion.media.kinds import is_recording, kind_of

NAME = "IEMOCAP"
LICENCE = "free for research, on request"
EXAMPLE = "Ses01F_impro01_F000.wav"
LAYOUT = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt with Session1/sentences/wav or Session1/dialog/avi"
HOW_TO_GET_IT = "IEMOCAP is given to researchers who ask at https://sail.usc.edu/iemocap/."
MEDIA = ("sentences", "dialogs")

_DIALOG = r"Ses0([1-5])[FM]_[a-z]+[0-9]+(?:_[0-9]+)?[a-z]?"
_TABLE = re.compile(rf"{_DIALOG}\.txt")
_FILE = re.compile(rf"({_DIALOG})(_[FM][A-Z]*[0-9]+)?")
_TURN = re.compile(rf"\[([0-9.]+) - ([0-9.]+)\]\s+(({_DIALOG})_([FM])[A-Z]*[0-9]+)\s+(\S+)\s*(\[.*\])?\s*")
_RATER = re.compile(r"C-E[0-9]+:\s*([^()]*)")

logger = logging.getLogger(__name__)


@dataclass
class _Turn:
    """A turn of a dialog as the evaluation files have it; times in seconds on the dialog's clock."""

    name: str
    dialog: str
    session: str
    speaker: str
    code: str
    start: float
    end: float
    votes: Counter = field(default_factory=Counter)


def recognizes(root: str | os.PathLike) -> bool:
    """Whether one of IEMOCAP's evaluation files lies below a folder."""
    return any(_is_table(path) for path in walk_dataset(root, warn=False))


def load(root: str | os.PathLike, *, media: str = "sentences", excited: str = "excited") -> list[Clip]:
    """Finds IEMOCAP's turns anywhere below a folder.

    Raters who did not agree, and frustrated, excited and other turns give emotions that no model here has a class for:
    training counts these clips and leaves them out. The raters' votes are in the clips' details.

    Args:
        media: ``sentences``, the speaker's voice alone; or ``dialogs``, parts of the videos, in which the other person
            is in sight, too, and may be the one that is followed.
        excited: ``happy`` counts excited turns as happy, as many papers do.

    Returns:
        One clip for each turn that has its file, sorted by ``clip_id``; a warning counts the others.

    Raises:
        ConfigError: for another option.
        DatasetError: if there is no such folder, no evaluation file or no media, or a table cannot be read.
    """
    if media not in MEDIA or excited not in ("excited", "happy"):
        raise ConfigError(
            f"media must be one of {', '.join(MEDIA)}, and excited must be excited or happy, got {media!r} and "
            f"{excited!r}."
        )
    root = check_dataset_folder(root, HOW_TO_GET_IT)
    tables, files, misnamed = {}, {}, []
    for path in walk_dataset(root):
        if _is_table(path):
            tables.setdefault(path.name, path)
        elif is_recording(path):
            if _FILE.fullmatch(path.stem):
                files.setdefault((path.stem, kind_of(path)), path)
            else:
                misnamed.append(path.name)
    if not tables:
        raise DatasetError(f"{root} holds none of IEMOCAP's evaluation files. {HOW_TO_GET_IT}")
    warn_left_out(root, misnamed, f"picture or sound files that are not named like {EXAMPLE}")
    clips, missing = {}, []
    for turn in (turn for _, table in sorted(tables.items()) for turn in _read_turns(table)):
        clip = _build_clip(turn, files, media, excited)
        if clip is None:
            missing.append(turn.name)
        else:
            clips.setdefault(clip.clip_id, clip)
    if not clips:
        raise DatasetError(f"{root} holds IEMOCAP's labels and none of the media of its {media}. {HOW_TO_GET_IT}")
    warn_left_out(root, missing, f"turns whose file is missing ({media})")
    labelled = {clip_id.partition(":")[2] for clip_id in clips} | set(missing)
    spare = sorted(name for name, _ in files if _FILE.fullmatch(name)[3] and name not in labelled)
    warn_left_out(root, spare, "sentences that no evaluation file lists")
    return [clips[clip_id] for clip_id in sorted(clips)]


def _is_table(path: Path) -> bool:
    return path.parent.name == "EmoEvaluation" and _TABLE.fullmatch(path.name) is not None


def _read_turns(path: Path) -> Iterator[_Turn]:
    """Yields the turns of an evaluation file.

    Raises:
        DatasetError: if there are none, or one has an unknown code or impossible times.
    """
    turns: list[_Turn] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if match := _TURN.fullmatch(line.strip()):
            start, end, name, dialog, session, speaker, code, _ = match.groups()
            if code not in IEMOCAP_EMOTIONS or not float(start) < float(end):
                raise DatasetError(f"{path}: line {number}: unknown emotion or impossible times: {line.strip()}")
            turns.append(_Turn(name, dialog, session, speaker, code, float(start), float(end)))
        elif turns and (match := _RATER.match(line)):
            turns[-1].votes.update(read_emotion(word) for word in match[1].split(";") if word.strip())
    if not turns:
        raise DatasetError(f"{path}: lists no turns.")
    yield from turns


def _build_clip(turn: _Turn, files: dict[tuple[str, str], Path], media: str, excited: str) -> Clip | None:
    emotion = excited if turn.code == "exc" else IEMOCAP_EMOTIONS[turn.code]
    details = {"dialog": turn.dialog, "language": "en", "votes": write_votes(_one_word_each(turn.votes))}
    if media == "sentences":
        video, sound = None, files.get((turn.name, "audio"))
    else:
        video = files.get((turn.dialog, "video"))
        sound = files.get((turn.dialog, "audio"), video)
    if sound is None:
        return None
    is_part = media == "dialogs"
    return Clip(
        clip_id=f"iemocap:{turn.name}",
        emotion=emotion,
        speaker=f"iemocap:{turn.session}{turn.speaker}",
        video_path=str(video) if video else None,
        audio_path=str(sound),
        sex="female" if turn.speaker == "F" else "male",
        start_seconds=turn.start if is_part else None,
        end_seconds=turn.end if is_part else None,
        details={name: value for name, value in details.items() if value},
    )


def _one_word_each(votes: Counter) -> dict[str, int]:
    return {emotion.replace(" ", "-"): count for emotion, count in sorted(votes.items())}
