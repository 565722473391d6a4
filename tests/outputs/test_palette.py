"""Emotions have colours of their own, on which text reads well."""

import pytest

from emotion.labels import EIGHT_EMOTIONS
from emotion.outputs.palette import DARK, EMOTION_COLOURS, WHITE, contrast_ratio, emotion_colour, text_colour
from emotion.results import UNSURE


def test_no_two_emotions_share_a_colour_and_all_have_one():
    colours = [emotion_colour(emotion) for emotion in (*EIGHT_EMOTIONS, None)]
    assert len(set(colours)) == 9
    assert emotion_colour(UNSURE) == emotion_colour(None)


@pytest.mark.parametrize("n_own", [1, 12, 20])
def test_twenty_classes_have_twenty_colours(n_own):
    names = (*EIGHT_EMOTIONS[: 20 - n_own], *(f"own{i}" for i in range(n_own)))
    colours = [emotion_colour(name, names) for name in names]
    assert len(set(colours)) == len(names) and emotion_colour(None) not in colours
    for colour in colours:
        assert contrast_ratio(text_colour(colour), colour) >= 4.5


def test_a_known_emotion_has_its_colour_in_every_model():
    assert emotion_colour("sad", ("bored", "sad")) == emotion_colour("sad", EIGHT_EMOTIONS) == EMOTION_COLOURS["sad"]


def test_more_classes_than_colours_repeat_some():
    names = tuple(f"own{i}" for i in range(25))
    assert len({emotion_colour(name, names) for name in names}) == 20


@pytest.mark.parametrize("emotion", (*EIGHT_EMOTIONS, None))
def test_text_on_every_plate_reads_well(emotion):
    background = emotion_colour(emotion)
    assert contrast_ratio(text_colour(background), background) >= 4.5  # WCAG 2.1, level AA


def test_text_is_white_on_blue_and_dark_on_yellow():
    assert text_colour(EMOTION_COLOURS["sad"]) == WHITE
    assert text_colour(EMOTION_COLOURS["happy"]) == DARK
