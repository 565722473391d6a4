"""Eight bits: convolutions over time become 2D ones, and the network answers nearly as before."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from small_models import small_config, small_design, write_small_run

from emotion import export
from emotion.datasets.synthetic.clips import write_clip, write_synthetic_dataset
from emotion.errors import MediaError, RunError
from emotion.models import build_model
from emotion.models.export_folding import NeighbouringFrames, fold_time
from emotion.models.export_int8 import collect_windows, export_int8
from emotion.models.layers import FaceStandardization
from emotion.models.onnx_runtime import HASH_SUFFIX, INT8_FILE
from emotion.models.run_folder import load_run
from emotion.models.trained_model import draw_inputs


@pytest.mark.parametrize("name", ["mfcc_cnn_3d", "whisper_cnn_3d", "whisper_mobilenet", "logmel_cnn"])
def test_a_network_over_time_is_the_same_over_pictures(name):
    keras.utils.set_random_seed(1)
    config = small_design(name)
    model = build_model(config)
    for layer in model.layers:
        layer.set_weights(
            [weights + 0.1 * np.random.default_rng(0).random(weights.shape) for weights in layer.get_weights()]
        )
    folded = fold_time(model, config.input_shapes)
    assert not [layer for layer in folded.layers if isinstance(layer, keras.layers.Conv3D)]
    inputs = draw_inputs(config, 6)
    np.testing.assert_allclose(np.asarray(folded(inputs)), np.asarray(model(inputs)), atol=1e-5)


@pytest.mark.parametrize("name", ["mfcc_cnn_3d", "whisper_mobilenet"])
def test_a_network_along_a_track_takes_any_number_of_frames_afterwards(name):
    config = small_design(name)
    model = build_model(config)
    folded = fold_time(model, {x.name: x.shape[1:] for x in model.inputs})
    assert not [layer for layer in folded.layers if isinstance(layer, keras.layers.Conv3D)]
    for n_frames in (1, 2, 7):
        inputs = draw_inputs(config, 2)
        inputs["video"] = inputs["video"][:, :n_frames]
        np.testing.assert_allclose(np.asarray(folded(inputs)), np.asarray(model(inputs)), atol=1e-5)


@pytest.mark.parametrize(("n_frames", "n_taps", "stride"), [(20, 3, 2), (5, 3, 1), (7, 3, 2), (4, 2, 3), (1, 3, 1)])
def test_neighbouring_frames_are_those_that_a_convolution_over_time_takes(n_frames, n_taps, stride):
    clips = np.random.default_rng(0).random((2, n_frames, 2, 2, 3), np.float32)
    convolution = keras.layers.Conv3D(4, (n_taps, 1, 1), strides=(stride, 1, 1), padding="same", use_bias=False)
    expected = np.asarray(convolution(clips))
    kernel = np.concatenate(list(convolution.get_weights()[0][:, 0, 0]), axis=0)
    taken = np.asarray(NeighbouringFrames(n_frames, n_taps, stride)(clips.reshape(-1, 2, 2, 3)))
    np.testing.assert_allclose((taken @ kernel).reshape(expected.shape), expected, atol=1e-5)


def test_what_cannot_be_folded_is_named():
    frames = keras.Input((4, 8, 8, 3))
    x = FaceStandardization(name="standard")(frames)
    model = keras.Model(frames, keras.layers.Dense(3, name="between")(x))
    with pytest.raises(ValueError, match="between"):
        fold_time(model, {frames.name: frames.shape[1:]})
    model = keras.Model(frames, keras.layers.AveragePooling3D((1, 2, 2), name="pool")(x))
    with pytest.raises(ValueError, match="pool"):
        fold_time(model, {frames.name: frames.shape[1:]})
    model = keras.Model(frames, keras.layers.Conv3D(2, 3, strides=(2, 1, 1), padding="same", name="thin")(x))
    with pytest.raises(ValueError, match="thin"):
        fold_time(model, {frames.name: (None, *frames.shape[2:])})


@pytest.fixture(scope="module")
def clips_to_look_at(tmp_path_factory) -> list[Path]:
    root = write_synthetic_dataset(
        tmp_path_factory.mktemp("clips"), emotions=("happy", "sad"), n_speakers=1, n_repetitions=1, duration_seconds=4.0
    )
    return sorted(root.rglob("01-*.mp4"))


@pytest.mark.trains
def test_a_network_in_eight_bits_is_made_used_and_told_from_the_other(run, call, clips_to_look_at):
    done = call(export, run, "--precision", "int8", "--calibrate_on", clips_to_look_at[0].parents[1])
    assert done.code == 0 and INT8_FILE in done.out
    whole, coarse = (load_run(run, runtime=runtime) for runtime in ("onnx", "int8"))
    assert (whole.runtime, coarse.runtime) == ("onnx", "int8")
    inputs = collect_windows(whole, clips_to_look_at)
    difference = np.abs(whole.predict(inputs) - coarse.predict(inputs)).max()
    assert 0 < difference < 0.1
    assert coarse.context_frames == whole.context_frames is not None, "it looks at each frame of a face once, too"
    frames = {"video": inputs["video"][:1, :5]}
    for name, moments in coarse.encode(frames).items():
        assert moments.shape == whole.encode(frames)[name].shape
    assert load_run(run, runtime="auto").predict(inputs) == pytest.approx(whole.predict(inputs))
    other = write_small_run(run.parent / "other", small_config(), seed=1)
    for name in (INT8_FILE, f"{INT8_FILE}{HASH_SUFFIX}"):
        shutil.copy(run / name, other / name)
    with pytest.raises(RunError, match="another network.*--precision int8"):
        load_run(other, runtime="int8")
    (run / INT8_FILE).write_bytes((run / INT8_FILE).read_bytes()[:-9])
    with pytest.raises(RunError, match=r"model\.int8\.onnx.*damaged"):
        load_run(run, runtime="int8")


def test_eight_bits_need_clips_with_something_in_them(run, tmp_path):
    with pytest.raises(RunError, match=r"model\.int8\.onnx.*--calibrate_on"):
        load_run(run, runtime="int8")
    write_clip(tmp_path / "grey.mp4", np.full((20, 64, 64, 3), 90, np.uint8), 10.0)
    with pytest.raises(MediaError, match=r"grey\.mp4: 0 windows.*8"):
        export_int8(load_run(run), [tmp_path / "grey.mp4"])
    with pytest.raises(MediaError, match=r"nowhere\.mp4"):
        export_int8(load_run(run), [tmp_path / "nowhere.mp4"])
    assert not (run / INT8_FILE).exists()
