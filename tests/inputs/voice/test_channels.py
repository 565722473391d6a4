"""Calls with one person in each channel are told from other sound."""

import numpy as np
import pytest

from emotion.inputs.voice.channels import ChannelWatch
from emotion.media.reading import AudioChunk

TALK, ECHO, HISS = 0.1, 0.01, 0.001


def watch(*stretches):
    """Watches stretches of (seconds, left, right), in blocks of a quarter of a second."""
    levels = [pair for seconds, *pair in stretches for _ in range(round(4 * seconds))]
    chunks = [AudioChunk(i / 4, np.zeros(1, np.float32), np.array(pair)) for i, pair in enumerate(levels)]
    channels = ChannelWatch()
    assert list(channels.watch(chunks)) == chunks
    return channels.hold_two_people


@pytest.mark.parametrize(
    ("stretches", "expected"),
    [
        ([(3, TALK, HISS), (3, HISS, TALK)], True),
        ([(2, TALK, ECHO), (1, HISS, HISS), (2, ECHO, TALK), (1, TALK, TALK)], True),
        ([(3, TALK, TALK), (3, TALK, TALK)], False),
        ([(3, TALK, 0), (3, TALK, 0)], False),
        ([(3, TALK, TALK / 2), (3, TALK / 2, TALK)], False),
        ([(3, TALK, HISS), (0.5, HISS, TALK)], False),
        ([(2, TALK, HISS), (2, HISS, TALK), (6, TALK, TALK)], False),
        ([], False),
    ],
)
def test_each_channel_must_speak_alone_for_a_while(stretches, expected):
    assert watch(*stretches) == expected


def test_sound_of_one_channel_or_of_many_holds_no_call():
    chunks = [AudioChunk(i / 4, np.zeros(1, np.float32), np.ones(n)) for i, n in enumerate((1, 1, 6, 6))]
    channels = ChannelWatch()
    assert list(channels.watch(chunks)) == chunks and not channels.hold_two_people
