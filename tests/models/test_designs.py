"""The contract of all designs, and what single designs promise beyond it."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from small_models import SMALL_DESIGNS, WITHOUT_DROPOUT, list_designs, random_inputs, small_design

from emotion.config import MODALITIES, AudioConfig, RunConfig
from emotion.config_files import to_dict
from emotion.datasets import DATASETS
from emotion.datasets.synthetic.clips import draw_clip, write_clip
from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.errors import ConfigError
from emotion.inference.predictor import EmotionPredictor
from emotion.labels import SEVEN_EMOTIONS
from emotion.models import ARCHITECTURES, build_model, load_design, mfcc_cnn_3d
from emotion.models.fusion import copy_branch
from emotion.models.layers import dtype_policy
from emotion.models.mobilefacenet_lstm import HeardSteps
from emotion.models.run_folder import HISTORY_FILE, load_run, write_run
from emotion.models.trained_model import Run
from emotion.training.fitting import load_history, train

designs = pytest.mark.parametrize("name", sorted(ARCHITECTURES))
# What takes many seconds a design.
shipped_first = pytest.mark.parametrize("name", list_designs())
default_first = pytest.mark.parametrize("name", list_designs(["mfcc_cnn_3d"]))


def answer(model: keras.Model, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(model(inputs, training=False))


def test_every_design_has_small_settings_to_be_tested_with():
    assert set(SMALL_DESIGNS) == set(ARCHITECTURES)


def test_an_unknown_design_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match="mfcc_cnn_3d"):
        load_design("resnet")


# ---- The contract ----


@designs
def test_a_design_is_built_from_its_configuration_alone_for_any_modalities(name):
    for modalities in (("audio",), ("video",), MODALITIES):
        config = small_design(name, modalities=modalities)
        model = build_model(config)
        assert model.name == name and set(model.input) == set(modalities)
        for n in (1, 3):  # a batch of one, too
            probabilities = answer(model, random_inputs(config, n))
            assert probabilities.shape == (n, 2) and (probabilities > 0).all()
            np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    module = load_design(name)
    assert 20 < len(module.DESCRIPTION) < 120
    assert set(SMALL_DESIGNS[name]) <= set(module.default_config())
    json.dumps(module.default_config())  # goes into config.json
    assert {"audio", "video", "probabilities", "logits"} <= {layer.name for layer in model.layers}
    assert not any("Lambda" in type(layer).__name__ for layer in model.layers)


@designs
def test_a_design_refuses_unknown_settings_and_sound_that_it_was_not_made_for(name):
    config = small_design(name)
    with pytest.raises(ConfigError, match="video_layers"):
        build_model(small_design(name, model={"video_layers": 3}))
    other = "mfcc" if config.audio.features != "mfcc" else "fbank"
    config = dataclasses.replace(config, audio=AudioConfig(features=other))
    if ARCHITECTURES[name].fixed_audio:
        with pytest.raises(ConfigError, match=f"{name}.*audio.features.*{other!r}"):
            build_model(config)
    assert set(build_model(dataclasses.replace(config, modalities=("video",))).input) == {"video"}


@designs
@pytest.mark.parametrize("missing", MODALITIES)
def test_what_a_missing_modality_would_have_shown_has_no_influence(name, missing):
    config = small_design(name)
    model, inputs = build_model(config), random_inputs(config)
    absent = {**inputs, missing: np.zeros_like(inputs[missing])}
    joined = keras.Model(model.input, model.get_layer("branches").output)
    gated = answer(joined, absent)
    half = gated.shape[1] // 2  # sound first, both as wide
    of_missing, of_other = (gated[:, :half], gated[:, half:])[:: 1 if missing == "audio" else -1]
    assert not of_missing.any() and of_other.any()
    # Nor indirectly: other weights in the missing branch change nothing behind it.
    for layer in model.layers:
        if layer.name.startswith(f"{missing}_") and layer.weights:
            layer.set_weights([1.5 * weight + 0.1 for weight in layer.get_weights()])
    np.testing.assert_allclose(answer(joined, absent), gated, atol=1e-6)


@pytest.mark.trains
@default_first
def test_a_design_learns_eight_clips_by_heart_from_its_first_step_on(name):
    config = small_design(name, model=WITHOUT_DROPOUT, training={"modality_dropout": 0.0})
    model = build_model(config)
    # Eagerly: the few steps that it takes cost less than tracing them.
    loss, optimizer = "sparse_categorical_crossentropy", keras.optimizers.Adam(1e-2)
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=True)
    inputs, classes, losses = random_inputs(config, n=8), np.arange(8) % 2, []
    for _ in range(40):
        model.reset_metrics()
        step = model.train_on_batch(inputs, classes, return_dict=True)
        losses.append(step["loss"])
        if step["accuracy"] == 1 and losses[-1] < 0.5 * losses[0]:
            break
    assert losses[1] < losses[0]
    assert step["accuracy"] == 1 and losses[-1] < 0.5 * losses[0]


@shipped_first
def test_a_saved_design_gives_the_same_answer_when_loaded(name, tmp_path):
    config = small_design(name)
    model = build_model(config)
    write_run(tmp_path / "run", config, model)
    run = load_run(tmp_path / "run")
    inputs = random_inputs(config)
    assert run.config == config
    np.testing.assert_allclose(run.predict(inputs), answer(model, inputs), atol=1e-6)


@designs
def test_a_design_computes_in_bfloat16_where_asked_for_but_its_answers_are_in_float32(name):
    config = small_design(name)
    plain = build_model(config)
    with dtype_policy("mixed_bfloat16"):
        mixed = build_model(config)
    mixed.set_weights(plain.get_weights())
    answers = mixed(random_inputs(config), training=False)
    assert keras.backend.standardize_dtype(answers.dtype) == "float32"
    assert {"bfloat16"} < {layer.compute_dtype for layer in mixed.layers}
    np.testing.assert_allclose(np.asarray(answers), answer(plain, random_inputs(config)), atol=0.03)


@pytest.mark.trains
@default_first
def test_a_design_is_trained_evaluated_and_used_like_any_other(name, clips, cache_dir, tmp_path, eagerly):
    result = train(clips, small_design(name), tmp_path / "run", cache_dir=cache_dir)
    assert result.metrics["test"]["n"] == 4
    times = np.arange(0, 2, 0.1)
    voice = synthesize_voice("happy", speaker_seed=1, duration_seconds=2.0, sample_rate=22050)
    frames = draw_clip("happy", times, np.zeros(len(times)), speaker_seed=1, size=160)
    write_clip(tmp_path / "clip.mp4", frames, 10.0, waveform=voice, sample_rate=22050)
    prediction = EmotionPredictor(tmp_path / "run").predict(tmp_path / "clip.mp4")
    assert prediction.overall.emotion in ("happy", "sad")
    assert len(prediction.tracks) == 1 and prediction.voice is not None


@pytest.mark.trains
@pytest.mark.thorough
def test_what_learned_in_bfloat16_is_kept_in_float32(clips, cache_dir, tmp_path, eagerly):
    config = small_design("mfcc_cnn_3d", training={"precision": "mixed_bfloat16"})
    result = train(clips, config, tmp_path / "run", cache_dir=cache_dir)
    assert keras.config.dtype_policy().name == "float32"
    run = load_run(result.path, runtime="keras")
    assert {layer.compute_dtype for layer in run.model.layers} == {"float32"}
    history = load_history(result.path / HISTORY_FILE)
    assert np.isfinite(history["loss"]).all() and np.isfinite(history["val_loss"]).all()


MELD_LABELS = {
    "neutral": "neutral", "joy": "happy", "sadness": "sad", "anger": "angry", "fear": "fearful", "disgust": "disgust",
    "surprise": "surprised",
}  # fmt: skip


@pytest.fixture
def meld_dir(tmp_path):
    """Talk of different lengths in MELD's layout and with its seven labels, drawn: three speakers, one a side."""
    root, lengths = tmp_path / "meld", (0.6, 1.0, 1.7)
    for speaker, side in enumerate(("train", "dev", "test"), start=1):
        rows = ["Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode"]
        folder = root / f"{side}_clips"
        folder.mkdir(parents=True)
        for number, (label, emotion) in enumerate(MELD_LABELS.items()):
            times = np.arange(0, lengths[number % 3], 0.1)
            frames = draw_clip(emotion, times, np.zeros(len(times)), speaker_seed=speaker, size=96)
            voice = synthesize_voice(emotion, speaker_seed=speaker, duration_seconds=times[-1] + 0.1)
            write_clip(folder / f"dia{speaker}_utt{number}.mp4", frames, 10.0, waveform=voice)
            rows.append(f"Hi.,Friend {speaker},{label},neutral,{speaker},{number},1,1")
        (root / f"{side}_sent_emo.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


@pytest.mark.trains
@pytest.mark.thorough
def test_meld_with_its_seven_classes_and_lengths_trains_the_design_made_for_it(meld_dir, cache_dir, tmp_path, eagerly):
    clips = DATASETS["meld"].load(meld_dir)
    config = small_design("mobilefacenet_lstm", class_names=SEVEN_EMOTIONS, training={"protocol": "official"})
    result = train(clips, config, tmp_path / "run", cache_dir=cache_dir)
    assert result.metrics["test"]["n"] == 7
    assert result.metrics["test"]["classes"] == list(SEVEN_EMOTIONS)
    assert EmotionPredictor(tmp_path / "run").predict(clips[0].video_path).class_names == SEVEN_EMOTIONS


BACKEND_TEST = """
import sys, json
import numpy as np, keras
from emotion.config import RunConfig
from emotion.config_files import from_dict
from emotion.models import build_model
assert keras.backend.backend() == "jax"
folder = sys.argv[1]
for name, values in json.load(open(f"{folder}/configs.json")).items():
    config = from_dict(RunConfig, values)
    model = build_model(config)
    model.load_weights(f"{folder}/{name}.weights.h5")
    with np.load(f"{folder}/{name}.npz") as data:
        inputs = {key: data[key] for key in ("audio", "video")}
        expected = data["expected"]
    np.testing.assert_allclose(np.asarray(model(inputs, training=False)), expected, atol=2e-5)
    if name == "logmel_cnn":  # one of them learns: compiling a training takes many times as long as the rest
        model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
        losses = model.fit(inputs, np.array([0, 1]), epochs=10, verbose=0).history["loss"]
        assert losses[-1] < losses[0], losses
    print(name, "agrees")
"""


@pytest.mark.trains
@pytest.mark.thorough
def test_every_design_gives_the_same_answer_on_another_backend(tmp_path):
    # No dropped modality: a loss that is drawn anew at every step need not fall from the first to the last.
    still = {"model": WITHOUT_DROPOUT, "training": {"modality_dropout": 0.0}}
    configs = {name: small_design(name, **still) for name in sorted(ARCHITECTURES)}
    (tmp_path / "configs.json").write_text(json.dumps({name: to_dict(config) for name, config in configs.items()}))
    keras.utils.set_random_seed(0)
    for name, config in configs.items():
        model, inputs = build_model(config), random_inputs(config)
        model.save_weights(tmp_path / f"{name}.weights.h5")
        np.savez(tmp_path / f"{name}.npz", **inputs, expected=answer(model, inputs))
    done = subprocess.run(
        [sys.executable, "-c", BACKEND_TEST, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KERAS_BACKEND": "jax",
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        },
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} agrees" for name in configs]


# ---- Single designs ----


def test_the_default_design_has_its_sizes():
    model = build_model(RunConfig())
    assert model.input["audio"].shape == (None, 40, 44, 1)
    assert model.input["video"].shape == (None, None, 112, 112, 3)
    assert model.output_shape == (None, 8)
    assert model.count_params() * 4 < 10e6  # bytes


@pytest.mark.parametrize("name", [name for name, design in ARCHITECTURES.items() if design.context_frames is not None])
def test_a_window_judged_along_its_track_is_judged_as_with_the_frames_around_it(name):
    config, context = small_design(name), ARCHITECTURES[name].context_frames
    run = Run(Path(), config, build_model(config), sha256="")
    rng = np.random.default_rng(0)
    for layer in run.model.layers:  # no bias is zero, as after a training
        layer.set_weights([weights + 0.1 * rng.random(weights.shape) for weights in layer.get_weights()])
    track = rng.integers(1, 256, (1, 12, *config.video_shape[1:]), dtype=np.uint8)
    track[0, 6] = 0  # the face was away for a moment
    track[0, 9] = track[0, 8]
    sound = random_inputs(config, n=1)["audio"]
    heard, along = run.encode({"audio": sound}), run.encode({"video": track})
    assert run.context_frames == context and along["video_moments"].shape[:2] == (1, 12)
    for start in range(context, 12 - config.video.n_frames - context):
        inside = slice(start, start + config.video.n_frames)
        of_window = {key: values[:, inside] for key, values in along.items()}
        answers = run.predict_encoded({**heard, **of_window})
        around = run.encode({"video": track[:, start - context : inside.stop + context]})
        alone = {key: values[:, context : context + config.video.n_frames] for key, values in around.items()}
        np.testing.assert_allclose(answers, run.predict_encoded({**heard, **alone}), atol=1e-4)
        assert answers.std() > 1e-4


@pytest.mark.parametrize("name", [name for name, design in ARCHITECTURES.items() if design.context_frames is not None])
def test_a_window_that_is_a_whole_track_is_judged_alike_in_one_and_in_two_steps(name):
    config = small_design(name)
    run, inputs = Run(Path(), config, build_model(config), sha256=""), random_inputs(config, n=3)
    inputs["audio"][1], inputs["video"][2], inputs["video"][0, 1] = 0, 0, 0
    encoded = run.encode({"audio": inputs["audio"]}) | run.encode({"video": inputs["video"]})
    np.testing.assert_allclose(run.predict_encoded(encoded), run.predict(inputs), atol=1e-4)


def test_silence_after_a_short_clip_is_skipped_by_an_lstm():
    picture = np.full((2, 4, 12, 1), -1.0, np.float32)
    picture[0, 2, :5] = 0.3
    heard = np.asarray(HeardSteps(2)(picture))
    np.testing.assert_array_equal(heard, [[True, True, True, False, False, False], [False] * 6])


def test_frames_without_a_face_make_no_difference_to_an_lstm():
    config = small_design("mobilefacenet_lstm", modalities=("video",))
    model = build_model(config)
    frames = random_inputs(config)["video"]
    early, late = frames.copy(), frames.copy()
    early[:, 3], late[:, 0] = 0, 0
    shifted = np.zeros_like(frames)
    shifted[:, 1:] = frames[:, :3]
    np.testing.assert_allclose(answer(model, {"video": early}), answer(model, {"video": shifted}), atol=1e-6)
    assert not np.allclose(answer(model, {"video": early}), answer(model, {"video": late}), atol=1e-7)


def test_voice_networks_that_stand_beside_each_other_add_their_logits_by_shares():
    single = small_design("mfcc_cnn_3d", modalities=("audio",))
    networks = [mfcc_cnn_3d.build_voice_network(single) for _ in range(2)]
    for network in networks:  # an untrained norm does nothing
        network.get_layer("audio_scale").set_weights([np.random.default_rng(i).uniform(1, 2, 20) for i in range(4)])
    double = dataclasses.replace(single, model={**single.model, "audio_towers": 2})
    joined = mfcc_cnn_3d.join_towers(double, networks, (0.7, 0.3))
    inputs = random_inputs(single)
    expected = 0.7 * answer(networks[0], inputs) + 0.3 * answer(networks[1], inputs)
    np.testing.assert_allclose(answer(joined, inputs), expected, atol=1e-5)
    whole = build_model(double)
    copy_branch(joined, whole, "audio")
    assert whole.get_layer("audio_vector").output.shape == (None, 4 * single.model["audio_units"])
