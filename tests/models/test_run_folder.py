"""A run's probabilities are calibrated by the evidence, and its weights can be stored in half the space."""

import dataclasses
import os
import zipfile

import h5py
import keras
import numpy as np
import pytest
from small_models import small_config, write_small_run

from emotion.config import MODALITIES, CalibrationConfig
from emotion.errors import RunError
from emotion.models import build_model
from emotion.models.calibration import apply_temperature
from emotion.models.half_precision import MIN_VALUES, round_to_half, store_halves
from emotion.models.run_folder import check_run, load_run, write_run
from emotion.models.trained_model import Run, draw_inputs

WARM = CalibrationConfig(both=2.0, face=0.5, voice=4.0)


def make_run(path, **changes):
    config = small_config(**changes)
    return Run(path, config, build_model(config), sha256="")


# ---- Calibration ----


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
@pytest.mark.parametrize("name", ["model.onnx.sha256", "baseline.npz", "model.onnx"])
def test_a_pipe_in_a_model_folder_is_refused_and_never_waited_for(tmp_path, name):
    folder = write_small_run(tmp_path / "run", small_config())
    os.mkfifo(folder / name)
    with pytest.raises(RunError, match=f"{name}: is a device or a pipe"):
        check_run(folder)


def test_each_row_has_the_temperature_of_its_evidence(tmp_path):
    run = make_run(tmp_path, calibration=WARM)
    inputs = draw_inputs(run.config, 8)
    for values in inputs.values():
        values[6:] = 0
    inputs["audio"][6].flat[-1], inputs["video"][7].flat[-1] = 1e-30, 1  # nearly nothing is evidence, too
    said = run.without_calibration().predict(inputs)
    temperatures = np.array([2.0, 0.5, 4.0] * 2 + [4.0, 0.5])
    np.testing.assert_array_equal(run.predict(inputs), apply_temperature(said, temperatures))
    assert not np.allclose(run.predict(inputs), said, atol=1e-4)


@pytest.mark.parametrize(
    ("modalities", "calibration", "temperature"),
    [
        (("audio",), WARM, 4.0),
        (("video",), WARM, 0.5),
        (MODALITIES, CalibrationConfig(both=3.0, face=3.0, voice=3.0), 3.0),
    ],
)
def test_a_model_of_one_modality_or_one_temperature_has_that_for_all(tmp_path, modalities, calibration, temperature):
    run = make_run(tmp_path, calibration=calibration, modalities=modalities)
    inputs = draw_inputs(run.config, 6)
    said = run.without_calibration().predict(inputs)
    held = np.array([any(row.any() for row in rows) for rows in zip(*inputs.values(), strict=True)])
    np.testing.assert_array_equal(run.predict(inputs)[held], apply_temperature(said, temperature)[held])


def test_without_a_calibration_the_probabilities_are_the_networks_to_the_last_bit(exported):
    run = load_run(exported, runtime="onnx")
    inputs = draw_inputs(run.config, 6)
    np.testing.assert_array_equal(run.predict(inputs), run.model(inputs))
    assert run.predict(inputs).dtype == np.float32


def test_a_run_folder_brings_its_calibration_back(tmp_path):
    run = make_run(tmp_path, calibration=dataclasses.replace(WARM, unsure_below=0.4))
    write_run(tmp_path, run.config, run.model)
    loaded = load_run(tmp_path)
    assert loaded.config.calibration == run.config.calibration
    inputs = draw_inputs(run.config, 6)
    np.testing.assert_array_equal(loaded.predict(inputs), run.predict(inputs))


# ---- Half precision ----


@pytest.fixture(scope="module")
def large():
    """A network whose kernels outweigh the rest, with statistics of normalisation that are not round numbers."""
    model = {"audio_filters": [32, 64], "audio_units": 64, "video_filters": [16, 96], "video_units": 64}
    config = small_config(model=model)
    network = build_model(config)
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if len(weight.shape) == 1 and str(weight.dtype) == "float32":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return config, network


def copy_network(config, network):
    copied = build_model(config)
    copied.set_weights(network.get_weights())
    return copied


def test_half_precision_halves_the_file_and_gives_the_rounded_networks_answers(large, tmp_path):
    config, network = large
    write_run(tmp_path / "whole", config, network)
    before = network.get_weights()
    write_run(tmp_path / "half", config, network, half_precision=True)
    for weight, kept in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)  # the caller's network is left alone
    sizes = {name: (tmp_path / name / "model.keras").stat().st_size for name in ("whole", "half")}
    assert sizes["half"] < 0.6 * sizes["whole"]
    assert sorted(path.name for path in (tmp_path / "half").iterdir()) == ["config.json", "model.keras"]

    rounded = copy_network(config, network)
    round_to_half(rounded)
    loaded = keras.saving.load_model(tmp_path / "half" / "model.keras", compile=False, safe_mode=True)
    assert {str(weight.dtype) for weight in loaded.weights} == {str(weight.dtype) for weight in network.weights}
    for stored, expected in zip(loaded.get_weights(), rounded.get_weights(), strict=True):
        np.testing.assert_array_equal(stored, expected)
    inputs = draw_inputs(config, 6)
    expected = Run(tmp_path, config, rounded, sha256="").predict(inputs)
    np.testing.assert_array_equal(load_run(tmp_path / "half").predict(inputs), expected)
    assert np.abs(expected - Run(tmp_path, config, network, sha256="").predict(inputs)).max() > 0


def test_only_kernels_are_stored_in_16_bits(large, tmp_path):
    config, network = large
    write_run(tmp_path, config, network, half_precision=True)
    with zipfile.ZipFile(tmp_path / "model.keras") as archive, archive.open("model.weights.h5") as member:
        stored = []
        with h5py.File(member, "r") as weights:
            weights.visititems(lambda _, item: stored.append(item) if isinstance(item, h5py.Dataset) else None)
            kernels = [item.shape for item in stored if item.dtype == np.float16]
            others = [item.shape for item in stored if item.dtype == np.float32]
    assert kernels and all(len(shape) >= 2 and np.prod(shape) >= MIN_VALUES for shape in kernels)
    assert others and all(len(shape) < 2 or np.prod(shape) < MIN_VALUES for shape in others)


def test_rounding_touches_the_kernels_only_and_a_second_time_nothing(large):
    config, network = large
    rounded = copy_network(config, network)
    round_to_half(rounded)
    once = rounded.get_weights()
    for before, after in zip(network.get_weights(), once, strict=True):
        is_kernel = before.ndim >= 2 and before.size >= MIN_VALUES
        assert np.array_equal(before, after) != is_kernel
        if is_kernel:
            np.testing.assert_array_equal(after, before.astype(np.float16).astype(np.float32))
    round_to_half(rounded)
    for first, second in zip(once, rounded.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("value", [65520.0, -1e6, np.inf, np.nan])
def test_a_weight_that_16_bits_cannot_hold_is_refused_by_its_name_and_nothing_is_written(large, value, tmp_path):
    config, network = large
    broken = copy_network(config, network)
    kernel = next(weight for weight in broken.weights if len(weight.shape) >= 2 and np.prod(weight.shape) >= MIN_VALUES)
    values = np.asarray(kernel).copy()
    values.flat[7] = value
    kernel.assign(values)
    before = broken.get_weights()
    with pytest.raises(RunError, match=f"{kernel.path}.*65504"):
        write_run(tmp_path / "run", config, broken, half_precision=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(RunError, match="65504"):
        round_to_half(broken)
    for kept, weight in zip(before, broken.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weight)
    broken.save(tmp_path / "model.keras")
    content = (tmp_path / "model.keras").read_bytes()
    with pytest.raises(RunError, match="65504"):
        store_halves(tmp_path / "model.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
    assert (tmp_path / "model.keras").read_bytes() == content
