"""A voice expert and a face expert that start from published weights: compared, trained, joined and used."""

import dataclasses
import json

import numpy as np
import pytest
from efficientface_files import write_checkpoint
from references import load_reference, weights_of
from safetensors.numpy import save
from small_models import SMALL_EFFICIENTFACE, small_design

import train_model
from emotion import evaluate, fuse, weights
from emotion.config_files import to_dict
from emotion.inference.predictor import EmotionPredictor
from emotion.models.run_folder import load_run

SMALL_SPEECH = {"wav2vec2_width": 16, "wav2vec2_heads": 4, "wav2vec2_blocks": 2, "wav2vec2_channels": [8] * 7}


@pytest.fixture
def arguments(tmp_path, monkeypatch, dataset_dir, cache_dir):
    """Small weights as if they had been fetched, and the options for a small network of a design."""
    monkeypatch.setattr(weights, "weights_dir", lambda: tmp_path / "weights")
    (tmp_path / "mine.safetensors").write_bytes(save(weights_of(load_reference("models"), "wav2vec2")))
    weights.fetch_weights("wav2vec2", file=tmp_path / "mine.safetensors")

    def arguments(design: str, model: dict) -> tuple:
        config = small_design(design, model=model)
        config = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=1))
        (tmp_path / f"{design}.json").write_text(json.dumps(to_dict(config)))
        return (
            *("--root", dataset_dir, "--cache_dir", cache_dir, "--config", tmp_path / f"{design}.json"),
            *("--model", design, "--no_progress"),
        )

    return arguments


@pytest.mark.trains
def test_the_protocols_table_runs_with_a_small_wav2vec2(call, arguments, tmp_path, eagerly):
    done = call(
        evaluate, "protocols", *arguments("wav2vec2", SMALL_SPEECH), "--modality", "audio", "--pretrained", "wav2vec2",
        "--frozen_epochs", 1, "--output", tmp_path / "both",
    )  # fmt: skip
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "both" / "protocols.json").read_text())
    assert [row["protocol"] for row in report["rows"]] == ["speakers apart", "random"]
    assert {row["system"] for row in report["rows"]} == {"wav2vec2 (audio)"}


@pytest.mark.trains
@pytest.mark.thorough
def test_wav2vec2_and_efficientface_are_trained_joined_and_used(call, arguments, clips, tmp_path, eagerly, monkeypatch):
    monkeypatch.setattr("emotion.training.late_fusion.MIN_CLIPS", 2)
    monkeypatch.setattr("emotion.models.export_onnx.LARGEST_UNASKED", 0)  # tests/models export them
    voices, faces, fused = (tmp_path / name for name in ("voices", "faces", "fused"))
    done = call(
        train_model, *arguments("wav2vec2", SMALL_SPEECH), "--modality", "audio", "--pretrained", "wav2vec2",
        "--frozen_epochs", 9, "--output", voices,
    )  # fmt: skip
    assert done.code == 0, done.err
    published = weights_of(load_reference("models"), "wav2vec2")["wav2vec2.encoder.layer_norm.weight"]
    found = load_run(voices, runtime="keras").model.get_layer("audio_wav2vec2_norm").get_weights()[0]
    np.testing.assert_array_equal(found, published)  # it was frozen
    done = call(
        train_model, *arguments("logmel_cnn", SMALL_EFFICIENTFACE), "--modality", "video", "--efficientface_path",
        write_checkpoint(tmp_path / "trained.pth.tar"), "--layer_decay", 0.5, "--output", faces,
    )  # fmt: skip
    assert done.code == 0 and "SHA-256" in done.out, done.err
    done = call(fuse, "--audio", voices, "--video", faces, "--out", fused, *arguments("wav2vec2", SMALL_SPEECH)[:4])
    assert done.code == 0, done.err
    settings = load_run(fused).config.model
    assert settings["audio_expert"]["architecture"] == "wav2vec2"
    assert settings["video_expert"]["architecture"] == "logmel_cnn"
    prediction = EmotionPredictor(fused).predict(clips[0].video_path)
    assert prediction.overall.emotion in ("happy", "sad") and prediction.overall.evidence == "face+voice"
