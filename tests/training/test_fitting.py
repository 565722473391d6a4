"""Training from clips to a run folder: what it leaves, what it survives, and what it refuses."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
from recording import Recorder
from small_models import EMOTIONS, tiny_config

from emotion.config import CalibrationConfig
from emotion.datasets import DATASETS
from emotion.datasets.preparation import prepare_clips
from emotion.datasets.split_files import load_splits
from emotion.datasets.splits import check_split
from emotion.datasets.synthetic.clips import write_synthetic_dataset
from emotion.errors import ConfigError, DatasetError, RunError
from emotion.inference.predictor import EmotionPredictor
from emotion.models import build_model
from emotion.models.run_folder import check_run, load_run
from emotion.training import rated_clips
from emotion.training.callbacks import EpochCheckpoint, load_state
from emotion.training.fitting import load_history, train

pytestmark = [pytest.mark.trains, pytest.mark.usefixtures("eagerly", "tiny_design")]


@pytest.fixture(scope="module")
def trained(clips, cache_dir, tmp_path_factory, eagerly, tiny_design):
    return train(clips, tiny_config(), tmp_path_factory.mktemp("trained") / "tiny", cache_dir=cache_dir)


class Killed(BaseException):
    """Stands for a kill: nothing in the program catches it."""


def test_a_training_leaves_a_folder_that_describes_itself(trained):
    files = {path.name for path in trained.path.iterdir()}
    assert files >= {
        "config.json", "model.keras", "splits.csv", "history.csv", "metrics.json", "training_curves.png",
        "confusion_matrix.png", "tensorboard",
    }  # fmt: skip
    assert "checkpoint" not in files
    metrics = json.loads((trained.path / "metrics.json").read_text())
    assert metrics["protocol"].startswith("speaker-independent")
    assert metrics["test"]["n"] == 4
    assert len(metrics["test"]["confusion_matrix"]) == len(EMOTIONS)
    assert load_history(trained.path / "history.csv")["epoch"] == [0, 1]
    assert (trained.path / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
    assert any((trained.path / "tensorboard").rglob("events.*"))


def test_no_speaker_stands_in_two_sides_of_a_training(trained, clips):
    split = load_splits(trained.path / "splits.csv")
    check_split(split, clips)
    speakers = {
        side: {clip.speaker for clip in clips if split.sides[clip.clip_id] == side}
        for side in ("train", "validation", "test")
    }
    assert all(speakers.values())
    assert sum(len(names) for names in speakers.values()) == len(set.union(*speakers.values()))


def test_the_model_is_saved_without_the_optimizers_state(trained):
    assert getattr(load_run(trained.path).model, "optimizer", None) is None


def test_the_scores_of_the_loaded_model_are_those_that_were_written(trained, clips):
    from emotion.evaluation.judging import build_report, judge_clips

    run = load_run(trained.path)
    split = load_splits(trained.path / "splits.csv")
    test_clips = [clip for clip in clips if split.sides[clip.clip_id] == "test"]
    scores = build_report(judge_clips(test_clips, run).judgements, run.config.class_names)
    assert scores["confusion_matrix"] == trained.metrics["test"]["confusion_matrix"]


def test_one_seed_gives_one_training(trained, clips, cache_dir, tmp_path):
    again = train(clips, tiny_config(), tmp_path / "again", cache_dir=cache_dir)
    first, second = (load_history(result.path / "history.csv") for result in (trained, again))
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-4)


@pytest.mark.thorough  # test_loop kills a smaller one
def test_a_killed_training_resumes_at_the_same_epoch_with_the_same_state(clips, cache_dir, tmp_path, monkeypatch):
    config = dataclasses.replace(
        tiny_config(), training=dataclasses.replace(tiny_config().training, epochs=4, reduce_patience_epochs=1)
    )
    output = tmp_path / "run"
    save = EpochCheckpoint.on_epoch_end

    def killed_in_the_third_epoch(self, epoch, logs=None):
        if epoch == 2:
            raise Killed
        save(self, epoch, logs)

    monkeypatch.setattr(EpochCheckpoint, "on_epoch_end", killed_in_the_third_epoch)
    with pytest.raises(Killed):
        train(clips, config, output, cache_dir=cache_dir)
    monkeypatch.setattr(EpochCheckpoint, "on_epoch_end", save)
    state = load_state(output / "checkpoint")
    assert state["epochs_done"] == 2
    assert state["callbacks"]["early_stopping"].keys() >= {"best", "wait"}
    uninterrupted = train(clips, config, tmp_path / "whole", cache_dir=cache_dir)

    started = []
    fit = keras.Model.fit

    def noting_fit(self, *args, **kwargs):
        started.append((kwargs["initial_epoch"], int(self.optimizer.iterations)))
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "fit", noting_fit)
    result = train(clips, config, output, cache_dir=cache_dir, resume=True)
    n_batches = 2  # 8 clips to train on, 4 a batch
    assert started == [(2, 2 * n_batches)]
    history, whole = (load_history(path / "history.csv") for path in (output, uninterrupted.path))
    assert history["epoch"] == [0, 1, 2, 3]
    for name in whole:
        np.testing.assert_allclose(history[name], whole[name], rtol=1e-4, err_msg=name)
    assert result.metrics["test"]["confusion_matrix"] == uninterrupted.metrics["test"]["confusion_matrix"]


def test_a_kill_between_two_epochs_saves_leaves_one_that_is_whole(tmp_path):
    folder = tmp_path / "checkpoint"
    old = tmp_path / "checkpoint.old"
    old.mkdir()
    (old / "state.json").write_text('{"epochs_done": 5, "callbacks": {}}')
    assert load_state(folder)["epochs_done"] == 5
    assert (folder / "state.json").is_file()


@pytest.mark.thorough
def test_a_better_network_of_an_epoch_that_was_never_completed_is_not_kept(clips, cache_dir, tmp_path, monkeypatch):
    output = tmp_path / "run"

    def killed(self, epoch, logs=None):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(EpochCheckpoint, "on_epoch_end", killed)
        with pytest.raises(Killed):
            train(clips, tiny_config(), output, cache_dir=cache_dir)
    assert (output / "candidate.keras").exists()
    (output / "candidate.keras").write_bytes(b"half a file")
    train(clips, tiny_config(), output, cache_dir=cache_dir, resume=True)
    load_run(output)
    assert not (output / "candidate.keras").exists()


def test_a_training_that_diverges_ends_in_an_error_and_not_in_a_model(clips, cache_dir, tmp_path):
    config = tiny_config()
    object.__setattr__(config.training, "learning_rate", 1e30)  # far above what a config may ask for
    with pytest.raises(RunError, match="--lr"):
        train(clips, config, tmp_path / "run", cache_dir=cache_dir)
    assert not (tmp_path / "run" / "model.keras").exists()


def test_settings_the_network_cannot_be_built_with_are_named_before_anything_is_decoded(clips, tmp_path):
    config = dataclasses.replace(tiny_config(), model={"audio_dropout": 2})
    with pytest.raises(ConfigError, match="audio_dropout|dropout|rate"):
        train(clips, config, tmp_path / "run", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "run").exists()


def test_a_training_does_not_take_over_the_calibration_of_the_network_its_settings_came_from(clips, cache_dir):
    config = dataclasses.replace(tiny_config(), calibration=CalibrationConfig(voice=3.0, unsure_below=0.4))
    prepared = prepare_clips(clips, config, cache_dir, reporter=Recorder())
    assert prepared.config == tiny_config()


def test_an_output_that_is_a_file_is_refused(clips, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file"):
        train(clips, tiny_config(), tmp_path / "file", cache_dir=tmp_path / "cache")


def test_resuming_needs_a_training_that_is_not_finished(trained, clips, cache_dir, tmp_path):
    with pytest.raises(RunError, match="finished"):
        train(clips, tiny_config(), trained.path, cache_dir=cache_dir, resume=True)
    with pytest.raises(RunError, match="no training to resume"):
        train(clips, tiny_config(), tmp_path / "nothing", cache_dir=cache_dir, resume=True)


def test_a_training_never_overwrites_a_folder(trained, clips, cache_dir):
    with pytest.raises(RunError, match="not empty"):
        train(clips, tiny_config(), trained.path, cache_dir=cache_dir)


@pytest.mark.parametrize(
    ("kinds", "modality", "message"),
    [({"with_video": False}, "audio", "No clip holds faces"), ({"with_audio": False}, "video", "No clip holds voice")],
)
def test_one_modality_alone_is_what_a_network_is_built_for(kinds, modality, message, tmp_path):
    root = write_synthetic_dataset(
        tmp_path / "data", emotions=EMOTIONS, n_speakers=3, n_repetitions=1, duration_seconds=1.2, **kinds
    )
    said = []
    clips = DATASETS["ravdess"].load(root)
    prepared = prepare_clips(clips, tiny_config(), tmp_path / "c", reporter=Recorder(said=said))
    assert any(message in line for line in said)
    assert prepared.config.modalities == (modality,)
    assert set(build_model(prepared.config).input) == {modality}


def test_ravdess_as_downloaded_has_face_and_voice(tmp_path):
    root = write_synthetic_dataset(
        tmp_path / "data",
        emotions=EMOTIONS,
        n_speakers=3,
        n_repetitions=1,
        duration_seconds=1.2,
        layout="downloaded",
    )
    clips = DATASETS["ravdess"].load(root)
    prepared = prepare_clips(clips, tiny_config(), tmp_path / "cache", reporter=Recorder())
    assert prepared.config.modalities == ("audio", "video") and len(prepared.clips) == len(clips) == 6


def test_clips_that_cannot_be_used_are_left_out_and_said(clips, cache_dir, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\x00" * 500)
    bad = dataclasses.replace(clips[0], clip_id="ravdess:bad", video_path=str(broken), audio_path=None)
    other = [dataclasses.replace(clip, clip_id=f"{clip.clip_id}x", emotion="angry") for clip in clips[:3]]
    said = []
    result = train(
        [*clips, bad, *other], tiny_config(), tmp_path / "run", cache_dir=cache_dir, reporter=Recorder(said=said)
    )
    assert list(result.failures) == ["ravdess:bad"] and "broken.mp4" in result.failures["ravdess:bad"]
    assert result.metrics["n_skipped"] == 1
    assert any("angry 3" in line for line in said)


def test_rated_clips_teach_where_the_classes_lie(clips, cache_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(rated_clips, "LEAST_CLIPS", 2)
    places = {"happy": (0.9, 0.8), "sad": (-0.8, -0.7)}

    def rate(clip):
        pair = map(str, places.get(clip.emotion, (0, 0)))
        return dataclasses.replace(clip, details=dict(zip(rated_clips.DIMENSIONS, pair, strict=True)))

    rated = [rate(clip) for clip in clips]
    result = train(rated, tiny_config(), tmp_path / "run", cache_dir=cache_dir)
    assert set(result.metrics["valence_arousal"]["test"]["ccc"]) == {"valence", "arousal"}
    run = load_run(tmp_path / "run")
    assert set(run.places) == set(run.config.class_names)
    prediction = EmotionPredictor(run).predict(rated[0].video_path or rated[0].audio_path)
    assert prediction.places == run.places and prediction.to_dict()["valence_arousal"] == "learned"


def test_nothing_to_train_on_is_an_error(clips, cache_dir, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"")
    only = [dataclasses.replace(clips[0], video_path=None, audio_path=str(broken))]
    with pytest.raises(DatasetError, match=r"broken\.wav"):
        train(only, tiny_config(), tmp_path / "run", cache_dir=cache_dir)


def change_config(folder, part=None, **changes):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    (values[part] if part else values).update(changes)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("words", "damage"),
    [
        ("no such model folder", shutil.rmtree),
        (r"model\.keras", lambda folder: (folder / "model.keras").unlink()),
        (r"model\.keras", lambda folder: (folder / "model.keras").write_bytes(b"not a model")),
        ("git lfs pull", lambda folder: (folder / "model.keras").write_bytes(b"version https://git-lfs.github.com/")),
        ("2 classes", lambda folder: change_config(folder, class_names=["happy", "sad", "angry"])),
        ("video of shape", lambda folder: change_config(folder, "video", image_size=48)),
        ("colour", lambda folder: change_config(folder, colour=1)),
        (r"config\.json", lambda folder: (folder / "config.json").unlink()),
    ],
)  # fmt: skip
def test_a_damaged_or_inconsistent_folder_is_refused_with_what_is_wrong(trained, tmp_path, words, damage):
    copy = tmp_path / "copy"
    shutil.copytree(trained.path, copy)
    damage(copy)
    with pytest.raises(RunError, match=words):
        check_run(copy)
        load_run(copy)
