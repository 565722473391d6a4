"""Ratings of valence and arousal move the places of the classes, as far as they are enough for that."""

import json
import math

import numpy as np
import pytest
from refusals import refused

from emotion.config import RunConfig
from emotion.datasets.clips import Clip
from emotion.errors import DatasetError, RunError
from emotion.evaluation.judging import Judgement
from emotion.models.emotion_places import PLACES_FILE, load_places, write_places
from emotion.outputs.valence_arousal import PLACES
from emotion.training.rated_clips import concordance, learn_places, read_affect_ratings, score_places

NAMES = ("happy", "sad", "engaged")
TRUE = np.array([(0.2, 0.9), (-0.9, -0.8), (0.6, -0.5)])


def make_answers(n_clips, noise=0.0, seed=0):
    """Answers of a model, and ratings that are the mean of the true places with some noise."""
    rng = np.random.default_rng(seed)
    answers = rng.dirichlet((0.5, 0.5, 0.5), n_clips)
    wanted = np.clip(answers @ TRUE + noise * rng.standard_normal((n_clips, 2)), -1, 1)
    judgements = [Judgement(f"c{i}", 0, row, "both", f"s{i % 6}", None) for i, row in enumerate(answers)]
    return judgements, {f"c{i}": tuple(pair) for i, pair in enumerate(wanted)}


def test_many_ratings_give_the_places_they_were_made_of():
    judgements, ratings = make_answers(300, noise=0.02)
    places, ridge = learn_places(judgements, ratings, NAMES)
    assert not math.isinf(ridge)
    np.testing.assert_allclose([places[name] for name in NAMES], TRUE, atol=0.03)
    others, theirs = make_answers(100, noise=0.02, seed=1)
    scores = score_places(places, others, theirs, NAMES)
    assert scores["n_clips"] == 100 and min(scores["ccc"].values()) > 0.95


def test_few_ratings_that_agree_with_the_published_places_leave_them_about_there():
    names = ("happy", "sad", "angry")
    published = np.array([PLACES[name] for name in names])
    judgements, _ = make_answers(12)
    noise = 0.3 * np.random.default_rng(3).standard_normal((12, 2))
    ratings = {each.clip_id: tuple(pair) for each, pair in zip(
        judgements, np.clip([each.probabilities @ published for each in judgements] + noise, -1, 1), strict=True
    )}  # fmt: skip
    places, ridge = learn_places(judgements, ratings, names)
    assert ridge >= 1
    np.testing.assert_allclose([places[name] for name in names], published, atol=0.3)


def test_too_few_ratings_teach_nothing():
    judgements, ratings = make_answers(30)
    few = dict(list(ratings.items())[:4])
    assert learn_places(judgements, few, NAMES) is None and score_places({}, judgements[:1], ratings, NAMES) is None


def test_ratings_are_read_from_a_manifests_columns():
    clips = [
        Clip("a", "happy", audio_path="a.wav", details={"valence": "0,5", "arousal": "-1"}),
        Clip("b", "sad", audio_path="b.wav", details={"valence": "", "arousal": "0.1"}),
    ]
    assert read_affect_ratings(clips) == {"a": (0.5, -1.0)}
    wrong = [Clip("c", "sad", audio_path="c.wav", details={"valence": "7", "arousal": "3"})]
    with refused(DatasetError, "c: valence and arousal are 7 and 3", "(x - 5) / 4"):
        read_affect_ratings(wrong)


def test_concordance_falls_with_scale_and_offset():
    values = np.linspace(-1, 1, 50)
    assert concordance(values, values) == pytest.approx(1) and concordance(values, -values) == pytest.approx(-1)
    assert 0 < concordance(values, values + 0.5) < 1 and concordance(values, np.zeros(50)) == 0


def test_a_model_folder_keeps_its_places_and_refuses_others(tmp_path):
    config = RunConfig(class_names=NAMES)
    places = {"happy": (0.5, 0.5), "sad": (-0.5, 0.0), "engaged": (0.1, 0.2)}
    assert load_places(tmp_path, config) is None
    write_places(tmp_path, places, {"ridge": 1.0})
    assert load_places(tmp_path, config) == places
    for held in ({"places": {"happy": [0, 0]}}, {"places": {**places, "sad": [3, 0]}}, {}, [], {"places": {"a": 1}}):
        (tmp_path / PLACES_FILE).write_text(json.dumps(held))
        with pytest.raises(RunError, match=PLACES_FILE):
            load_places(tmp_path, config)
