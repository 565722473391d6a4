"""Settings are saved whole, read strictly, and give the sizes that follow from them."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from emotion.config import (
    FORMAT_VERSION,
    WHISPER_AUDIO,
    AudioConfig,
    CalibrationConfig,
    DataSource,
    RunConfig,
    TrainConfig,
    VideoConfig,
    WindowConfig,
)
from emotion.config_files import from_dict, load_config, to_dict, write_config
from emotion.errors import ConfigError

properties = settings(max_examples=150, deadline=None, derandomize=True, database=None)

UNUSUAL = RunConfig(
    class_names=("sad", "happy", "neutral"),
    modalities=("audio",),
    audio=AudioConfig(sample_rate=16000, n_mfcc=13, n_steps=30, n_mels=64, top_db=60.0),
    video=VideoConfig(n_frames=8, image_size=64, crop="frame"),
    window=WindowConfig(window_seconds=1.5, step_seconds=0.25),
    training=TrainConfig(epochs=3, learning_rate=0.01, augment=False, protocol="random", seed=7),
    calibration=CalibrationConfig(both=1.5, face=0.8, voice=2.0, unsure_below=0.4),
    model={"dense_units": 32, "blocks": [1, 2]},
    data=(DataSource("RAVDESS speech", "CC BY-NC-SA 4.0", 1440), DataSource("another", "MIT", 1)),
)


def part_of(values: dict, path: str) -> tuple[dict, str]:
    """The dict that holds a setting such as ``audio.n_mfcc``, and the setting's name in it."""
    *parts, name = path.split(".")
    for part in parts:
        values = values[part]
    return values, name


def with_value(path: str, value) -> dict:
    """The default settings as JSON types, with one of them changed."""
    values = to_dict(RunConfig())
    inner, name = part_of(values, path)
    inner[name] = value
    return values


def without(config: RunConfig, path: str, **changes) -> dict:
    """Settings as JSON types that lack one of them."""
    values = to_dict(config) | changes
    inner, name = part_of(values, path)
    del inner[name]
    return values


# ---- Saving and loading ----


@pytest.mark.parametrize("config", [RunConfig(), UNUSUAL])
def test_a_configuration_comes_back_as_it_was_saved(tmp_path, config):
    path = tmp_path / "config.json"
    write_config(config, path)
    assert load_config(path) == config
    assert from_dict(RunConfig, to_dict(config)) == config
    assert hash(load_config(path).audio) == hash(config.audio)


def test_the_file_is_plain_json_with_every_setting_and_the_classes_in_order(tmp_path):
    path = tmp_path / "config.json"
    write_config(UNUSUAL, path)
    values = json.loads(path.read_text(encoding="utf-8"))
    assert values["class_names"] == ["sad", "happy", "neutral"]
    assert values["format_version"] == FORMAT_VERSION
    assert set(values) == {field.name for field in dataclasses.fields(RunConfig)}
    assert set(values["training"]) == {field.name for field in dataclasses.fields(TrainConfig)}


def test_missing_settings_take_their_defaults_only_where_that_is_allowed(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"training": {"epochs": 2}, "video": {"crop": "frame"}}', encoding="utf-8")
    config = load_config(path, complete=False)
    assert config == RunConfig(training=TrainConfig(epochs=2), video=VideoConfig(crop="frame"))
    with refused(ConfigError, path, "lacks", "class_names"):
        load_config(path)


def test_missing_settings_can_be_taken_from_another_record():
    values = {"audio": {"n_mels": 40}, "training": {"epochs": 2}}
    config = from_dict(RunConfig, values, complete=False, defaults=RunConfig(audio=WHISPER_AUDIO))
    assert config.audio == dataclasses.replace(WHISPER_AUDIO, n_mels=40)
    assert config.training == TrainConfig(epochs=2)


@pytest.mark.parametrize(
    ("name", "last_without"),
    [
        ("audio.features", 1),
        ("calibration", 4),
        ("window.face_share", 3),
        ("video.fill", 3),
        ("training.weight_decay", 3),
        ("training.pretrained", 3),
        ("training.precision", 4),
    ],
)
def test_what_earlier_formats_did_not_have_takes_the_meaning_it_had(tmp_path, name, last_without):
    path = tmp_path / "config.json"
    for version in range(FORMAT_VERSION + 1):
        path.write_text(json.dumps(without(UNUSUAL, name, format_version=version)), encoding="utf-8")
        if 1 <= version <= last_without:
            expected = (
                dataclasses.replace(UNUSUAL, calibration=CalibrationConfig()) if name == "calibration" else UNUSUAL
            )
            assert load_config(path) == expected
        else:
            with refused(ConfigError, path, f"lacks: {name.rpartition('.')[2]}"):
                load_config(path)


def test_a_file_for_training_may_be_of_an_earlier_format(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"format_version": 2, "training": {"epochs": 2}}', encoding="utf-8")
    assert load_config(path, complete=False) == RunConfig(training=TrainConfig(epochs=2))


def test_a_whole_number_will_do_where_a_fraction_is_asked_for():
    config = from_dict(RunConfig, with_value("window.window_seconds", 2))
    assert config.window.window_seconds == 2.0
    assert isinstance(config.window.window_seconds, float)


def test_a_record_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().audio.n_mfcc = 13


@pytest.mark.parametrize("content", [None, "", "{", "[]", "3", "null", '"text"', b"\xff\xfe\x00{"])
def test_what_is_no_json_object_is_refused_by_the_name_of_the_file(tmp_path, content):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with refused(ConfigError, path):
        load_config(path)
    with refused(ConfigError, tmp_path):
        load_config(tmp_path)


# ---- What is refused ----


def test_a_newer_file_is_called_that_whatever_else_it_holds(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(with_value("new_setting", 1) | {"format_version": FORMAT_VERSION + 4}))
    with refused(ConfigError, path, FORMAT_VERSION + 4, "Update the program"):
        load_config(path)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"model": ' + "[" * 90_000 + "]" * 90_000 + "}", id="nested too deeply for Python"),
        pytest.param('{"model": ' + "[" * 50 + "]" * 50 + "}", id="nested deeper than any setting"),
        pytest.param('{"model": {"units": ' + "9" * 5000 + "}}", id="more digits than Python reads"),
        pytest.param('{"model": {"units": [1, ' + "9" * 300 + "]}}", id="a number that no array is as large as"),
        pytest.param('{"window": {"window_seconds": ' + "9" * 400 + "}}", id="a number that is no float"),
        pytest.param('{"' + "x" * 10_000 + '": 1}', id="a very long name"),
    ],
)
def test_hostile_files_are_refused_in_one_short_line(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with refused(ConfigError, path) as caught:
        load_config(path, complete=False)
    assert len(str(caught.value)) < 600 + len(str(path)) and "\n" not in str(caught.value)


def test_every_number_is_bounded():
    """None may fill the memory, or take for ever."""
    unbounded = []
    for name in settings_names:
        inner, last = part_of(to_dict(RunConfig()), name)
        if isinstance(inner[last], int | float) and not isinstance(inner[last], bool):
            for value in (10**13, -(10**13), math.nan):
                try:
                    from_dict(RunConfig, with_value(name, value))
                except ConfigError:
                    continue
                unbounded.append((name, value))
    assert not unbounded


@pytest.mark.parametrize(("n_frames", "image_size"), [(10_000, 224), (100, 2048)])
def test_more_pictures_than_fit_in_memory_are_refused(n_frames, image_size):
    with refused(ConfigError, "video.n_frames", n_frames):
        VideoConfig(n_frames=n_frames, image_size=image_size)


def test_mel_bands_that_take_too_many_weights_are_refused_with_their_number_and_the_limit():
    with refused(ConfigError, "audio.n_mels (4096)", "536,870,912", "67,108,864"):
        RunConfig(class_names=("happy", "sad"), audio=AudioConfig(n_mels=4096, n_steps=2))


@pytest.mark.parametrize("name", ["epoch", "audio.n_mfccs", "training.lr", "window.hop"])
def test_an_unknown_setting_is_named_with_the_known_ones(name):
    with pytest.raises(ConfigError) as caught:
        from_dict(RunConfig, with_value(name, 1), complete=False)
    *parts, last = name.split(".")
    assert last in str(caught.value) and "Known:" in str(caught.value)
    assert ".".join(["config", *parts]) in str(caught.value)


@pytest.mark.parametrize("name", ["class_names", "audio", "audio.n_mfcc", "training.seed", "format_version"])
def test_a_missing_setting_is_named(name):
    with refused(ConfigError, f"lacks: {name.rpartition('.')[2]}"):
        from_dict(RunConfig, without(RunConfig(), name))


def test_a_setting_without_a_default_is_missed_even_where_defaults_are_taken():
    with refused(ConfigError, "config.data[0] lacks: licence, n_clips"):
        from_dict(RunConfig, {"data": [{"name": "mine"}]}, complete=False)


WRONG_TYPES = {
    "audio": [3, [1]],
    "audio.n_mfcc": ["40", 40.0, True, None],
    "audio.top_db": ["80", True],
    "video.crop": [1, None],
    "training.augment": [1, "yes"],
    "training.seed": [False],
    "class_names": ["happy", {"happy": 0}, ["happy", 1]],
    "modalities": ["audio"],
    "model": [[]],
    "data": [[3], [{"name": "x", "licence": "MIT", "n_clips": "many"}]],
    "architecture": [1],
    "format_version": ["1", True],
}
IMPOSSIBLE = {
    "audio.sample_rate": [0],
    "audio.n_mfcc": [-1, 129],
    "audio.features": ["mel"],
    "audio.n_steps": [1],
    "audio.n_mels": [0],
    "audio.top_db": [math.nan, math.inf],
    "video.n_frames": [0],
    "video.image_size": [-112],
    "video.crop": ["body"],
    "window.window_seconds": [0.0, math.nan, math.inf, -math.inf, 0.001],
    "window.step_seconds": [-0.5],
    "training.epochs": [0],
    "training.batch_size": [-8],
    "training.learning_rate": [math.nan, math.inf],
    "training.clip_norm": [0.0],
    "training.patience_epochs": [-1],
    "training.reduce_patience_epochs": [-1],
    "training.test_fraction": [1.0, math.nan],
    "training.validation_fraction": [-0.1, 0.0, 0.9],
    "training.modality_dropout": [math.inf],
    "training.seed": [-1, 2**32],
    "calibration.both": [0.0],
    "calibration.face": [-1.0],
    "calibration.voice": [math.nan, math.inf],
    "calibration.unsure_below": [-0.1, 1.5, math.nan],
    "class_names": [[], ["happy"], ["happy", "sad", "happy"]],
    "modalities": [[], ["smell"], ["audio", "audio"]],
    "format_version": [FORMAT_VERSION + 1],
}


def pairs(table: dict[str, list]) -> list[tuple]:
    return [(name, value) for name, values in table.items() for value in values]


@pytest.mark.parametrize(("name", "value"), pairs(WRONG_TYPES))
def test_a_value_of_the_wrong_type_is_refused_by_its_name(name, value):
    with refused(ConfigError, f"config.{name}"):
        from_dict(RunConfig, with_value(name, value))


@pytest.mark.parametrize(("name", "value"), pairs(IMPOSSIBLE))
def test_an_impossible_value_is_refused_by_its_name_and_shown(name, value):
    with refused(ConfigError, name, value):
        from_dict(RunConfig, with_value(name, value))


@pytest.mark.parametrize(("name", "value"), [("calibration.unsure_below", 1.5), ("class_names", ["happy", "<b>"])])
def test_the_file_that_holds_an_impossible_value_is_named(name, value, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(with_value(name, value)))
    with refused(ConfigError, tmp_path / "config.json", "<b>" if name == "class_names" else value):
        load_config(tmp_path / "config.json")


@pytest.mark.parametrize(("name", "facts"), [("joy", ("'happy'", "'joy'")), ("=bored", ("'=bored'",))])
def test_classes_carry_canonical_names(name, facts):
    with refused(ConfigError, *facts):
        RunConfig(class_names=(name, "sad"))


settings_names = [
    path
    for part, values in to_dict(RunConfig()).items()
    for path in ([f"{part}.{name}" for name in values] if isinstance(values, dict) and values else [part])
]
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@properties
@given(name=st.sampled_from(settings_names), value=anything)
def test_whatever_stands_in_a_file_gives_a_configuration_or_says_what_is_wrong(name, value):
    values = json.loads(json.dumps(with_value(name, value)))
    try:
        config = from_dict(RunConfig, values)
    except ConfigError as error:
        assert name.rpartition(".")[2] in str(error)
    else:
        assert from_dict(RunConfig, to_dict(config)) == config


# ---- Sizes that follow ----


def test_the_usual_steps_span_three_seconds():
    config = RunConfig()
    assert config.window_samples == 66150
    assert (config.hop_length, config.n_fft) == (1538, 2048)
    assert 43 * config.hop_length == pytest.approx(66150, abs=43)
    assert config.frame_interval_seconds == pytest.approx(0.15)


def middles_of(config: RunConfig) -> np.ndarray:
    """The middles of the steps, in samples."""
    return np.arange(config.audio.n_steps) * config.hop_length


@pytest.mark.parametrize("window_seconds", [0.5, 1.0, 2.0, 3.0, 5.0, 10.0])
def test_the_steps_span_any_window(window_seconds):
    config = RunConfig(window=WindowConfig(window_seconds=window_seconds))
    assert 1 + config.window_samples // config.hop_length >= config.audio.n_steps
    assert config.window_samples - middles_of(config)[-1] < config.audio.n_steps


@properties
@given(
    window_seconds=st.floats(1, 10),
    sample_rate=st.sampled_from([16000, 22050, 44100, 48000]),
    n_steps=st.integers(20, 64),
)
def test_no_sample_falls_between_the_steps(window_seconds, sample_rate, n_steps):
    config = RunConfig(
        audio=AudioConfig(sample_rate=sample_rate, n_steps=n_steps), window=WindowConfig(window_seconds=window_seconds)
    )
    # The Hann window's weight of the sample that lies farthest from any step.
    farthest = max(config.hop_length / 2, config.window_samples - 1 - middles_of(config)[-1])
    assert farthest < config.n_fft / 2
    assert np.cos(np.pi * farthest / config.n_fft) ** 2 > 0.09
    assert config.n_fft & (config.n_fft - 1) == 0


def test_the_shapes_of_a_models_inputs_have_one_home():
    assert RunConfig().audio_shape == (40, 44, 1)
    assert RunConfig().video_shape == (20, 112, 112, 3)
    assert RunConfig(audio=WHISPER_AUDIO).audio_shape == (80, 300, 1)
    assert RunConfig(audio=WHISPER_AUDIO, window=WindowConfig(window_seconds=1.0)).audio_shape == (80, 100, 1)


def test_a_window_shorter_than_one_spectrum_is_refused():
    with refused(ConfigError, "window_seconds", "0.02"):
        RunConfig(audio=WHISPER_AUDIO, window=WindowConfig(window_seconds=0.02))


def test_frames_are_spread_evenly_over_the_window():
    config = RunConfig(window=WindowConfig(window_seconds=2.0), video=VideoConfig(n_frames=16))
    assert config.frame_interval_seconds * 16 == pytest.approx(2.0)
