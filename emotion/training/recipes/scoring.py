"""Calibration and scores on validation data: by photographs, by the voice alone, and by pairs of a face and a voice.

The faces are those of which more than half of FER+'s raters chose one class. A voice is judged by the mean over its
sliding windows, as in inference. A pair is a voice with the face of another person who shows the same emotion, set in
motion like the head of somebody on camera.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from emotion.config import RunConfig
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.evaluation.judging import Judgement, build_report
from emotion.inputs.clip_windows import cut_clip
from emotion.inputs.preprocessing import Preprocessor
from emotion.labels import class_index
from emotion.scores import compute_confusion_matrix, compute_scores
from emotion.training.calibrating import Answers, measure_calibration
from emotion.training.recipes.animation import animate_still
from emotion.training.recipes.stills import Stills

EVIDENCE = {"photograph": "video_only", "voice": "audio_only", "both": "both"}
N_AT_ONCE = 32
N_MOVING = 5  # frames of a face set in motion; what moves is the same still face
LEFT_OUT = ("calibration", "coverage_accuracy", "evidence", "n_unanswered")  # of a report

Predict = Callable[[dict[str, np.ndarray]], np.ndarray]
Groups = dict[str, np.ndarray]


# ---- Asking the model ----


def pair_faces(faces: Stills, classes: np.ndarray, *, seed: int) -> np.ndarray:
    """Draws for each class index the index of a clear face of that class."""
    rng = np.random.default_rng(seed)
    by_class = {index: np.flatnonzero(faces.majority == index) for index in np.unique(classes)}
    return np.array([rng.choice(by_class[index]) for index in classes])


def answer_photographs(predict: Predict, config: RunConfig, faces: Stills) -> Answers:
    """Asks a model about all clear faces as photographs.

    Args:
        predict: inputs to uncalibrated probabilities ``(n, n_classes)``.
    """
    clear, seen = np.flatnonzero(faces.majority >= 0), []
    for start in range(0, len(clear), N_AT_ONCE):
        video = np.stack([photograph(faces, int(i), config) for i in clear[start : start + N_AT_ONCE]])
        seen.append(predict({"audio": np.zeros((len(video), *config.audio_shape), np.float32), "video": video}))
    rows = [row[None] for row in np.concatenate(seen)]
    return Answers(rows, faces.majority[clear], clear.astype(str), np.array([""] * len(clear)))


def answer_voices(
    predict: Predict, config: RunConfig, faces: Stills, voices: list[Clip], cache: ClipCache, *, seed: int
) -> dict[str, Answers]:
    """Asks a model about all voices, alone as ``voice`` and paired with a face as ``both``.

    Args:
        predict: as for ``answer_photographs``.
        voices: labelled clips, which ``cache`` holds.
    """
    preprocessor = Preprocessor(config)
    nothing_seen = np.zeros((1, 1, *config.video_shape[1:]), np.uint8)
    classes = np.array([class_index(clip.emotion, config.class_names) for clip in voices])
    shown = pair_faces(faces, classes, seed=seed)
    heard: dict[str, list[np.ndarray]] = {"voice": [], "both": []}
    for clip, face in zip(voices, shown, strict=True):
        audio = np.stack([window["audio"] for window in cut_clip(cache.load(clip), preprocessor)])
        heard["voice"].append(predict({"audio": audio, "video": np.repeat(nothing_seen, len(audio), axis=0)}))
        moving = moving_face(faces, int(face), config)
        video = np.broadcast_to(moving, (len(audio), *moving.shape))
        heard["both"].append(predict({"audio": audio, "video": video}))
    speakers = np.array([clip.speaker for clip in voices])
    sexes = np.array([clip.sex or "" for clip in voices])
    return {mode: Answers(heard[mode], classes, speakers, sexes) for mode in heard}


def photograph(faces: Stills, index: int, config: RunConfig) -> np.ndarray:
    """Returns a face as inference shows a photograph: one frame, ``(1, *config.video_shape[1:])``."""
    return np.broadcast_to(faces.images[index][None, :, :, None], (1, *config.video_shape[1:]))


def moving_face(faces: Stills, index: int, config: RunConfig) -> np.ndarray:
    """Returns a face set in motion, ``(N_MOVING, *config.video_shape[1:])``; each in its own way, always the same."""
    clip = animate_still(faces.images[index], N_MOVING, np.random.default_rng(index))
    return np.broadcast_to(clip[..., None], (N_MOVING, *config.video_shape[1:]))


# ---- Scores ----


def score_answers(
    answers: Answers, mode: str, temperature: float, class_names: tuple[str, ...], groups: Groups | None = None
) -> dict[str, Any]:
    """Scores answers at a temperature.

    Args:
        groups: by the name of their entry in the report, such as ``by_language``, which group each clip is of; clips
            of ``""`` are of none.

    Returns:
        A report as of ``build_report`` with the groups' scores, ``temperature``, ``ece`` and ``ece_if_perfect``; see
        ``measure_calibration``. Where speakers are known, each one's calibration is measured at the temperature that
        fits the others.
    """
    merged = answers.merged(temperature)
    is_speech = bool(answers.sexes.any())
    rows = zip(answers.classes, merged, answers.groups.tolist(), answers.sexes.tolist(), strict=True)
    judgements = [
        Judgement(str(i), int(index), row, EVIDENCE[mode], *((speaker, sex) if is_speech else (None, None)))
        for i, (index, row, speaker, sex) in enumerate(rows)
    ]
    report = build_report(judgements, class_names)
    for name, members in (groups or {}).items():
        report[name] = {
            group: uar_of(answers.classes[members == group], merged[members == group])
            for group in sorted(set(members.tolist()) - {""})
        }
    apart = merged.copy()
    for others, these in answers.apart() if is_speech else ():
        apart[these] = answers.part(these).merged(answers.part(others).fit_temperature())
    ece, if_perfect = measure_calibration(apart, answers.classes)
    kept = {name: value for name, value in report.items() if name not in LEFT_OUT}
    return {**kept, "temperature": temperature, "ece": ece, "ece_if_perfect": if_perfect}


def uar_of(classes: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Returns ``n``, ``uar`` and ``n_emotions``, the number of classes that occur."""
    matrix = compute_confusion_matrix(classes, probabilities.argmax(axis=1), probabilities.shape[1])
    return {"n": len(classes), "uar": compute_scores(matrix)["uar"], "n_emotions": len(np.unique(classes))}
