"""Compares a person with themselves: answers relative to what is usual for that person.

A person's resting face is not neutral for a network: brows, lips and eyelids differ more between people than with
emotions, and so do voices. So the log probabilities of a face are shifted by what the person usually shows:

- with **a reference**, a neutral clip of the person, by how its answer differs from that for neutral faces of others;
- **by their own mean** over a long clip, or over their other clips, by how it differs from what people usually show
  (the adjustment of Saerens et al. 2002, "Adjusting the outputs of a classifier to new a priori probabilities"). The
  mean is shrunk to that of others where there is little evidence or little variety: somebody who shows one emotion
  only must not lose it.

A voice is judged by a head of its own, trained on vectors minus those of the same person's neutral speech (Busso et al.
2011, "Iterative feature normalization scheme for automatic emotion detection from speech").

Pure arithmetic on judged windows; the numbers come with the model (``emotion.models.baseline_head``).
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emotion.inference.clip_result import JudgedWindow
from emotion.inputs.faces.appearance import Appearance, compute_unlikeness
from emotion.inputs.faces.assignment import assign_least_cost
from emotion.models.baseline_head import SMALLEST, BaselineHead
from emotion.models.calibration import softmax
from emotion.results import REFERENCE

# Clothes, hair and light may change from file to file, so only the face itself is compared. Of 629 pairs of faces in
# different files, 95 % of those of one person are more alike than this, and 95 % of those of two people are not.
OTHER_PERSON = 1.85
LEAST_TRUST = 0.2  # in a person's own mean; below it nothing is compared


@dataclass(frozen=True)
class PersonEvidence:
    """What was seen and heard of one person.

    Attributes:
        faces: ``(n, n_classes)``, the answers by the face alone.
        voices: ``(m, n_classes)``, the answers by the voice alone.
        voice_vectors: ``(m, n_values)``, of the same windows; none where the model does not compare voices.
        face_seconds, voice_seconds: the time that these windows cover.
        views: how the face looked.
    """

    faces: np.ndarray
    voices: np.ndarray
    voice_vectors: np.ndarray
    face_seconds: float
    voice_seconds: float
    views: tuple[Appearance, ...] = ()

    @classmethod
    def of(
        cls, windows: Iterable[JudgedWindow], end_seconds: float = np.inf, views: Sequence[Appearance] = ()
    ) -> "PersonEvidence":
        """Gathers one person's windows of one clip that ends at ``end_seconds``."""
        windows = [window for window in windows if window.parts is not None]
        seen = [window for window in windows if window.parts.face is not None]
        heard = [window for window in windows if window.parts.voice is not None]
        return cls(
            _stack([window.parts.face for window in seen]),
            _stack([window.parts.voice for window in heard]),
            _stack([window.parts.voice_vector for window in heard if window.parts.voice_vector is not None]),
            _covered_seconds(seen, end_seconds),
            _covered_seconds(heard, end_seconds),
            tuple(views),
        )

    @classmethod
    def pooled(cls, each: Sequence["PersonEvidence"]) -> "PersonEvidence":
        """Joins what several clips show of one person."""
        return cls(
            *(
                _stack([row for evidence in each for row in getattr(evidence, name)])
                for name in ("faces", "voices", "voice_vectors")
            ),
            sum(evidence.face_seconds for evidence in each),
            sum(evidence.voice_seconds for evidence in each),
            tuple(view for evidence in each for view in evidence.views),
        )


@dataclass(frozen=True)
class PersonBaseline:
    """What is usual for one person.

    Attributes:
        kind: ``REFERENCE``, ``OWN_CLIP`` or ``OWN_CLIPS``.
        face_shift: ``(n_classes,)``, added to the log probabilities of the person's windows with a face; None if
            nothing is known of the face.
        voice_vector: ``(n_values,)``, subtracted from the person's voice vectors; None if no voice is known.
        voice_share: weight of the relative voice against the plain one, 0 to 1.
        face_seconds, voice_seconds: what the two rest on.
        name: of the person, if you gave one.
        views: how the person's face looks.
        clips: files that the reference was taken from.
    """

    kind: str
    face_shift: np.ndarray | None = None
    voice_vector: np.ndarray | None = None
    voice_share: float = 1.0
    face_seconds: float = 0.0
    voice_seconds: float = 0.0
    name: str | None = None
    views: tuple[Appearance, ...] = ()
    clips: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self.face_shift is None and self.voice_vector is None


def of_reference(evidence: PersonEvidence, head: BaselineHead) -> PersonBaseline:
    """Returns the baseline of a person by what neutral clips show of them."""
    shift = vector = None
    if head.face is not None and len(evidence.faces):
        usual, floor = evidence.faces.mean(axis=0), head.face.reference_floor
        shift = -head.face.reference_exponent * _log_ratio(usual, head.face.neutral, floor)
    if head.voice is not None and len(evidence.voices):
        vector = evidence.voice_vectors.mean(axis=0)
    return PersonBaseline(
        REFERENCE, shift, vector, 1.0, _used(evidence.face_seconds, shift), _used(evidence.voice_seconds, vector),
        views=evidence.views,
    )  # fmt: skip


def of_own_mean(evidence: PersonEvidence, head: BaselineHead, kind: str) -> PersonBaseline:
    """Returns the baseline of a person by their own mean over a clip, or over all their clips."""
    shift = vector = None
    share = 0.0
    if head.face is not None and len(evidence.faces) and evidence.face_seconds >= head.own_seconds:
        trust = _trust(evidence.face_seconds * _variety(evidence.faces, head), head)
        usual = (1 - trust) * head.face.prior + trust * evidence.faces.mean(axis=0)
        if trust >= LEAST_TRUST:
            shift = -head.face.own_exponent * _log_ratio(usual, head.face.prior, head.face.own_floor)
    if head.voice is not None and len(evidence.voices) and evidence.voice_seconds >= head.own_seconds:
        calm = evidence.voices[:, head.neutral_index]
        # The vector is that of the more neutral moments, so only their time counts.
        share = _trust(evidence.voice_seconds * calm.mean() * _variety(evidence.voices, head), head)
        if share >= LEAST_TRUST:
            vector = calm @ evidence.voice_vectors / calm.sum()
    return PersonBaseline(
        kind, shift, vector, share, _used(evidence.face_seconds, shift), _used(evidence.voice_seconds, vector)
    )


def relate(window: JudgedWindow, person: PersonBaseline, head: BaselineHead) -> JudgedWindow:
    """Returns a window with the answer relative to the person's baseline, which may be the window's own."""
    parts = window.parts
    if parts is None:
        return window
    logits, is_related = _log(parts.joint), False
    if person.face_shift is not None and parts.face is not None:
        logits, is_related = logits + person.face_shift, True
    if person.voice_vector is not None and parts.voice is not None:
        relative = _log(softmax(head.voice.judge(parts.voice_vector - person.voice_vector)))
        # The network adds the logits of face and voice, so the voice's can be exchanged.
        logits, is_related = logits + person.voice_share * (relative - _log(parts.voice)), True
    if not is_related:
        return window
    probabilities = softmax(logits / head.temperature(window.evidence))
    return dataclasses.replace(window, probabilities=probabilities)


def match_people(
    people: Sequence[PersonBaseline], faces: Mapping[int, Sequence[Appearance]]
) -> dict[int, PersonBaseline]:
    """Finds out whose references the faces of a clip belong to, by their looks.

    One face and one person need no comparison. No network trained to recognise people is used.

    Args:
        faces: how each face of the clip looks, by track.

    Returns:
        By track; faces that look like none of the people are left out.
    """
    if not people or not faces:
        return {}
    tracks = list(faces)
    if len(people) == len(tracks) == 1:
        return {tracks[0]: people[0]}
    unlike = np.array([[_unlikeness(person.views, faces[track]) for person in people] for track in tracks])
    pairs = assign_least_cost(np.minimum(unlike, OTHER_PERSON))
    return {tracks[row]: people[column] for row, column in pairs if unlike[row, column] < OTHER_PERSON}


def match_voice(people: Sequence[PersonBaseline], evidence: PersonEvidence) -> PersonBaseline | None:
    """Finds out whose reference a clip's only voice belongs to: the nearest by the cosine of their mean vectors."""
    people = [person for person in people if person.voice_vector is not None]
    if not people or not len(evidence.voices):
        return None
    mean = evidence.voice_vectors.mean(axis=0)
    return max(people, key=lambda person: _cosine(person.voice_vector, mean))


def _trust(seconds: float, head: BaselineHead) -> float:
    """Returns the weight of a person's own mean against that of others, 0 to 1."""
    return seconds / (head.shrink_seconds + seconds)


def _log_ratio(usual: np.ndarray, expected: np.ndarray, floor: float) -> np.ndarray:
    return np.log(np.maximum(usual, floor)) - np.log(expected)


def _variety(answers: np.ndarray, head: BaselineHead) -> float:
    """Returns how far answers differ, 0 to 1: the entropy of their mean minus the mean of their entropies."""
    spread = _entropy(answers.mean(axis=0)) - _entropy(answers).mean()
    return float(np.clip(spread / head.full_variety, 0, 1))


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    return -(probabilities * _log(probabilities)).sum(axis=-1)


def _log(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST))


def _stack(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(rows).astype(np.float64) if len(rows) else np.zeros((0, 0))


def _used(seconds: float, values: np.ndarray | None) -> float:
    return 0.0 if values is None else seconds


def _covered_seconds(windows: Sequence[JudgedWindow], end_seconds: float) -> float:
    """Returns the time that windows cover together; the only window of a short clip reaches past its end."""
    covered, last = 0.0, -np.inf
    for window in sorted(windows, key=lambda window: window.start_seconds):
        end = min(window.end_seconds, end_seconds)
        covered += max(0.0, end - max(window.start_seconds, last))
        last = max(last, end)
    return float(covered)


def _unlikeness(views: Sequence[Appearance], others: Sequence[Appearance]) -> float:
    return min((compute_unlikeness(views, other, is_clear=False) for other in others), default=float("inf"))


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / max(1e-12, np.linalg.norm(one) * np.linalg.norm(other)))
