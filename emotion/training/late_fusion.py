"""Joining two finished models, one of voices and one of faces, into a run that inference takes like any other."""

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
from emotion.datasets.split_files import read_rows, write_splits
from emotion.datasets.splits import SPEAKER_INDEPENDENT, Split, check_split
from emotion.errors import ConfigError, DatasetError
from emotion.evaluation.training_record import load_sides
from emotion.inputs.preprocessing import Preprocessor
from emotion.labels import class_index
from emotion.models import LATE_FUSION
from emotion.models.run_folder import SPLITS_FILE, Run, write_metrics, write_run

MIN_CLIPS = 10


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
    """Joins two experts and writes a run folder that inference and evaluation take like any other.

    Args:
        audio, video: the experts, each of one modality.
        clips: labelled recordings, among them some that neither expert learned from.
        output: the folder to write.
        method: one of ``FUSION_METHODS``.
        by_class: whether each class has weights of its own.
        cache_dir: where decoded clips are kept.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        ConfigError: if the experts do not go together.
        DatasetError: if too few clips are left to find the weights on.
    """
    from emotion.evaluation.judging import judge_clips
    from emotion.models import build_model
    from emotion.models.calibration import choose_threshold
    from emotion.training.fusion_weights import fit_fusion

    config = join_configs(audio.config, video.config, method)
    cache = ClipCache(cache_dir, config)
    clips = [clip for clip in clips if class_index(clip.emotion, config.class_names) is not None]
    failures = cache.fill(clips, reporter=reporter)
    clips = [clip for clip in clips if clip.clip_id not in failures]
    for clip_id, reason in failures.items():
        reporter.say(f"left out {clip_id}: {reason}")
    sides = choose_sides(clips, [audio.path, video.path], cache.contents(clips))
    clips = [clip for clip in clips if sides[clip.clip_id] is not None]
    on = {side: tuple(clip.clip_id for clip in clips if sides[clip.clip_id] == side) for side in SIDES}
    split = Split(on[TRAIN], on[VALIDATION], on[TEST], _protocol(audio.path), audio.config.training.seed)
    check_split(split, clips, cache.contents(clips))
    fitted, whole = _gather(clips, sides, VALIDATION, cache, config, audio, video)
    n_classes = len(set(whole.class_indices.tolist())) if len(fitted) else 0
    if len(fitted) < MIN_CLIPS or n_classes < 2:
        raise DatasetError(
            f"Only {len(fitted)} clips hold a voice and a face and were not learned from; the weights need {MIN_CLIPS} "
            "at least, of two emotions. Give the data whose validation side the experts have, with face and voice."
        )
    reporter.say(f"Finding the weights on {len(fitted)} clips of the validation sides.")
    try:
        found = fit_fusion(whole, method, by_class=by_class)
    except ValueError as error:
        raise DatasetError(f"{error} Leave out --by_class, choose another --method, or add clips.") from error
    model = build_model(config)
    for modality, expert in (("audio", audio), ("video", video)):
        model.get_layer(f"{modality}_expert").set_weights(expert.model.get_weights())
    model.get_layer("joined").set_weights([np.array(found.temperatures), found.weights, found.bias])
    fused = Run(output, config, model, sha256="")
    judged = judge_clips(fitted, fused).judgements
    is_right = [judgement.class_index == int(np.argmax(judgement.probabilities)) for judgement in judged]
    threshold = choose_threshold([float(judgement.probabilities.max()) for judgement in judged], is_right)
    config = dataclasses.replace(config, calibration=CalibrationConfig(unsure_below=threshold))
    metrics = {
        "protocol": f"{split.protocol}; weights found on the validation sides of the experts: scores there flatter, "
        "those of the test side do not",
        "n_skipped": len(failures),
        "skipped": failures,
        "fusion": {
            "method": method, "by_class": by_class, "temperatures": list(found.temperatures),
            "weights": found.weights.tolist(), "bias": found.bias.tolist(),
        },
        **_score(clips, sides, fused, reporter),
    }  # fmt: skip
    output.mkdir(parents=True, exist_ok=True)
    write_splits(split, clips, output / SPLITS_FILE, cache.contents(clips))
    write_metrics(output, metrics)
    write_run(output, config, model)
    reporter.say(f"model: {output}")
    return metrics


def join_configs(audio: RunConfig, video: RunConfig, method: str) -> RunConfig:
    """Returns the settings of a model that joins two experts.

    Raises:
        ConfigError: if they do not go together.
    """
    for expert, modality in ((audio, "audio"), (video, "video")):
        if expert.modalities != (modality,):
            raise ConfigError(
                f"--{modality}: the model takes {' and '.join(expert.modalities)}. Train one by --modality {modality}."
            )
    if sorted(audio.class_names) != sorted(video.class_names):
        raise ConfigError(
            f"The experts tell different emotions apart: {', '.join(audio.class_names)}; "
            f"{', '.join(video.class_names)}. Train both with the same --labels."
        )
    if audio.window.window_seconds != video.window.window_seconds:
        raise ConfigError(
            f"The experts judge windows of {audio.window.window_seconds:g} and {video.window.window_seconds:g} s. "
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
    """Returns what each clip may be used for, by what the experts have met of it.

    A clip that one of them learned from is of the training side; one by which an expert's best epoch was chosen finds
    weights; one that both know as a test, or the one and the other not at all, tests. What no expert lists is None:
    it may be of people that they learned from. Where speakers are kept apart all clips of one have one side.

    Raises:
        ConfigError: if an expert's folder does not record what it met.
    """
    met: dict[str, set[str]] = {clip.clip_id: set() for clip in clips}
    for run in runs:
        if not (run / SPLITS_FILE).is_file():
            raise ConfigError(
                f"{run}: has no {SPLITS_FILE} that tells what the expert met. Train it with train_model.py."
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


def _gather(clips, sides, side: str, cache: ClipCache, config: RunConfig, audio: Run, video: Run):
    """Returns the clips of a side that hold both, and what the experts say of their windows."""
    from emotion.inputs.window_cutter import cut_clip
    from emotion.training.fusion_weights import JoinedClips

    preprocessor, order = Preprocessor(config), [video.config.class_names.index(n) for n in config.class_names]
    chosen, heard, seen, classes = [], [], [], []
    # Once: each run traces its network anew.
    audio, video = audio.without_calibration(), video.without_calibration()
    for clip in clips:
        if sides[clip.clip_id] != side:
            continue
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


def _score(clips, sides, fused: Run, reporter) -> dict[str, Any]:
    """Scores the whole, and each expert in it alone, on the validation and the test side."""
    from emotion.evaluation.judging import build_report, judge_clips

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
    rows = read_rows(run / SPLITS_FILE) if (run / SPLITS_FILE).is_file() else []
    return rows[0]["protocol"] if rows else "random"
