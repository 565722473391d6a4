"""Which words name which emotion, and which class of a model that is."""

import pytest
from refusals import refused

from emotion.errors import ConfigError
from emotion.labels import (
    CREMAD_EMOTIONS,
    EIGHT_EMOTIONS,
    EMODB_EMOTIONS,
    FER2013_EMOTIONS,
    FERPLUS_VOTES,
    RAVDESS_EMOTIONS,
    SEVEN_EMOTIONS,
    SYNONYMS,
    canonical_emotion,
    class_index,
    read_emotion,
)


@pytest.mark.parametrize("emotion", EIGHT_EMOTIONS)
def test_a_canonical_name_is_its_own_whatever_its_case_and_the_blanks_around_it(emotion):
    assert canonical_emotion(emotion) == emotion
    assert canonical_emotion(f"  {emotion.upper()}\n") == emotion


@pytest.mark.parametrize(
    ("word", "emotion"),
    [("Joy", "happy"), ("happiness", "happy"), ("sadness", "sad"), ("ANGER", "angry"), ("fear", "fearful"),
     ("disgusted", "disgust"), ("surprise", "surprised")],
)  # fmt: skip
def test_other_words_for_an_emotion_are_understood(word, emotion):
    assert canonical_emotion(word) == emotion


@pytest.mark.parametrize("word", ["boredom", "", "none", "happy sad", "0"])
def test_an_unknown_word_lists_the_choices(word):
    with refused(ConfigError, repr(word), *EIGHT_EMOTIONS):
        canonical_emotion(word)


def test_calm_joins_neutral_where_the_model_has_no_class_for_it():
    assert class_index("calm", SEVEN_EMOTIONS) == SEVEN_EMOTIONS.index("neutral")
    assert class_index("calm", EIGHT_EMOTIONS) == EIGHT_EMOTIONS.index("calm")
    assert class_index("calm", ("sad", "happy")) is None


def test_nothing_but_calm_is_merged():
    for emotion in EIGHT_EMOTIONS:
        others = tuple(name for name in EIGHT_EMOTIONS if name != emotion)
        assert (class_index(emotion, others) is None) == (emotion != "calm")
    assert class_index("neutral", ("calm", "happy")) is None


def test_the_index_follows_the_order_of_the_classes():
    names = ("surprised", "neutral", "happy")
    assert [class_index(name, names) for name in ("happy", "joy", "surprise", "neutral")] == [2, 2, 0, 1]


def test_an_unknown_emotion_keeps_its_word_and_has_no_index():
    assert read_emotion(" Boredom ") == "boredom"
    assert read_emotion("Joy") == read_emotion("HAP") == "happy"
    assert class_index("boredom", EIGHT_EMOTIONS) is None


def test_every_word_of_every_data_set_is_canonical():
    words = {*RAVDESS_EMOTIONS.values(), *EMODB_EMOTIONS.values(), *FERPLUS_VOTES, *FER2013_EMOTIONS}
    assert set(CREMAD_EMOTIONS.values()) < set(EIGHT_EMOTIONS)
    assert words - {None} == set(EIGHT_EMOTIONS)
    assert set(SYNONYMS.values()) <= set(EIGHT_EMOTIONS)
    assert not set(SYNONYMS) & set(EIGHT_EMOTIONS)


def test_the_data_sets_codes_mean_what_their_makers_say():
    assert [RAVDESS_EMOTIONS[code] for code in ("01", "02", "05", "08")] == ["neutral", "calm", "angry", "surprised"]
    # German initials: Freude, Trauer, Wut, Angst, Ekel; Langeweile, boredom, has no counterpart.
    assert [EMODB_EMOTIONS[code] for code in "FTWAE"] == ["happy", "sad", "angry", "fearful", "disgust"]
    assert EMODB_EMOTIONS["L"] is None
    assert list(FER2013_EMOTIONS) == sorted(FER2013_EMOTIONS)
    assert FERPLUS_VOTES[0] == "neutral" and FERPLUS_VOTES[2] == "surprised"
