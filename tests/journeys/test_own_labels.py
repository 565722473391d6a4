"""Classes of one's own: ten of them, from made clips through training, inference, export and every output."""

import dataclasses

import numpy as np
import pytest
from refusals import refused
from small_models import tiny_config

from emotion import export
from emotion.config import DataSource
from emotion.errors import ConfigError, DatasetError
from emotion.evaluation.judging import build_report, judge_clips
from emotion.inference.predictor import EmotionPredictor
from emotion.inference.web.fragments import format_answer, format_cards
from emotion.inference.web.timeline import format_timeline
from emotion.labels import EIGHT_EMOTIONS, check_class_name, emotions_in
from emotion.models.run_folder import load_run
from emotion.outputs.plots.timeline import write_timeline
from emotion.outputs.plots.training import write_report_matrix
from emotion.outputs.subtitles import format_srt
from emotion.outputs.tables import format_csv, to_json
from emotion.outputs.video.writing import write_annotated_video
from emotion.training.workflows import describe_data, train_on_clips

pytestmark = [pytest.mark.trains, pytest.mark.usefixtures("eagerly", "tiny_design")]

TEN = (*EIGHT_EMOTIONS, "bored", "contempt")
SOURCE = DataSource("made clips", "none", 16)


@pytest.fixture(scope="module")
def own_clips(clips):
    """Sixteen clips of ten emotions; the split by speaker leaves some of each on every side."""
    return [dataclasses.replace(clip, emotion=TEN[i % len(TEN)]) for i, clip in enumerate(clips)]


@pytest.fixture(scope="module")
def run(own_clips, cache_dir, tmp_path_factory, eagerly, tiny_design):
    folder = tmp_path_factory.mktemp("ten") / "run"
    train_on_clips(own_clips, SOURCE, tiny_config(class_names=EIGHT_EMOTIONS), folder, every_label=True,
                   cache_dir=cache_dir)  # fmt: skip
    return load_run(folder)


@pytest.fixture(scope="module")
def prediction(run, own_clips):
    return EmotionPredictor(run).predict(own_clips[0].video_path)


def test_all_labels_of_the_data_become_classes(run):
    assert run.config.class_names == TEN


def test_every_output_shows_ten_classes(prediction, tmp_path):
    assert prediction.class_names == TEN and prediction.overall.probabilities.shape == (10,)
    assert list(to_json(prediction)["overall"]["probabilities"]) == list(TEN)
    assert "bored,contempt" in format_csv(prediction).splitlines()[0]
    assert format_srt(prediction)
    write_timeline(prediction, tmp_path / "timeline.png")
    write_annotated_video(prediction, tmp_path / "video.mp4")
    assert (tmp_path / "video.mp4").stat().st_size > 1000
    page = format_answer(prediction) + format_cards(prediction, {}) + format_timeline(prediction)
    assert prediction.overall.most_probable in page


def test_ten_classes_are_scored_and_drawn(run, own_clips, tmp_path):
    judged = judge_clips(own_clips, run).judgements
    report = build_report(judged, TEN)
    assert np.shape(report["confusion_matrix"]) == (10, 10) and set(report["per_class"]) == set(TEN)
    write_report_matrix({**report, "protocol": "made clips"}, tmp_path / "matrix.png")


def test_the_exported_network_answers_for_ten_classes(run, call, own_clips):
    ended = call(export, run.path)
    assert ended.code == 0, ended.stderr
    answer = EmotionPredictor(load_run(run.path, runtime="onnx")).predict(own_clips[0].video_path)
    assert answer.class_names == TEN


def test_labels_without_a_class_are_told_with_the_way_to_use_them(own_clips):
    config = describe_data(tiny_config(class_names=EIGHT_EMOTIONS), own_clips, SOURCE)
    assert config.class_names == EIGHT_EMOTIONS
    few = [clip for clip in own_clips if clip.emotion in ("neutral", "bored", "contempt")]
    with refused(DatasetError, "neutral", "--labels auto"):
        describe_data(tiny_config(class_names=EIGHT_EMOTIONS), few, SOURCE)


def test_a_misspelt_label_is_no_class(own_clips):
    with refused(DatasetError, "suprised", "surprised"):
        describe_data(tiny_config(class_names=("sad", "suprised")), own_clips, SOURCE)


def test_emotions_come_in_one_order():
    assert emotions_in(["contempt", "sad", "bored", "neutral"]) == ("neutral", "sad", "bored", "contempt")


@pytest.mark.parametrize("word", ["Engaged", "very bored", "geëngageerd", "退屈", "mind-wandering"])
def test_words_of_any_language_name_classes(word):
    assert check_class_name(word) == word.lower()


@pytest.mark.parametrize("word", ["=1+1", "<b>", "a/b", "unsure", "", "2", "x" * 31, "a,b", "a\nb"])
def test_a_name_that_another_program_would_run_is_refused(word):
    with refused(ConfigError, repr(word)):
        check_class_name(word)
