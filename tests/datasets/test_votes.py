"""Listeners' votes as text and as soft targets."""

import numpy as np

from emotion.datasets.clips import Clip
from emotion.datasets.votes import read_votes, soft_target, write_votes

NAMES = ("neutral", "happy", "sad")


def make_clip(emotion, votes):
    return Clip("x:1", emotion, audio_path="1.wav", details={"votes": votes} if votes else {})


def test_votes_read_back_as_they_were_written():
    text = write_votes({"sad": 6, "happy": 0, "neutral": 3, "angry": 2})
    assert text == "sad=6 neutral=3 angry=2"
    assert read_votes(make_clip("sad", text), NAMES).tolist() == [3, 0, 6]


def test_targets_lie_between_the_label_and_the_votes():
    np.testing.assert_allclose(soft_target(make_clip("sad", "sad=1 neutral=1"), NAMES, 0.5), [0.25, 0, 0.75])
    np.testing.assert_allclose(soft_target(make_clip("sad", ""), NAMES, 0.5), [0, 0, 1])
    assert not soft_target(make_clip("undecided", "sad=1 neutral=1"), NAMES, 0.5).any()
