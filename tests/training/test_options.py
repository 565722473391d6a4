"""Settings from options, a file, and the architecture, in that order."""

import argparse
import json

import pytest

from emotion.config import WHISPER_AUDIO, AudioConfig
from emotion.errors import ConfigError
from emotion.models import ARCHITECTURES, find_design
from emotion.training.options import add_data_options, add_training_options, build_config, read_data_options


@pytest.fixture
def options(tmp_path):
    """Builds the settings for some options, and the content of a ``--config`` file."""

    def build(*arguments: str, file=None):
        parser = argparse.ArgumentParser()
        add_training_options(parser)
        if file is not None:
            (tmp_path / "mine.json").write_text(json.dumps(file), encoding="utf-8")
            arguments = (*arguments, "--config", str(tmp_path / "mine.json"))
        return build_config(vars(parser.parse_args(arguments)))

    return build


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_an_architecture_brings_its_own_sound(options, architecture):
    for config in (options("--model", architecture), options(file={"architecture": architecture})):
        assert config.architecture == architecture
        assert config.audio == find_design(architecture).audio


def test_whisper_takes_log_mel_pictures_and_all_else_takes_mfccs(options):
    assert options().audio == AudioConfig()
    assert options("--model", "whisper_cnn_3d").audio == WHISPER_AUDIO
    assert options("--model", "mfcc_cnn_3d", file={"architecture": "whisper_cnn_3d"}).audio == AudioConfig()


def test_settings_in_the_file_come_before_the_architectures(options):
    config = options("--model", "whisper_cnn_3d", "--epochs", "3", file={"audio": {"n_mels": 40}})
    assert (config.audio.features, config.audio.n_mels, config.training.epochs) == ("log_mel", 40, 3)


def test_weights_bring_the_settings_that_they_need(options):
    plain, config = options("--model", "logmel_cnn"), options("--model", "logmel_cnn", "--pretrained", "efficientface")
    assert plain.model == {} and plain.video.image_size == 112
    assert config.model == {"video_encoder": "efficientface"}
    assert (config.video.image_size, config.video.n_frames, config.video.crop) == (224, 15, "box")
    file = {"architecture": "logmel_cnn", "model": {"video_units": 8}, "training": {"pretrained": ["efficientface"]}}
    config = options("--video_len", "4", file=file)
    assert config.model == {"video_encoder": "efficientface", "video_units": 8}
    assert (config.video.image_size, config.video.n_frames) == (224, 4)
    assert options(file={**file, "model": {"video_encoder": "cnn"}}).model == {"video_encoder": "cnn"}


def test_sound_that_the_architecture_cannot_take_is_refused(options):
    with pytest.raises(ConfigError, match="whisper_cnn_3d.*audio.sample_rate.*16000.*22050"):
        options("--model", "whisper_cnn_3d", file={"audio": {"sample_rate": 22050}})
    silent = options("--model", "whisper_cnn_3d", "--modality", "video", file={"audio": {"sample_rate": 22050}})
    assert silent.modalities == ("video",)


@pytest.mark.parametrize("file", [[], 3, {"architecture": []}, {"audio": 3}, {"audio": {"n_mel": 3}}])
def test_a_file_of_other_things_is_refused_by_its_name(options, file):
    with pytest.raises(ConfigError, match=r"mine\.json"):
        options(file=file)


def test_a_file_of_an_earlier_format_keeps_what_it_does_not_say_to_the_design(options):
    old = {"format_version": 3, "training": {"epochs": 5}, "video": {"image_size": 96}}
    assert options("--model", "mobilefacenet_lstm", file=old).video.fill == "none"
    assert options("--model", "resnet18_ast", file=old).training.weight_decay == 0.01
    with pytest.raises(ConfigError, match="late_fusion.*--fusion late"):
        options(file={"architecture": "late_fusion"})


def test_options_of_a_data_set_are_read_and_named_again():
    parser = argparse.ArgumentParser()
    add_data_options(parser)
    words = ["--dataset", "cremad", "--dataset_dir", "x", "--dataset_option", "labels=perceived", "raters=voice"]
    request = read_data_options(vars(parser.parse_args(words)))
    assert request.choices == ("labels=perceived", "raters=voice")
    assert request.options() == words
    assert read_data_options(vars(parser.parse_args([]))).options() == []
