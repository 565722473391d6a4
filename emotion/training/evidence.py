"""Asks a network about clips by each kind of evidence: face and voice, the face alone, the voice alone."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from emotion.config import RunConfig
from emotion.console import SILENT, Reporter
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.inputs.clip_windows import cut_clip
from emotion.inputs.preprocessing import Preprocessor
from emotion.labels import class_index
from emotion.models.trained_model import Run
from emotion.training.calibrating import Answers

EVIDENCE = ("both", "face", "voice")  # as the temperatures of ``CalibrationConfig`` are called
MAX_WINDOWS = 6  # of a clip, spread over it

Inputs = dict[str, np.ndarray]


def windows_by_evidence(
    clips: Sequence[Clip],
    cache: ClipCache,
    config: RunConfig,
    *,
    any_length: bool = False,
    reporter: Reporter = SILENT,
) -> Iterator[tuple[int, str, Inputs]]:
    """Yields for each clip, and each kind of evidence that it holds, the index, the kind and the windows' inputs.

    A window with face and voice is yielded three times: as it is, and with either of them blanked out.

    Args:
        cache: holds the clips.
        any_length: whether the network takes fewer frames, which saves the time that absent ones cost.
    """
    preprocessor, bar = Preprocessor(config), reporter.bar("Encoding", "clips")
    for index, clip in enumerate(clips):
        windows = cut_clip(cache.load(clip), preprocessor)
        chosen = np.linspace(0, len(windows) - 1, min(len(windows), MAX_WINDOWS)).round().astype(int)
        for kind, rows in _sort([windows[place] for place in chosen]).items():
            inputs = {name: np.stack([row[name] for row in rows]) for name in config.modalities}
            if any_length and "video" in inputs:
                shown = np.flatnonzero(inputs["video"].any(axis=(0, 2, 3, 4)))
                inputs["video"] = inputs["video"][:, : int(shown[-1]) + 1 if len(shown) else 1]
            yield index, kind, inputs
        bar(index + 1, len(clips))


def _sort(windows: Sequence[Inputs]) -> dict[str, list[Inputs]]:
    ways: dict[str, list[Inputs]] = {}
    for window in windows:
        held = {name for name, values in window.items() if values.any()}
        if len(held) == 2:
            ways.setdefault("both", []).append(window)
        for name, kind in (("video", "face"), ("audio", "voice")):
            if name in held:
                blank = {other: np.zeros_like(values) for other, values in window.items() if other != name}
                ways.setdefault(kind, []).append({**window, **blank})
    return ways


def takes_any_length(model) -> bool:
    """Whether a Keras model takes clips of any number of frames."""
    return any(x.name == "video" and x.shape[1] is None for x in model.inputs)


def gather_by_evidence(
    clips: Sequence[Clip], config: RunConfig, asked: Iterator[tuple[int, str, np.ndarray]]
) -> dict[str, Answers]:
    """Returns a network's answers as a calibration takes them, by the kind of evidence.

    Args:
        clips: of emotions that the classes cover.
        asked: for clips, by their index, and a kind of evidence ``(n_windows, n_classes)`` probabilities.
    """
    found: dict[str, dict[int, np.ndarray]] = {kind: {} for kind in EVIDENCE}
    for index, kind, probabilities in asked:
        found[kind][index] = probabilities
    classes = np.array([class_index(clip.emotion, config.class_names) for clip in clips])
    groups, sexes = group_clips(clips), np.array([clip.sex or "" for clip in clips])
    answers = {}
    for kind, by_clip in found.items():
        if by_clip:
            chosen = np.array(sorted(by_clip))
            rows = [by_clip[index] for index in chosen.tolist()]
            answers[kind] = Answers(rows, classes[chosen], groups[chosen], sexes[chosen])
    return answers


def answer_by_evidence(
    run: Run, clips: Sequence[Clip], cache: ClipCache, *, reporter: Reporter = SILENT
) -> dict[str, Answers]:
    """Asks a model about clips that ``cache`` holds; returns its uncalibrated answers by the kind of evidence."""
    predict: Callable[[Inputs], np.ndarray] = run.without_calibration().predict
    any_length = run.runtime == "keras" and takes_any_length(run.model)
    asked = windows_by_evidence(clips, cache, run.config, any_length=any_length, reporter=reporter)
    return gather_by_evidence(clips, run.config, ((index, kind, predict(inputs)) for index, kind, inputs in asked))


def group_clips(clips: Sequence[Clip]) -> np.ndarray:
    """Returns ``(n,)`` what must stay together where clips are dealt: the speaker, or if unknown the clip itself.

    Clips of one speaker are dealt one by one, since no other speaker is there to compare with.
    """
    speakers = {clip.speaker for clip in clips}
    alone = len(speakers) == 1
    return np.array([clip.clip_id if alone or not clip.speaker else clip.speaker for clip in clips])
