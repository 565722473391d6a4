"""Emotions have colours of their own, on which text reads well."""

import pytest

from emotion.errors import ConfigError
from emotion.labels import EIGHT_EMOTIONS
from emotion.outputs.palette import DARK, EMOTION_COLOURS, WHITE, contrast_ratio, emotion_colour, text_colour
from emotion.results import UNSURE


def test_no_two_emotions_share_a_colour_and_all_have_one():
    colours = [emotion_colour(emotion) for emotion in (*EIGHT_EMOTIONS, None)]
    assert len(set(colours)) == 9
    assert emotion_colour(UNSURE) == emotion_colour(None)


def test_an_unknown_emotion_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match="neutral, calm"):
        emotion_colour("bored")


@pytest.mark.parametrize("emotion", (*EIGHT_EMOTIONS, None))
def test_text_on_every_plate_reads_well(emotion):
    background = emotion_colour(emotion)
    assert contrast_ratio(text_colour(background), background) >= 4.5  # WCAG 2.1, level AA


def test_text_is_white_on_blue_and_dark_on_yellow():
    assert text_colour(EMOTION_COLOURS["sad"]) == WHITE
    assert text_colour(EMOTION_COLOURS["happy"]) == DARK
