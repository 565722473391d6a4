"""Training on several devices: the same losses and weights as on one, and what is refused."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from small_models import tiny_config

from emotion import train
from emotion.config_files import to_dict
from emotion.datasets.preparation import prepare_clips
from emotion.errors import ConfigError
from emotion.models.run_folder import load_run
from emotion.training.devices import Devices, Place
from emotion.training.fitting import load_history
from emotion.training.generators import ClipWindows

PROGRAM = Path(__file__).parents[1] / "support" / "train_tiny.py"
PATIENCE = 600  # seconds: other tests run beside
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


class Shared(Devices):
    """What batches ask devices for."""

    def __init__(self, n_processes: int, rank: int):
        self.n_devices, self.n_processes, self.rank = 2, n_processes, rank


@pytest.fixture(scope="module")
def prepared(clips, cache_dir, tiny_design):
    return prepare_clips(clips[:7], tiny_config(modalities=("audio",)), cache_dir)


def make_windows(prepared, *, training: bool, devices: Devices) -> ClipWindows:
    return ClipWindows(prepared.clips, prepared.cache, prepared.config, training=training, devices=devices)


@pytest.mark.parametrize("training", [True, False])
def test_the_parts_of_two_processes_are_the_batch_of_one(prepared, training):
    whole = make_windows(prepared, training=training, devices=Shared(1, 0))
    parts = [make_windows(prepared, training=training, devices=Shared(2, rank)) for rank in (0, 1)]
    for windows in (whole, *parts):
        windows.set_epoch(3)
    for batch in range(whole.num_batches):
        inputs, classes, weights = whole[batch]
        first, second = (windows[batch] for windows in parts)
        assert len(first[1]) == len(second[1]) == 2
        np.testing.assert_array_equal(inputs["audio"], np.concatenate([first[0]["audio"], second[0]["audio"]]))
        np.testing.assert_array_equal(classes, np.concatenate([first[1], second[1]]))
        np.testing.assert_array_equal(weights, np.concatenate([first[2], second[2]]))


def test_a_full_batch_is_that_of_one_device_and_the_last_one_is_filled_up(prepared):
    alone = make_windows(prepared, training=True, devices=Devices())
    shared = make_windows(prepared, training=True, devices=Shared(1, 0))
    np.testing.assert_array_equal(shared[0][0]["audio"], alone[0][0]["audio"])
    filled, rest = shared[1], alone[1]
    np.testing.assert_array_equal(filled[0]["audio"][:3], rest[0]["audio"])
    np.testing.assert_array_equal(filled[0]["audio"][3], alone[0][0]["audio"][0])


def test_clips_that_fill_up_a_batch_do_not_count_in_validation(prepared):
    shared = make_windows(prepared, training=False, devices=Shared(1, 0))
    weights = np.concatenate([shared[batch][2] for batch in range(shared.num_batches)])
    assert weights[7] == 0 and len(weights) == 8
    losses = np.arange(8)
    assert np.mean(losses * weights) == pytest.approx(np.mean(losses[:7]))  # as Keras reckons


# ---- What is refused ----


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["mirrored"], "only one. Leave it out."),
        (["data_parallel", "--output", "run"], "needs KERAS_BACKEND=jax"),
        (["data_parallel"], "needs --output"),
        (["multi_worker_mirrored"], "does not work in Keras 3"),
        (["sharded"], "choose from mirrored, data_parallel"),
        (["mirrored", "--process_id", "1"], "go together"),
        (["mirrored", "--fusion", "late"], "--strategy trains one model"),
        (["mirrored", "--protocol", "kfold"], "--strategy trains one model"),
        (["data_parallel", "--coordinator", "here", "--num_processes", "2", "--process_id", "0"], "HOST:PORT"),
        (["data_parallel", "--coordinator", "a:1", "--num_processes", "2", "--process_id", "2"], "lie in 0 to 1"),
    ],
)
def test_what_does_not_go_is_one_line(call, tmp_path, words, reason):
    ended = call(train, "--dataset_dir", tmp_path, "--strategy", *words, cwd=tmp_path)
    assert ended.code == 2
    assert reason in ended.err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_batch_that_cannot_be_shared_equally_is_refused():
    Shared(1, 0).check_batch(6)
    with pytest.raises(ConfigError, match="7 clips cannot be shared equally among 2 devices"):
        Shared(1, 0).check_batch(7)


def test_a_place_is_given_whole_or_not_at_all():
    with pytest.raises(ConfigError, match="all three, or none"):
        Place("10.0.0.1:1234", 2)


# ---- Whole trainings, each in processes of its own ----


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Trainer:
    """Starts trainings of the tiny design on the synthetic voices."""

    def __init__(self, folder: Path, dataset_dir: Path, cache_dir: Path):
        self.folder = folder
        # No layer draws at random: each device would draw for its own part of a batch.
        settings = {"modality_dropout": 0.0, "patience_epochs": 2, "reduce_patience_epochs": 1, "learning_rate": 0.03}
        config = to_dict(tiny_config(modalities=("audio",), training=settings))
        config["model"], config["training"]["epochs"] = {"fusion_dropout": 0.0}, 12
        (folder / "config.json").write_text(json.dumps(config))
        self._data = ["--dataset_dir", dataset_dir, "--cache_dir", cache_dir, "--no_progress"]

    def start(self, name: str, *words, options=(), backend: str = "tensorflow") -> subprocess.Popen:
        new = [] if "--resume" in words else ["--config", self.folder / "config.json"]
        command = [sys.executable, PROGRAM, *options, "--", *self._data, "--output", self.folder / name, *new, *words]
        env = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        return subprocess.Popen(
            list(map(str, command)), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run_on_jax(self, name: str, *words, killed=None) -> list[tuple[int, str, str]]:
        """Runs two processes; returns how each ended: exit code, output, errors."""
        together = ["--strategy", "data_parallel", "--coordinator", f"127.0.0.1:{free_port()}", "--num_processes", "2"]
        processes = [
            self.start(name, *words, *together, "--process_id", rank, backend="jax",
                       options=["--killed_after", killed] if rank == 1 and killed is not None else ())
            for rank in (0, 1)
        ]  # fmt: skip
        try:
            return [finish(process) for process in processes]
        finally:
            for process in processes:
                process.kill()

    def result(self, name: str) -> tuple[dict[str, list[float]], list[np.ndarray]]:
        """Returns a training's history and weights."""
        run = load_run(self.folder / name)
        norms = [layer for layer in run.model.layers if isinstance(layer, keras.layers.BatchNormalization)]
        assert norms and not any(norm.synchronized for norm in norms)
        return load_history(run.path / "history.csv"), run.model.get_weights()


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return process.returncode, out, err


def assert_same(one, other):
    assert one[0].keys() == other[0].keys()
    for name in one[0]:
        np.testing.assert_allclose(one[0][name], other[0][name], **TOLERANCE, err_msg=name)
    for first, second in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(first, second, **TOLERANCE)


@pytest.fixture(scope="module")
def trainer(dataset_dir, cache_dir, prepared, tmp_path_factory):
    return Trainer(tmp_path_factory.mktemp("devices"), dataset_dir, cache_dir)


@pytest.fixture(scope="module")
def mirrored(trainer):
    ends = [
        finish(trainer.start("one")),
        finish(trainer.start("mirrored", "--strategy", "mirrored", options=["--cpus", 2])),
    ]
    assert [code for code, *_ in ends] == [0, 0], ends
    return trainer.result("one"), trainer.result("mirrored")


@pytest.fixture(scope="module")
def parallel(trainer):
    alone = finish(trainer.start("jax_one", backend="jax"))
    ends = trainer.run_on_jax("jax_two")
    assert [code for code, *_ in (alone, *ends)] == [0, 0, 0], (alone, ends)
    return trainer.result("jax_one"), trainer.result("jax_two"), ends


@pytest.mark.trains
@pytest.mark.thorough
def test_mirrored_devices_learn_as_one_does(mirrored):
    one, two = mirrored
    assert_same(one, two)
    rates = one[0]["learning_rate"]
    assert rates[-1] < rates[0] and len(rates) < 12  # the plateau and the end of patience came


@pytest.mark.trains
@pytest.mark.thorough
def test_a_killed_mirrored_training_ends_like_one_that_was_not(trainer, mirrored):
    words = ["--strategy", "mirrored"]
    assert finish(trainer.start("killed", *words, options=["--cpus", 2, "--killed_after", 1]))[0] == 9
    assert finish(trainer.start("killed", "--resume", *words, options=["--cpus", 2]))[0] == 0
    assert_same(trainer.result("killed"), mirrored[1])


@pytest.mark.trains
@pytest.mark.thorough
def test_two_processes_learn_as_one_does_and_the_first_one_writes(parallel, trainer):
    one, two, ((_, out, _), (_, silence, _)) = parallel
    assert_same(one, two)
    assert "test: UAR" in out
    assert [line for line in silence.splitlines() if "[Gloo]" not in line] == []
    files = {path.name for path in (trainer.folder / "jax_two").iterdir()}
    assert files >= {"model.keras", "metrics.json", "predictions.csv"} and "checkpoint" not in files
    assert len(list((trainer.folder / "jax_two" / "tensorboard" / "train").iterdir())) == 1


@pytest.mark.trains
@pytest.mark.thorough
def test_a_training_goes_on_after_one_of_its_processes_was_killed(parallel, trainer):
    (code, _, err), (killed, *_) = trainer.run_on_jax("lost", killed=1)
    assert killed == 9 and code != 0
    assert "start all processes again with --resume" in err or "coordination" in err.lower()
    assert [code for code, *_ in trainer.run_on_jax("lost", "--resume")] == [0, 0]
    assert_same(trainer.result("lost"), parallel[1])


@pytest.mark.trains
@pytest.mark.thorough
def test_processes_that_find_other_clips_are_told(trainer):
    together = ["--strategy", "data_parallel", "--coordinator", f"127.0.0.1:{free_port()}", "--num_processes", "2"]
    processes = [
        trainer.start("other", *together, "--process_id", rank, "--seed", rank, backend="jax") for rank in (0, 1)
    ]
    for code, _, err in map(finish, processes):
        assert code == 2
        assert "Process 1 found other clips or settings than process 0" in err.splitlines()[-1]


@pytest.mark.trains
def test_a_process_that_is_left_alone_says_so(trainer):
    together = ["--coordinator", f"127.0.0.1:{free_port()}", "--num_processes", "2", "--process_id", "1"]
    words = ["--strategy", "data_parallel", *together]
    code, _, err = finish(trainer.start("alone", *words, options=["--join_seconds", 3], backend="jax"))
    assert code == 2
    assert "did not all meet at 127.0.0.1" in err.splitlines()[-1]


@pytest.mark.trains
@pytest.mark.thorough
def test_the_table_of_equal_losses(mirrored, parallel):
    """Prints the table in the lab notebook, under ``pytest -s``."""
    histories = [result[0] for result in (*mirrored, *parallel[:2])]
    print(
        "\n| epoch | TensorFlow, one device | mirrored, two | JAX, one process | two processes |\n|---|---|---|---|---|"
    )
    for epoch in range(max(len(history["loss"]) for history in histories)):
        cells = [
            f"{h['loss'][epoch]:.6f}, {h['val_loss'][epoch]:.6f}" if epoch < len(h["loss"]) else "" for h in histories
        ]
        print(f"| {epoch} | {' | '.join(cells)} |")
    for one, other in (mirrored, parallel[:2]):
        differences = [np.abs(a - b).max() for a, b in zip(one[1], other[1], strict=True)]
        print(f"largest difference of a weight: {max(differences):.1e}")
