"""Voices of many corpora: what each counts, what is learned of corpora left out, and of a person's own baseline."""

import numpy as np
import pytest

from emotion.datasets import manifest
from emotion.datasets.clips import Clip
from emotion.datasets.votes import read_votes
from emotion.errors import DatasetError
from emotion.labels import SEVEN_EMOTIONS
from emotion.training.calibrating import Answers
from emotion.training.recipes.new_corpora import (
    CorpusAnswers,
    deal_corpora,
    fit_confidence,
    fit_neutral_offset,
    format_corpora,
    gather_answers,
    read_answers,
    score_corpora,
    write_answers,
)
from emotion.training.recipes.own_baseline import BaselineChoices, Baselines, answer_with_baseline, fit_baseline_head
from emotion.training.recipes.voice_bank import VoiceBank, clip_targets, weigh_clips
from emotion.training.recipes.voices import corpus_of, describe_corpora, language_of, load_voices

NAMES = ("neutral", "happy", "sad")


def make_clip(number, emotion, corpus="one", speaker="a", **details):
    details = {"corpus": corpus, **details}
    return Clip(
        f"m:{number}", emotion, f"{corpus}:{speaker}", audio_path=f"{number}.wav", sex="female", details=details
    )


def make_bank(clips):
    """One varied and one plain window a clip."""
    owners = np.tile(np.arange(len(clips)), 2)
    return VoiceBank(np.zeros((len(owners), 1)), owners, len(clips), tuple(clips), np.ones(len(owners), bool))


# ---- What each clip counts ----


def test_votes_are_read_by_the_names_of_emotions():
    votes = read_votes(make_clip(1, "sad", votes="sadness=6 neutral=3 bored=2"), NAMES)
    assert votes.tolist() == [3, 0, 6]
    assert not read_votes(make_clip(1, "sad"), NAMES).any()
    with pytest.raises(DatasetError, match="angry=6 disgust=2, got 'sad'"):
        read_votes(make_clip(1, "sad", votes="sad"), NAMES)


def test_listeners_votes_soften_the_label():
    clips = [make_clip(1, "sad", votes="sad=2 neutral=2"), make_clip(2, "happy"), make_clip(3, "bored")]
    targets = clip_targets(make_bank(clips), NAMES, 0.5)
    np.testing.assert_allclose(targets, [[0.25, 0, 0.75], [0, 1, 0], [0, 0, 0]])


def test_every_class_counts_the_same_and_a_large_corpus_less_than_its_clips():
    corpora = np.array(["large"] * 16 + ["small"] * 4 + ["large"] * 2)
    classes = np.array([0] * 16 + [0, 0, 0, 0] + [1, -1])
    chosen = np.array([i for i in range(22) if i != 3])
    weights = weigh_clips(corpora, classes, chosen)
    assert weights[classes == 0].sum() == pytest.approx(weights[classes == 1].sum()) == pytest.approx(10)
    assert weights[3] == weights[21] == 0
    large, small = weights[:16].sum(), weights[16:20].sum()
    assert small < large < 15 / 4 * small


# ---- Corpora ----


def test_a_manifest_holds_many_corpora_each_with_its_language_and_licence(tmp_path):
    rows = ["path,emotion,speaker,corpus,language,licence", "a.ogg,sad,x:1,x,tr,CC0", "b.ogg,happy,x:2,x,tr,CC0"]
    (tmp_path / "manifest.csv").write_text("\n".join([*rows, "c.ogg,neutral,y:1,y,de,MIT"]))
    clips = manifest.load(tmp_path)
    assert [(corpus_of(clip), language_of(clip)) for clip in clips] == [("x", "tr"), ("x", "tr"), ("y", "de")]
    names = {source.name: (source.licence, source.n_clips) for source in describe_corpora(clips)}
    assert names == {"x, tr, 2 speakers": ("CC0", 2), "y, de, 1 speakers": ("MIT", 1)}
    assert corpus_of(Clip("ravdess:1", "sad", audio_path="1.wav")) == "ravdess"


@pytest.fixture
def folders(tmp_path):
    """Files without sound: only their names are read."""
    names = [f"ravdess/03-01-{e}-01-01-01-{a:02}.wav" for e in ("01", "03") for a in range(1, 5)]
    names += [f"emodb/{speaker}a01{letter}a.ogg" for speaker in ("03", "08", "10", "13") for letter in "NFL"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    rows = [
        f"{corpus}/{speaker}{emotion}.ogg,{emotion},{corpus}:{speaker},{corpus}"
        for corpus in ("clear", "noisy", "secret")
        for speaker in "abcd"
        for emotion in ("sad", "other")
    ]
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "manifest.csv").write_text("\n".join(["path,emotion,speaker,corpus", *rows]))
    return tmp_path


def test_speakers_of_every_corpus_validate_and_labels_that_are_not_believed_are_not_learned(folders):
    options = {"validation_fraction": 0.25, "seed": 0}
    voices = load_voices(folders, SEVEN_EMOTIONS, only_tested=("secret",), without_labels=("noisy",), **options)
    for corpus, of_validation in (("ravdess", 2), ("emodb", 2), ("clear", 1), ("noisy", 0), ("secret", 0)):
        speakers = {side: {c.speaker for c in getattr(voices, side) if corpus_of(c) == corpus}
                    for side in ("train", "validation", "unlabelled")}  # fmt: skip
        assert sum(corpus_of(clip) == corpus for clip in voices.validation) == of_validation
        assert not speakers["validation"] & (speakers["train"] | speakers["unlabelled"])
    assert sum(corpus_of(clip) == "noisy" for clip in voices.unlabelled) == 8
    assert {corpus_of(clip) for clip in voices.train} == {"ravdess", "emodb", "clear"}
    assert len(voices.clips) == 8 + 12 + 24
    assert voices.clips == load_voices(folders, SEVEN_EMOTIONS, **options).clips


def test_every_corpus_is_left_out_once(tmp_path):
    bank = make_bank([make_clip(i, "sad", corpus) for i, corpus in enumerate("aaabbcd")])
    assert deal_corpora(bank, [("a", "absent"), ("b", "c")]) == [("a", "d"), ("b", "c")]
    dealt = deal_corpora(bank, [("a", "absent"), ("b",), ("none",)])
    assert sorted(name for fold in dealt for name in fold) == ["a", "b", "c", "d"]
    assert all(fold for fold in dealt)


def draw_answers(sharpness, classes, n=120, seed=0):
    """Answers that are right as often as they say if ``sharpness`` is 1."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.standard_normal((4 * n, len(NAMES)))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(len(NAMES), p=row) for row in honest])
    kept = np.flatnonzero(np.isin(truth, classes))[:n]
    sharpened = np.exp(sharpness * logits[kept])
    rows = sharpened / sharpened.sum(axis=1, keepdims=True)
    return Answers([row[None] for row in rows], truth[kept], (np.arange(len(kept)) % 6).astype(str),
                   np.array(["male", "female"] * len(kept))[: len(kept)])  # fmt: skip


def test_confidence_is_fitted_to_corpora_each_of_which_counts_the_same():
    few, many = draw_answers(3.0, [0, 1, 2], n=60), draw_answers(3.0, [0, 1, 2], n=400, seed=1)
    fitted = fit_confidence([few, many])
    assert fitted.temperature == pytest.approx(3.0, rel=0.25) and 0 <= fitted.unsure_below < 1
    assert fit_confidence([]).temperature == 1.0


def test_actors_who_are_all_called_neutral_are_told_apart_again_and_calm_talk_stays_neutral():
    actors, calm = draw_answers(1.0, [0, 1, 2], n=300), draw_answers(3.0, [0], n=60, seed=1)
    called_neutral, surely_neutral = actors.shifted(0, -1.0), calm.shifted(0, -6.0)
    assert (called_neutral.merged().argmax(axis=1) == 0).mean() > 0.5
    offset = fit_neutral_offset([called_neutral, surely_neutral], 0)
    assert 0.5 <= offset <= 1.4
    assert (surely_neutral.shifted(0, offset).merged().argmax(axis=1) == 0).mean() > 0.95
    # Calm talk that every step turns into something else allows none; nor is there one without calm talk.
    assert fit_neutral_offset([called_neutral, calm.shifted(0, 0.5)], 0) < offset
    assert fit_neutral_offset([called_neutral], 0) == 0
    fitted = fit_confidence([called_neutral, surely_neutral], 0)
    assert fitted.neutral_offset == fit_neutral_offset([called_neutral, surely_neutral], 0)
    np.testing.assert_allclose(actors.shifted(0, -1.0).shifted(0, 1.0).merged(), actors.merged(), atol=1e-6)


def test_each_corpus_is_scored_by_what_the_others_taught(tmp_path, monkeypatch):
    monkeypatch.setattr("emotion.training.recipes.new_corpora.N_FITTED", 60)
    answers = {
        "played": CorpusAnswers("tr", draw_answers(3.0, [0, 1, 2], 150), draw_answers(1.0, [0, 1, 2], 40, seed=3)),
        "other": CorpusAnswers("de", draw_answers(3.0, [0, 1, 2], 150, seed=1), None),
        "calm": CorpusAnswers("", draw_answers(3.0, [0], 40, seed=2), None),
    }
    write_answers(tmp_path / "answers.npz", answers)
    scores = score_corpora(read_answers(tmp_path / "answers.npz"), NAMES)
    assert scores == score_corpora(answers, NAMES)
    assert scores["corpora"]["played"]["ece"] < 0.12
    own = score_corpora({"played": answers["played"]}, NAMES)["corpora"]["played"]
    assert own["temperature"] == 1.0 and own["ece"] > 0.15
    assert own["uar"] == pytest.approx(scores["corpora"]["played"]["uar"], abs=0.03)
    assert scores["mean_uar"] == pytest.approx(
        np.mean([scores["corpora"][name]["uar"] for name in ("played", "other")])
    )
    calm = scores["corpora"]["calm"]
    assert calm["n_emotions"] == 1 and calm["neutral_or_unsure"] + calm["sure_of_another"] <= 1
    assert set(scores["corpora"]["played"]["uar_by_sex"]) == {"female", "male"}
    table = format_corpora(scores).splitlines()
    assert [line.split("|")[1].strip() for line in table[2:6]] == ["played", "other", "calm", "mean of acted"]


def test_clips_without_an_answer_are_not_scored():
    bank = make_bank([make_clip(i, emotion) for i, emotion in enumerate(("sad", "happy", "neutral"))])
    answers = gather_answers(bank, np.arange(3), {0: np.eye(3)[:1], 2: np.eye(3)[:2]}.get, NAMES)
    assert answers.classes.tolist() == [2, 0] and [len(clip) for clip in answers.clips] == [1, 2]
    assert gather_answers(bank, np.arange(3), {}.get, NAMES) is None


# ---- A person's own baseline ----


@pytest.fixture(scope="module")
def people():
    """Speakers whose voices differ much more than their emotions: features of two windows a clip, and the bank."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((3, 12))
    clips, features = [], []
    for speaker in range(30):
        own = 20 * rng.standard_normal(12)
        for take in range(9):
            emotion = take % 3
            clips.append(make_clip(len(clips), NAMES[emotion], f"corpus{speaker % 3}", str(speaker)))
            features.append(own + directions[emotion] + 0.2 * rng.standard_normal(12))
    features = np.array(features * 2, np.float32)
    return make_bank(clips), features


def test_a_baseline_is_the_mean_of_other_neutral_clips_of_the_speaker(people):
    bank, features = people
    baselines = Baselines(features, bank, NAMES, np.arange(len(bank.clips)))
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(baselines.neutral(0, 5, rng), features[[3, 6]].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(baselines.neutral(1, 5, rng), features[[0, 3, 6]].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(baselines.usual(1, 1.0, rng), features[:9].mean(axis=0), rtol=1e-5)
    only_one = Baselines(features, bank, NAMES, np.array([0, 1]))
    assert only_one.neutral(0, 5, rng) is None and only_one.usual(0, 1.0, rng) is None


def test_who_is_compared_with_themselves_is_understood_by_those_who_never_met_them(people):
    bank, features = people
    strangers = np.flatnonzero([corpus_of(clip) == "corpus0" for clip in bank.clips])
    known = np.setdiff1d(np.arange(len(bank.clips)), strangers)
    head = fit_baseline_head(features, bank, known, NAMES, BaselineChoices(ridge=1e-2), seed=0)
    again = fit_baseline_head(features, bank, known, NAMES, BaselineChoices(ridge=1e-2), seed=0)
    np.testing.assert_array_equal(head.get_weights()[0], again.get_weights()[0])
    answers = answer_with_baseline(head, features, bank, strangers, NAMES, seed=0)
    truth = bank.classes(NAMES)
    assert set(answers) == set(strangers.tolist())
    assert np.mean([answers[clip].mean(axis=0).argmax() == truth[clip] for clip in answers]) > 0.9
    np.testing.assert_allclose(np.asarray(head(features[:1] * 0)).argmax(), 0)  # nothing unusual is neutral
