"""Starts a training from a trained model: its encoders stay, and its last layer is the beginning of a new one."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from emotion.config import CalibrationConfig, DataSource, RunConfig
from emotion.console import SILENT, Reporter
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.errors import ConfigError
from emotion.evaluation.judging import Judgement
from emotion.labels import class_index
from emotion.models import LATE_FUSION, build_model
from emotion.models.calibration import apply_temperature, softmax
from emotion.models.fusion import HEAD
from emotion.models.trained_model import Run
from emotion.training.calibrating import Answers
from emotion.training.evidence import EVIDENCE, gather_by_evidence
from emotion.training.head import FittedHead, HeadRows, LastLayer, compute_head_rows, find_gates, fit_head

# The settings that follow from the weights.
INHERITED = ("architecture", "modalities", "audio", "video", "window", "model", "calibration")
JUDGED_BY = {"both": "both", "face": "video_only", "voice": "audio_only"}  # as ``Judgement.evidence``


@dataclass(frozen=True)
class Started:
    """A network with a new last layer, and what is known of it.

    Attributes:
        model: the network.
        clips: those that were learned from.
        rows: what the last layer gets for them.
        fitted: the last layer.
        was_right: ``(n_clips,)`` bool: whether the model that was started from is right about them; False where it has
            no such class.
        is_comparable: ``(n_clips,)`` bool: whether it has.
    """

    model: keras.Model
    clips: list[Clip]
    rows: HeadRows
    fitted: FittedHead
    was_right: np.ndarray
    is_comparable: np.ndarray

    def answers(self, config: RunConfig) -> dict[str, Answers]:
        """Returns uncalibrated answers about the clips, by layers that did not learn from their speakers."""

        def by_clip() -> Iterator[tuple[int, str, np.ndarray]]:
            for index in range(len(self.clips)):
                for place, kind in enumerate(EVIDENCE):
                    chosen = (self.rows.owners == index) & (self.rows.kinds == place)
                    if chosen.any():
                        yield index, kind, self.fitted.held_out[chosen]

        return gather_by_evidence(self.clips, config, by_clip())

    def judge(self, chosen: Sequence[Clip], calibration: CalibrationConfig) -> list[Judgement]:
        """Returns such answers about some of the clips, by all evidence that they hold."""
        wanted = {clip.clip_id for clip in chosen}
        temperatures = temperatures_of(calibration)[self.rows.kinds]
        merged = self.rows.merged(apply_temperature(self.fitted.held_out, temperatures))
        evidence = dict(zip(self.rows.owners[self.rows.is_main], self.rows.kinds[self.rows.is_main], strict=True))
        return [
            Judgement(
                clip.clip_id, int(self.rows.classes[index]), merged[index], JUDGED_BY[EVIDENCE[evidence[index]]],
                clip.speaker, clip.sex,
            )
            for index, clip in enumerate(self.clips)
            if clip.clip_id in wanted
        ]  # fmt: skip


def inherit_settings(initial: Run, config: RunConfig) -> RunConfig:
    """Returns a training's settings with those of the model that it starts from where the weights ask for it.

    Raises:
        ConfigError: if a model of its kind cannot be started from.
    """
    if initial.config.architecture == LATE_FUSION:
        raise ConfigError(f"--init {initial.path}: joins two models. Start from one of them, and join them anew.")
    source = DataSource(f"started from the model {initial.path.name}", "see its own card", 0)
    inherited = {name: getattr(initial.config, name) for name in INHERITED}
    data = (*config.data, *initial.config.data, source)
    return dataclasses.replace(config, **inherited, data=data)


def start_from(
    initial: Run,
    config: RunConfig,
    clips: Sequence[Clip],
    cache: ClipCache,
    *,
    reporter: Reporter = SILENT,
) -> Started:
    """Builds a network with the encoders of a trained one and a last layer that is fitted on clips.

    Args:
        config: with the classes wanted, and as ``inherit_settings`` returns it.
        clips: to learn from, of emotions that the classes cover; ``cache`` holds them.
    """
    model = build_model(config)
    for layer in model.layers:
        if layer.weights and layer.name != HEAD:
            layer.set_weights(initial.model.get_layer(layer.name).get_weights())
    theirs = LastLayer(*initial.model.get_layer(HEAD).get_weights())
    rows, clips = compute_head_rows(initial.model, config, clips, cache, reporter=reporter)
    columns = [class_index(name, initial.config.class_names) for name in config.class_names]
    fitted = fit_head(
        rows, choose_columns(theirs, columns), initial.config.calibration, find_gates(initial.model),
        balance=config.training.balance,
    )  # fmt: skip
    model.get_layer(HEAD).set_weights([fitted.head.kernel, fitted.head.bias])
    known = [class_index(clip.emotion, initial.config.class_names) for clip in clips]
    temperatures = temperatures_of(initial.config.calibration)[rows.kinds, None]
    before = rows.merged(softmax(theirs.logits(rows.features) / temperatures)).argmax(axis=1)
    was_right = np.array([index == answer for index, answer in zip(known, before.tolist(), strict=True)])
    return Started(model, clips, rows, fitted, was_right, np.array([index is not None for index in known]))


def choose_columns(head: LastLayer, columns: Sequence[int | None]) -> LastLayer:
    """Returns a last layer for other classes: each has the weights of one of the old ones, or their mean (None)."""
    kernel, bias = head.kernel, head.bias
    return LastLayer(
        np.stack([kernel.mean(axis=1) if c is None else kernel[:, c] for c in columns], axis=1),
        np.array([bias.mean() if c is None else bias[c] for c in columns], np.float32),
    )


def temperatures_of(calibration: CalibrationConfig) -> np.ndarray:
    """Returns the temperatures of the kinds of ``EVIDENCE``."""
    return np.array([getattr(calibration, kind) for kind in EVIDENCE])


# ---- What came of it ----


def describe_start(started: Started, name: str) -> str:
    """Returns a line on how the last layer was chosen."""
    fitted = started.fitted
    if math.isinf(fitted.ridge):
        return f"The last layer of {name} stays as it is: no change of it helped with people it was not fitted on."
    losses = fitted.losses
    return (
        f"A new last layer was fitted, {fitted.n_folds} times without some of the people to choose how far it may "
        f"leave that of {name}: mean loss on these {losses[fitted.ridge]:.2f}, unchanged {losses[math.inf]:.2f}."
    )


def compare_with_start(started: Started, tested: Sequence[Judgement], before: Sequence[Judgement]) -> dict[str, Any]:
    """Compares a model with the one that it was started from, on clips that neither learned from.

    Args:
        tested: answers of the new model about the test side.
        before: those of the old one about the same clips, as far as it has their classes.

    Returns:
        JSON types: ``held_out`` and ``test``, each with ``n``, ``right`` and ``right_before`` on the clips of classes
        that both have, ``n_new`` and ``right_new`` on the others; ``n_more_right``.
    """

    def count(is_right: np.ndarray, was_right: np.ndarray, is_comparable: np.ndarray) -> dict[str, int]:
        return {
            "n": int(is_comparable.sum()), "right": int(is_right[is_comparable].sum()),
            "right_before": int(was_right.sum()), "n_new": int((~is_comparable).sum()),
            "right_new": int(is_right[~is_comparable].sum()),
        }  # fmt: skip

    held_out = started.judge(started.clips, CalibrationConfig())
    was_right = {judgement.clip_id: _is_right(judgement) for judgement in before}
    is_known = np.array([judgement.clip_id in was_right for judgement in tested], bool)
    compared = {
        "held_out": count(np.array([_is_right(j) for j in held_out], bool), started.was_right, started.is_comparable),
        "test": count(
            np.array([_is_right(j) for j in tested], bool),
            np.array([was_right.get(j.clip_id, False) for j in tested], bool), is_known,
        ),
    }  # fmt: skip
    return {**compared, "n_more_right": sum(part["right"] - part["right_before"] for part in compared.values())}


def _is_right(judgement: Judgement) -> bool:
    return int(np.argmax(judgement.probabilities)) == judgement.class_index


def pool_comparisons(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the comparison of several folds' test sides together; what they learned from are each other's."""
    tests = [fold["test"] for fold in folds]
    pooled = {name: sum(test[name] for test in tests) for name in tests[0]}
    nothing = dict.fromkeys(pooled, 0)
    gained = pooled["right"] - pooled["right_before"]
    return {"model": folds[0]["model"], "held_out": nothing, "test": pooled, "n_more_right": gained}


def format_comparison(compared: Mapping[str, Any], output: str | None) -> str:
    """Returns the comparison as text, and which model to use; ``output`` is the new one's folder, if there is one."""
    name = compared["model"]
    words = {
        "held_out": "clips that were learned from, each judged by a last layer without its speaker's clips",
        "test": "clips of the test side",
    }
    lines = []
    for part, what in words.items():
        counts = compared[part]
        if counts["n"]:
            lines.append(
                f"{counts['n']} {what}: {counts['right']} right; {name} as it is: {counts['right_before']} right"
            )
        if counts["n_new"]:
            lines.append(
                f"{counts['n_new']} {what}, of emotions that {name} has no class for: {counts['right_new']} right"
            )
    use, has_new = f": use --model {output}" if output else "", any(compared[part]["n_new"] for part in words)
    if compared["n_more_right"] > 0:
        lines.append(f"Better than {name}{use}")
    elif has_new:
        lines.append(f"No better than {name} on the emotions that both know, but it has others{use} if you need these")
    else:
        lines.append(f"No better than {name} as it is: use --model {name}, or give more clips, of more people")
    return "\n".join(lines)
