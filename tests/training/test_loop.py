"""The training loop: resumed where it was killed, and never trained twice."""

import errno

import keras
import numpy as np
import pytest

from emotion.errors import FileError, RunError
from emotion.models.run_folder import CHECKPOINT_DIR, HISTORY_FILE
from emotion.training.callbacks import load_state
from emotion.training.loop import CANDIDATE_FILE, fit_annealed

pytestmark = [pytest.mark.trains, pytest.mark.usefixtures("eagerly")]


class Killed(Exception):
    pass


class Batches(keras.utils.PyDataset):
    """Random numbers that follow from the epoch; notes the epochs, and dies at the beginning of one of them."""

    num_batches, epoch = 5, 0

    def __init__(self, killed_at: int | None = None):
        super().__init__()
        self.killed_at, self.epochs = killed_at, []

    def set_epoch(self, epoch):
        if epoch == self.killed_at:
            raise Killed
        self.epochs.append(epoch)
        self.epoch = epoch

    def __getitem__(self, batch):
        rng = np.random.default_rng((self.epoch, batch))
        return rng.standard_normal((8, 3)).astype(np.float32), rng.standard_normal((8, 2)).astype(np.float32)


def fit_small(folder, batches: Batches, learning_rate: float = 1e-2) -> list[np.ndarray]:
    """Trains a small network, with a loss that a file cannot name, and returns its weights."""

    def loss(targets, answers):
        return keras.ops.mean(keras.ops.square(targets - answers), axis=-1)

    keras.utils.set_random_seed(0)
    numbers = keras.Input((3,))
    x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(keras.layers.Dense(8)(numbers)))
    network = keras.Model(numbers, keras.layers.Dense(2)(x))
    fit_annealed(
        network, batches, loss, epochs=4, learning_rate=learning_rate, weight_decay=0.1, seed=0, folder=folder,
    )  # fmt: skip
    return network.get_weights()


def assert_same(one, other):
    for first, second in zip(one, other, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def test_a_killed_training_ends_like_one_that_was_not(tmp_path):
    with pytest.raises(Killed):
        fit_small(tmp_path / "killed", Batches(killed_at=2))
    resumed = Batches()
    weights = fit_small(tmp_path / "killed", resumed)
    assert resumed.epochs == [2, 3]
    assert_same(weights, fit_small(tmp_path / "whole", Batches()))
    histories = [(tmp_path / name / "history.csv").read_text().splitlines() for name in ("killed", "whole")]
    assert [len(rows) for rows in histories] == [5, 5] and histories[0][0] == histories[1][0]


def test_a_finished_training_is_loaded_and_not_trained_again(tmp_path):
    weights = fit_small(tmp_path, Batches())
    again = Batches()
    assert_same(fit_small(tmp_path, again), weights)
    assert again.epochs == []
    assert not (tmp_path / "checkpoint").exists()


def test_a_damaged_checkpoint_is_named(tmp_path):
    with pytest.raises(Killed):
        fit_small(tmp_path, Batches(killed_at=2))
    (tmp_path / "checkpoint" / "last.keras").write_bytes(b"half")
    with pytest.raises(RunError, match=r"last\.keras"):
        fit_small(tmp_path, Batches())


def test_a_training_that_diverges_is_not_kept(tmp_path):
    with pytest.raises(RunError, match="learning rate"):
        fit_small(tmp_path, Batches(), learning_rate=1e30)
    assert not (tmp_path / "trained.npz").exists()


@pytest.mark.parametrize("n_saved", [0, 2])
def test_a_full_disk_leaves_nothing_half_written_and_what_is_whole(tmp_path, monkeypatch, n_saved):
    save = keras.Model.save

    def save_until_full(self, path, **options):
        save(self, path, **options)
        if keras_state["n"] == n_saved:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        keras_state["n"] += 1

    keras_state = {"n": 0}
    monkeypatch.setattr(keras.Model, "save", save_until_full)
    with pytest.raises(FileError, match="no space left"):
        fit_small(tmp_path / "full", Batches())
    assert not list(tmp_path.rglob("*.partial")) and not list(tmp_path.rglob(CANDIDATE_FILE))
    if n_saved == 0:
        assert list((tmp_path / "full").iterdir()) == []
        return
    assert len((tmp_path / "full" / HISTORY_FILE).read_text().splitlines()) == 1 + n_saved
    assert load_state(tmp_path / "full" / CHECKPOINT_DIR)["epochs_done"] == n_saved
    monkeypatch.setattr(keras.Model, "save", save)
    assert_same(fit_small(tmp_path / "full", Batches()), fit_small(tmp_path / "whole", Batches()))
