"""What is said, one utterance after the other: when, by whom, and with which emotion."""

import bisect
import itertools
from dataclasses import dataclass, replace

import numpy as np

from emotion.results import EmotionSummary, MediaPrediction, Span, Word, join_evidence, join_words

Turn = tuple[float, float, int | None]  # start, end, and the face that speaks
PAUSE_SECONDS = 0.3  # a shorter pause does not end an utterance
SHORTEST_SECONDS = 0.2


@dataclass(frozen=True)
class Utterance:
    """A stretch of speech by one person.

    Attributes:
        face_id: of the face that speaks; None where nobody in sight does.
        speaker: its name, or ``voice``.
        answer: by the windows of that face, or of the voice, during it.
        text: the words, if they were written down.
    """

    start_seconds: float
    end_seconds: float
    face_id: int | None
    speaker: str
    answer: EmotionSummary
    text: str = ""


def find_utterances(prediction: MediaPrediction) -> list[Utterance]:
    """Returns the utterances of a clip in order of time; none without speech detection.

    Speech is parted where another face begins to speak. A window says who speaks in the time that is nearer to its
    middle than to that of any other.
    """
    heard = sorted((w for w in prediction.windows if "voice" in w.evidence), key=lambda w: w.middle_seconds)
    if not prediction.speech or not heard:
        return []
    middles = [window.middle_seconds for window in heard]
    between = [(before + after) / 2 for before, after in itertools.pairwise(middles)]
    by_face = {face: _Windows.of(prediction, face) for face in {window.face_id for window in heard}}
    found = []
    for start, end in _joined(prediction.speech):
        first, last = bisect.bisect_right(between, start), bisect.bisect_left(between, end)
        edges = [start, *between[first:last], end]
        turns: list[Turn] = []
        for window, span in zip(heard[first : last + 1], itertools.pairwise(edges), strict=True):
            if turns and turns[-1][2] == window.face_id:
                turns[-1] = turns[-1][0], span[1], window.face_id
            else:
                turns.append((*span, window.face_id))
        found += [_describe(prediction, by_face[face], a, b, face) for a, b, face in _without_short(turns)]
    return _with_words(found, prediction.words or ())


def _joined(speech: tuple[Span, ...]) -> list[Span]:
    joined: list[Span] = []
    for start, end in speech:
        if joined and start - joined[-1][1] < PAUSE_SECONDS:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined


def _without_short(turns: list[Turn]) -> list[Turn]:
    """Gives what is too short for a turn to the one before."""
    kept: list[Turn] = []
    for turn in turns:
        is_same = bool(kept) and kept[-1][2] == turn[2]
        if kept and (is_same or turn[1] - turn[0] < SHORTEST_SECONDS):
            kept[-1] = kept[-1][0], turn[1], kept[-1][2]
        else:
            kept.append(turn)
    return kept


@dataclass(frozen=True)
class _Windows:
    """The judged windows of a face or of the voice, in order of time."""

    starts: np.ndarray
    ends: np.ndarray
    probabilities: np.ndarray
    evidence: list[str]

    @classmethod
    def of(cls, prediction: MediaPrediction, face_id: int | None) -> "_Windows":
        windows = [w for w in prediction.windows if w.face_id == face_id and w.probabilities is not None]
        windows.sort(key=lambda window: window.start_seconds)
        return cls(
            np.array([window.start_seconds for window in windows]),
            np.array([window.end_seconds for window in windows]),
            np.array([window.probabilities for window in windows], float),
            [window.evidence for window in windows],
        )

    def judge(self, start: float, end: float) -> tuple[np.ndarray | None, str]:
        """Returns probabilities and evidence for a stretch; a window counts less the more it holds of other times."""
        lengths = self.ends - self.starts
        first = np.searchsorted(self.starts, start - lengths.max(initial=0.0))
        near = slice(first, np.searchsorted(self.starts, end))
        shared = np.minimum(end, self.ends[near]) - np.maximum(start, self.starts[near])
        weights = np.maximum(0.0, shared) ** 2 / np.maximum(1e-6, lengths[near])
        if not weights.any():
            return None, "none"
        total = weights @ self.probabilities[near]
        evidence = [each for each, weight in zip(self.evidence[near], weights, strict=True) if weight > 0]
        return total / total.sum(), join_evidence(evidence)


def _describe(
    prediction: MediaPrediction, windows: _Windows, start: float, end: float, face_id: int | None
) -> Utterance:
    names: dict[int | None, str] = {track.face_id: track.name for track in prediction.tracks}
    probabilities, evidence = windows.judge(start, end)
    answer = EmotionSummary.of(
        probabilities, prediction.class_names, evidence=evidence, unsure_below=prediction.unsure_below
    )
    return Utterance(start, end, face_id, names.get(face_id, "voice"), answer)


def _with_words(utterances: list[Utterance], words: tuple[Word, ...]) -> list[Utterance]:
    """Gives each word to the utterance in which its middle lies, or that is nearest."""
    if not (utterances and words):
        return utterances
    said: list[list[Word]] = [[] for _ in utterances]
    starts, ends = np.array([(each.start_seconds, each.end_seconds) for each in utterances]).T
    for word in words:
        middle = (word.start_seconds + word.end_seconds) / 2
        said[int(np.argmin(np.maximum(starts - middle, middle - ends)))].append(word)
    return [replace(each, text=join_words(own)) for each, own in zip(utterances, said, strict=True)]
