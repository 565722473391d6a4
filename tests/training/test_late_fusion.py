"""Late fusion: weights that are found again, answers that stand where one expert is silent, and runs like any other."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from recording import Recorder
from small_models import EMOTIONS, TINY_DESIGN, random_inputs, small_design, write_small_run

import train_model
from emotion.config import FUSION_METHODS
from emotion.config_files import to_dict
from emotion.console import run_program
from emotion.datasets.clips import Clip
from emotion.datasets.split_files import load_splits
from emotion.errors import ConfigError, DatasetError
from emotion.inference.predictor import EmotionPredictor
from emotion.models import build_model
from emotion.models.late_fusion import JoinedAnswers
from emotion.models.run_folder import load_run
from emotion.training.fitting import train
from emotion.training.fusion_weights import JoinedClips, fit_fusion, fit_weights
from emotion.training.late_fusion import choose_sides, fuse_runs, join_configs

CLASSES = 3


def make_clips(n: int = 300, *, audio_noise: float = 1.0, video_noise: float = 1.0, seed: int = 0) -> JoinedClips:
    """Two experts with noises of their own, both three times as sure as they should be, on clips of two windows."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % CLASSES

    def side(noise):
        evidence = np.eye(CLASSES)[classes][:, None] + noise * rng.normal(size=(n, 2, CLASSES))
        powers = np.exp(3 * evidence / noise**2)
        return list(powers / powers.sum(axis=-1, keepdims=True))

    return JoinedClips(side(audio_noise), side(video_noise), classes)


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("method", FUSION_METHODS)
def test_joined_answers_are_better_than_either_experts(method, by_class):
    clips, strangers = make_clips(), make_clips(seed=1)
    weights = fit_fusion(clips, method, by_class=by_class)

    def accuracy(answers):
        return (np.argmax(answers, axis=1) == strangers.class_indices).mean()

    alone = [
        accuracy(np.stack([windows.mean(axis=0) for windows in side])) for side in (strangers.audio, strangers.video)
    ]
    joined = np.stack([
        weights.join(*windows).mean(axis=0) for windows in zip(strangers.audio, strangers.video, strict=True)
    ])  # fmt: skip
    np.testing.assert_allclose(joined.sum(axis=1), 1, atol=1e-6)
    assert accuracy(joined) > max(alone) + 0.02
    # Both were too sure, and calibration found it out.
    assert all(temperature > 1.5 for temperature in weights.temperatures)
    of_truth = joined[np.arange(len(joined)), strangers.class_indices]
    assert -np.log(of_truth).mean() < np.log(CLASSES)


def test_the_better_expert_counts_for_more_in_an_average():
    weights = fit_fusion(make_clips(audio_noise=3.0, video_noise=0.7), "average")
    assert weights.weights[1].min() > 1.5 * weights.weights[0].max()
    assert np.ptp(weights.weights, axis=1).max() == 0  # one weight for all classes


def test_of_two_branches_the_one_that_knows_more_gets_the_greater_weight():
    """As recipes join branches: by their logits, with one face for all windows of a voice."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 4, 300)
    truth = np.eye(4)[classes]
    clever = truth * 3 + rng.standard_normal((300, 4))
    dull = truth * 0.3 + rng.standard_normal((300, 4))
    weights = fit_weights([np.stack([row, row]) for row in dull], [np.stack([row, row]) for row in clever], classes)
    assert weights[1, 0] > 3 * weights[0, 0] > 0
    assert ((weights[0] * dull + weights[1] * clever).argmax(axis=1) == classes).mean() > 0.9


def test_classes_have_weights_of_their_own_only_where_there_are_enough_clips():
    few = make_clips(n=4)
    with pytest.raises(ValueError, match="need 2 clips"):
        fit_fusion(few, "average", by_class=True)
    with pytest.raises(ValueError, match="need 2 clips"):
        fit_fusion(few, "stacking")
    with pytest.raises(ValueError, match="method must be one of"):
        fit_fusion(few, "sum")
    with pytest.raises(ValueError, match="got none"):
        fit_fusion(JoinedClips([], [], np.zeros(0, int)), "average")


@pytest.mark.parametrize("method", FUSION_METHODS)
def test_the_layer_answers_as_the_weights_were_fitted(method):
    clips = make_clips(60)
    weights = fit_fusion(clips, method)
    audio, video = (np.concatenate(side).astype(np.float32) for side in (clips.audio, clips.video))
    order = [2, 0, 1]
    layer = JoinedAnswers(method, [order.index(i) for i in range(CLASSES)])
    ones, zeros = np.ones((len(audio), 1), np.float32), np.zeros((len(audio), 1), np.float32)
    layer.build([audio.shape, video.shape, ones.shape, ones.shape])
    layer.set_weights([np.array(weights.temperatures), weights.weights, weights.bias])
    shuffled = video[:, order]  # the expert of pictures has the classes in another order
    joined = np.asarray(layer([audio, shuffled, ones, ones]))
    np.testing.assert_allclose(joined, weights.join(audio, video), atol=1e-5)
    only_audio = np.asarray(layer([audio, shuffled, ones, zeros]))
    assert (only_audio.argmax(axis=1) == audio.argmax(axis=1)).all() and only_audio.max() < audio.max()
    only_video = np.asarray(layer([audio, shuffled, zeros, ones]))
    assert (only_video.argmax(axis=1) == video.argmax(axis=1)).all()
    np.testing.assert_allclose(np.asarray(layer([audio, shuffled, zeros, zeros])), 1 / CLASSES, atol=1e-6)


# ---- Runs ----


@pytest.fixture(scope="module")
def experts(clips, cache_dir, tmp_path_factory, eagerly):
    """An expert of voices and one of faces, of two designs."""
    folder = tmp_path_factory.mktemp("experts")
    configs = {
        "audio": small_design("logmel_cnn", modalities=("audio",)),
        "video": small_design("mfcc_cnn_3d", modalities=("video",), class_names=EMOTIONS[::-1]),
    }
    return {
        modality: train(clips, config, folder / modality, cache_dir=cache_dir).path
        for modality, config in configs.items()
    }


@pytest.mark.thorough  # the next one joins two, too
@pytest.mark.parametrize("method", FUSION_METHODS)
def test_two_runs_become_one_that_inference_takes_like_any_other(
    method, experts, clips, cache_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr("emotion.training.late_fusion.MIN_CLIPS", 2)
    runs = [load_run(experts[modality]) for modality in ("audio", "video")]
    said = []
    metrics = fuse_runs(
        *runs, clips, tmp_path / "run", method=method, cache_dir=cache_dir, reporter=Recorder(said=said)
    )
    assert metrics["test"]["both"]["n"] == metrics["test"]["audio"]["n"] == 4
    assert any(line.startswith("test, both: UAR") for line in said)
    run = load_run(tmp_path / "run")
    assert run.config.class_names == EMOTIONS and run.config.architecture == "late_fusion"
    # Each expert alone is heard in it: with the other one absent the order of its answers stands.
    inputs = random_inputs(run.config, n=3)
    silent = {**inputs, "audio": np.zeros_like(inputs["audio"])}
    of_expert = runs[1].predict({"video": inputs["video"]})[:, ::-1]
    assert (run.predict(silent).argmax(axis=1) == of_expert.argmax(axis=1)).all()
    saved = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert saved["fusion"]["method"] == method and len(saved["fusion"]["temperatures"]) == 2
    both, audio = (load_splits(path / "splits.csv") for path in (tmp_path / "run", experts["audio"]))
    assert set(both.test) <= set(audio.test) | set(load_splits(experts["video"] / "splits.csv").test)
    assert set(audio.train) <= set(both.train)
    if method == FUSION_METHODS[0]:  # in a process that has built no such network before
        code = f"from emotion.models.run_folder import load_run; load_run({str(tmp_path / 'run')!r})"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    picture = next(clip.video_path for clip in clips if clip.video_path)
    assert EmotionPredictor(run).predict(picture).overall.emotion in (*EMOTIONS, "unsure")


def test_experts_that_do_not_go_together_are_refused_with_the_reason():
    audio, video = (small_design("logmel_cnn", modalities=(modality,)) for modality in ("audio", "video"))
    assert join_configs(audio, video, "average").class_names == audio.class_names
    with pytest.raises(ConfigError, match="--audio: the model takes video.*--modality audio"):
        join_configs(video, video, "average")
    other = dataclasses.replace(video, class_names=("happy", "angry"))
    with pytest.raises(ConfigError, match="--labels"):
        join_configs(audio, other, "average")
    longer = dataclasses.replace(video, window=dataclasses.replace(video.window, window_seconds=2.0))
    with pytest.raises(ConfigError, match="1 and 2 s.*--window_sec"):
        join_configs(audio, longer, "average")
    whole = dataclasses.replace(join_configs(audio, video, "average"), class_names=("happy", "angry"))
    with pytest.raises(ConfigError, match="audio_expert has other classes"):
        build_model(whole)
    with pytest.raises(ConfigError, match="late_fusion needs model.audio_expert"):
        build_model(dataclasses.replace(whole, model={"method": "average"}))
    assert to_dict(whole)["model"]["audio_expert"]["architecture"] == "logmel_cnn"


def write_side_table(folder, rows):
    """A run folder that says which clips stood where: ``(id, side, speaker, hashes)``."""
    folder.mkdir()
    lines = ["clip_id,side,emotion,speaker,protocol,seed,sha256"]
    lines += [f"{clip_id},{side},happy,{speaker},speaker,0,{digest}" for clip_id, side, speaker, digest in rows]
    (folder / "splits.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_clip_finds_weights_only_where_no_expert_learned_from_it_and_tests_only_where_none_was_chosen_by_it(tmp_path):
    def clip(number, speaker):
        return Clip(f"manifest:{number}", "happy", f"manifest:{speaker}", audio_path=f"{number}.wav")

    clips = [clip(1, "a"), clip(2, "b"), clip(3, "c"), clip(4, "d"), clip(5, "e"), clip(6, "a")]
    contents = {f"{number}.wav": str(number) * 64 for number in range(1, 7)}
    hashes = [str(number) * 64 for number in range(1, 7)]
    one = write_side_table(tmp_path / "one", [
        ("manifest:1", "train", "manifest:a", hashes[0]), ("manifest:2", "validation", "manifest:b", hashes[1]),
        ("manifest:3", "test", "manifest:c", hashes[2]), ("manifest:4", "test", "manifest:d", hashes[3]),
    ])  # fmt: skip
    other = write_side_table(tmp_path / "other", [
        ("manifest:2", "train", "manifest:b", hashes[1]), ("manifest:3", "validation", "manifest:c", hashes[2]),
        ("manifest:6", "test", "manifest:a", hashes[5]),
    ])  # fmt: skip
    sides = choose_sides(clips, [one, other], contents)
    # 6 was a test for one of them, but the other learned from its speaker; 5 is unknown to both.
    assert list(sides.values()) == ["train", "train", "validation", "test", None, "train"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="has no splits.csv"):
        choose_sides(clips, [one, tmp_path / "empty"], contents)


def test_stretches_of_one_file_are_told_apart(tmp_path):
    clips = [
        Clip(f"manifest:{i}", "happy", audio_path="long.wav", start_seconds=float(i), end_seconds=float(i + 1))
        for i in range(3)
    ]
    digest = "f" * 64
    rows = [
        (f"manifest:{i}", side, "", f"{digest}@{i}.0-{i + 1}.0")
        for i, side in enumerate(("train", "test", "validation"))
    ]
    run = write_side_table(tmp_path / "run", rows)
    sides = choose_sides(clips, [run], {"long.wav": digest})
    assert list(sides.values()) == ["train", "test", "validation"]


def test_clips_that_an_expert_learned_from_find_no_weights(clips, cache_dir, tmp_path):
    runs = []
    for modality, name in (("audio", "logmel_cnn"), ("video", "mfcc_cnn_3d")):
        folder = write_side_table(tmp_path / modality, [(clip.clip_id, "train", clip.speaker, "") for clip in clips])
        write_small_run(folder, small_design(name, modalities=(modality,)))
        runs.append(load_run(folder))
    with pytest.raises(DatasetError, match="Only 0 clips"):
        fuse_runs(*runs, clips, tmp_path / "run", method="average", cache_dir=cache_dir)
    assert not (tmp_path / "run").exists()


@pytest.mark.trains
def test_training_trains_both_experts_and_joins_them(
    dataset_dir, cache_dir, tmp_path, monkeypatch, capsys, eagerly, tiny_design
):
    monkeypatch.setattr("emotion.training.late_fusion.MIN_CLIPS", 2)
    settings = {"video": {"n_frames": 4, "image_size": 32}, "window": {"window_seconds": 1.0}}
    (tmp_path / "small.json").write_text(json.dumps(settings))
    words = ["--fusion", "late", "--audio_model", TINY_DESIGN, "--video_model", TINY_DESIGN, "--epochs", "1",
             "--dataset_dir", str(dataset_dir), "--cache_dir", str(cache_dir), "--output", str(tmp_path / "run"),
             "--config", str(tmp_path / "small.json"), "--no_progress", "--method", "average"]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["train_model.py", *words])
    assert run_program(train_model.main) == 0
    assert "test, both: UAR" in capsys.readouterr().out
    run = load_run(tmp_path / "run")
    for modality in ("audio", "video"):
        assert run.config.model[f"{modality}_expert"]["architecture"] == TINY_DESIGN
        assert load_run(tmp_path / "run" / f"{modality}_expert").config.modalities == (modality,)
    # Both experts had one split, and the fusion has the same.
    tables = [load_splits(path / "splits.csv") for path in (tmp_path / "run", *(tmp_path / "run").glob("*_expert"))]
    assert tables[0].test == tables[1].test == tables[2].test and tables[0].train == tables[1].train
