"""Joins two finished models, one of voices and one of faces, into one run folder that works like any other."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emotion.config import MODALITIES, CalibrationConfig, RunConfig
from emotion.config_files import to_dict
from emotion.console import SILENT, Reporter
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import SIDES, TEST, TRAIN, VALIDATION, Clip
from emotion.datasets.split_files import read_split_rows, write_splits
from emotion.datasets.splits import SPEAKER_INDEPENDENT, Split, check_split
from emotion.errors import ConfigError, DatasetError
from emotion.evaluation.judging import build_report, judge_clips
from emotion.evaluation.training_record import load_sides
from emotion.files import make_folder
from emotion.inputs.clip_windows import cut_clip
from emotion.inputs.preprocessing import Preprocessor
from emotion.labels import class_index
from emotion.models import LATE_FUSION, build_model
from emotion.models.calibration import choose_threshold
from emotion.models.run_folder import SPLITS_FILE, write_metrics, write_run
from emotion.models.trained_model import Run
from emotion.training.fusion_weights import FusionWeights, JoinedClips, fit_fusion

MIN_CLIPS = 10  # to fit weights on


def fuse_runs(
    audio: Run,
    video: Run,
    clips: Sequence[Clip],
    output: Path,
    *,
    method: str,
    by_class: bool = False,
    cache_dir: Path,
    reporter: Reporter = SILENT,
) -> dict[str, Any]:
    """Fits the weights of two experts on the clips they were validated on, and writes the joint run folder.

    Args:
        audio, video: the experts, each of one modality.
        clips: labelled recordings; those that neither expert knows are not used.
        method: one of ``FUSION_METHODS``.
        by_class: whether each class has its own weights.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        ConfigError: if the experts do not go together.
        DatasetError: if too few clips are left to fit the weights on.
    """
    config = join_configs(audio.config, video.config, method)
    cache = ClipCache(cache_dir, config)
    clips = [clip for clip in clips if class_index(clip.emotion, config.class_names) is not None]
    failures = cache.fill(clips, reporter=reporter)
    for clip_id, reason in failures.items():
        reporter.warn(f"skipped {clip_id}: {reason}")
    clips = [clip for clip in clips if clip.clip_id not in failures]
    contents = cache.contents(clips)
    sides = choose_sides(clips, [audio.path, video.path], contents)
    clips = [clip for clip in clips if sides[clip.clip_id] is not None]
    on = {side: tuple(clip.clip_id for clip in clips if sides[clip.clip_id] == side) for side in SIDES}
    split = Split(on[TRAIN], on[VALIDATION], on[TEST], _protocol(audio.path), audio.config.training.seed)
    check_split(split, clips, contents)
    validation = [clip for clip in clips if sides[clip.clip_id] == VALIDATION]
    fitted, answers = _ask_experts(validation, cache, config, audio, video)
    found = _fit(answers, method, by_class=by_class, reporter=reporter)
    model = build_model(config)
    for modality, expert in (("audio", audio), ("video", video)):
        model.get_layer(f"{modality}_expert").set_weights(expert.model.get_weights())
    model.get_layer("joined").set_weights([np.array(found.temperatures), found.weights, found.bias])
    fused = Run(output, config, model, sha256="")
    judged = judge_clips(fitted, fused).judgements
    is_right = [judgement.class_index == int(np.argmax(judgement.probabilities)) for judgement in judged]
    threshold = choose_threshold([float(judgement.probabilities.max()) for judgement in judged], is_right)
    metrics = {
        "protocol": f"{split.protocol}; weights fitted on the validation sides of the experts: scores there flatter, "
        "scores of the test side do not",
        "n_skipped": len(failures),
        "skipped": failures,
        "fusion": {
            "method": method, "by_class": by_class, "temperatures": list(found.temperatures),
            "weights": found.weights.tolist(), "bias": found.bias.tolist(),
        },
        **_score(clips, sides, fused, reporter),
    }  # fmt: skip
    make_folder(output)
    write_splits(split, clips, output / SPLITS_FILE, contents)
    write_metrics(output, metrics)
    write_run(output, dataclasses.replace(config, calibration=CalibrationConfig(unsure_below=threshold)), model)
    reporter.say(f"model: {output}")
    return metrics


def join_configs(audio: RunConfig, video: RunConfig, method: str) -> RunConfig:
    """Returns the settings of the joint model, or raises a ``ConfigError`` if the experts do not go together."""
    for expert, modality in ((audio, "audio"), (video, "video")):
        if expert.modalities != (modality,):
            raise ConfigError(
                f"--{modality}: the model takes {' and '.join(expert.modalities)}. Train one with --modality "
                f"{modality}."
            )
    if sorted(audio.class_names) != sorted(video.class_names):
        raise ConfigError(
            f"The experts have different classes: {', '.join(audio.class_names)}; {', '.join(video.class_names)}. "
            "Train both with the same --labels."
        )
    if audio.window.window_seconds != video.window.window_seconds:
        raise ConfigError(
            f"The experts take windows of {audio.window.window_seconds:g} and {video.window.window_seconds:g} s. "
            "Train both with the same --window_sec."
        )
    sources = {source.name: source for source in (*audio.data, *video.data)}
    return RunConfig(
        architecture=LATE_FUSION,
        class_names=audio.class_names,
        audio=audio.audio,
        video=video.video,
        window=audio.window,
        training=audio.training,
        model={"method": method, "audio_expert": to_dict(audio), "video_expert": to_dict(video)},
        data=tuple(sources.values()),
    )


def choose_sides(clips: Sequence[Clip], runs: Sequence[Path], contents: Mapping[str, str]) -> dict[str, str | None]:
    """Returns the side of each clip in the fusion, by what the experts met of it.

    A clip that an expert learned from is of the training side; else, one that an expert was validated on fits the
    weights; else, one that an expert was tested on tests. None if no expert lists it: it may show people that they
    learned from. If both keep speakers apart, all clips of a speaker have one side.

    Raises:
        ConfigError: if an expert's folder has no record of its clips.
    """
    met: dict[str, set[str]] = {clip.clip_id: set() for clip in clips}
    for run in runs:
        if not (run / SPLITS_FILE).is_file():
            raise ConfigError(
                f"{run}: has no {SPLITS_FILE}, the record of what it learned from. Train it with train_model.py."
            )
        for side, seen in load_sides(run / SPLITS_FILE).items():
            for clip in clips:
                if seen.has_met(clip, contents):
                    met[clip.clip_id].add(side)
    if all(_protocol(run) in SPEAKER_INDEPENDENT for run in runs):
        of_speaker: dict[str, set[str]] = {}
        for clip in clips:
            of_speaker.setdefault(clip.speaker or clip.clip_id, set()).update(met[clip.clip_id])
        met = {clip.clip_id: met[clip.clip_id] and of_speaker[clip.speaker or clip.clip_id] for clip in clips}
    order = (TRAIN, VALIDATION, TEST)
    return {clip_id: next((side for side in order if side in sides), None) for clip_id, sides in met.items()}


def _ask_experts(
    clips: Sequence[Clip], cache: ClipCache, config: RunConfig, audio: Run, video: Run
) -> tuple[list[Clip], JoinedClips]:
    """Returns the clips with voice and face, and both experts' uncalibrated answers to their windows."""
    preprocessor, order = Preprocessor(config), [video.config.class_names.index(n) for n in config.class_names]
    chosen, heard, seen, classes = [], [], [], []
    # Once: each run traces its network anew.
    audio, video = audio.without_calibration(), video.without_calibration()
    for clip in clips:
        windows = [
            window
            for window in cut_clip(cache.load(clip), preprocessor)
            if window["audio"].any() and window["video"].any()
        ]
        if windows:
            chosen.append(clip)
            classes.append(class_index(clip.emotion, config.class_names))
            inputs = {name: np.stack([window[name] for window in windows]) for name in MODALITIES}
            heard.append(audio.predict({"audio": inputs["audio"]}))
            seen.append(video.predict({"video": inputs["video"]})[:, order])
    return chosen, JoinedClips(heard, seen, np.array(classes, int))


def _fit(answers: JoinedClips, method: str, *, by_class: bool, reporter: Reporter) -> FusionWeights:
    n_clips = len(answers.class_indices)
    if n_clips < MIN_CLIPS or len(set(answers.class_indices.tolist())) < 2:
        raise DatasetError(
            f"Only {n_clips} clips hold a voice and a face and were not learned from. The weights need at least "
            f"{MIN_CLIPS} clips, of two emotions. Give the data that the experts were validated on, with face and "
            "voice."
        )
    reporter.say(f"Fitting the weights on {n_clips} clips of the validation sides.")
    try:
        return fit_fusion(answers, method, by_class=by_class)
    except ValueError as error:
        raise DatasetError(f"{error} Leave out --by_class, choose another --method, or add clips.") from error


def _score(clips: Sequence[Clip], sides: Mapping[str, str | None], fused: Run, reporter: Reporter) -> dict[str, Any]:
    """Scores the joint model, and each expert in it alone, on the validation and the test side."""
    scores: dict[str, Any] = {}
    for side in (VALIDATION, TEST):
        chosen = [clip for clip in clips if sides[clip.clip_id] == side]
        for name, modalities in (("both", MODALITIES), ("audio", ("audio",)), ("video", ("video",))):
            judged = judge_clips(chosen, fused, modalities=modalities)
            if judged.judgements:
                names = fused.config.class_names
                report = build_report(judged.judgements, names, n_unanswered=judged.n_unanswered)
                scores.setdefault(side, {})[name] = report
                low, high = report["intervals"]["uar"]
                reporter.say(f"{side}, {name}: UAR {report['uar']:.1%} ({low:.1%} to {high:.1%}), n {report['n']}")
    return scores


def _protocol(run: Path) -> str:
    rows = read_split_rows(run / SPLITS_FILE) if (run / SPLITS_FILE).is_file() else []
    return rows[0]["protocol"] if rows else "random"
