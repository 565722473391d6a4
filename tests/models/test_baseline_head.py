"""``baseline.npz`` is read as it was written, and refused with the reason where it cannot be right."""

import shutil

import numpy as np
import pytest
from baselines import CLASSES, make_head
from refusals import refused
from small_models import small_config

from emotion.errors import ConfigError, RunError
from emotion.models.baseline_head import BASELINE_FILE, check_has_baseline, load_baseline, write_baseline
from emotion.models.run_folder import load_run

CONFIG = small_config(class_names=CLASSES)


@pytest.mark.parametrize("parts", [{}, {"face": False}, {"voice": False}])
def test_it_is_read_as_it_was_written(tmp_path, parts):
    head = make_head(temperature_voice=2.5, **parts)
    write_baseline(tmp_path, head)
    read = load_baseline(tmp_path, CONFIG)
    assert (read.own_seconds, read.temperature_voice, read.neutral_index) == (5.0, 2.5, 0)
    assert [read.temperature(kind) for kind in ("voice", "face", "face+voice")] == [2.5, 1.0, 1.0]
    for name in ("face", "voice"):
        one, other = getattr(head, name), getattr(read, name)
        assert (one is None) == (other is None)
        for field in vars(one) if one else ():
            np.testing.assert_allclose(getattr(other, field), getattr(one, field), rtol=1e-6)


def test_a_model_without_it_has_none_and_says_so_where_it_is_needed(tmp_path):
    assert load_baseline(tmp_path, CONFIG) is None
    with refused(ConfigError, "--reference", tmp_path, BASELINE_FILE):
        check_has_baseline(tmp_path, "--reference")


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"face_prior": None}, "face_prior"),
        ({"shoe_size": np.array(44)}, "shoe_size"),
        ({"own_seconds": None}, "own_seconds"),
        ({"face_neutral": np.full(2, 0.5)}, "face_neutral"),
        ({"face_prior": np.array([0.5, 0.5, 0.5])}, "face_prior"),
        ({"face_own_floor": np.array(0.0)}, "face_own_floor"),
        ({"temperature_face": np.array(-1.0)}, "temperature_face"),
        ({"face_own_exponent": np.array(-0.5)}, "face_own_exponent"),
        ({"voice_bias": np.ones(2)}, "voice_bias"),
        ({"voice_kernel": np.full((4, 3), np.nan)}, "voice_kernel"),
        ({"voice_kernel": np.array([{}], object)}, "not a readable"),
    ],
)
def test_what_cannot_be_right_is_refused_with_the_file_and_the_array(tmp_path, change, fact):
    write_baseline(tmp_path, make_head())
    path = tmp_path / BASELINE_FILE
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files} | change
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
    with refused(RunError, path, fact):
        load_baseline(tmp_path, CONFIG)


def test_a_damaged_file_and_a_model_without_neutral_are_refused(tmp_path):
    (tmp_path / BASELINE_FILE).write_bytes(b"PK no archive")
    with refused(RunError, tmp_path / BASELINE_FILE):
        load_baseline(tmp_path, CONFIG)
    write_baseline(tmp_path, make_head())
    with refused(RunError, "neutral"):
        load_baseline(tmp_path, small_config())


def test_voices_of_another_model_do_not_fit(run_with_baseline, tmp_path):
    folder = shutil.copytree(run_with_baseline, tmp_path / "run")
    write_baseline(folder, make_head(n_values=5))
    with refused(RunError, folder / BASELINE_FILE, "voice_kernel", "5", "16"):
        load_run(folder)
