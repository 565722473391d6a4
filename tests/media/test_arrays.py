"""What lies in memory is read like a file."""

import numpy as np
import pytest
from PIL import Image

from emotion.errors import InputTypeError, MediaError
from emotion.media.arrays import ArrayRecording, to_picture
from emotion.media.decoding import AudioChunk
from emotion.media.pictures import VideoFrame

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 8, 12, 3), np.uint8)
RATE = 16000
TONE = np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE).astype(np.float32)


def read(recording, rate=RATE):
    items = list(recording.read(rate))
    pictures = [item for item in items if isinstance(item, VideoFrame)]
    sounds = [item.samples for item in items if isinstance(item, AudioChunk)]
    assert [item.time_seconds for item in items] == sorted(item.time_seconds for item in items)
    return pictures, np.concatenate(sounds) if sounds else np.zeros(0)


def test_pictures_follow_at_their_rate_or_at_their_times():
    pictures, _ = read(ArrayRecording("a", FRAMES, frames_per_second=10))
    assert [round(each.time_seconds, 6) for each in pictures] == [0, 0.1, 0.2, 0.3, 0.4]
    assert np.array_equal(pictures[3].image, FRAMES[3])
    pictures, _ = read(ArrayRecording("a", iter(FRAMES), times_seconds=iter([0, 1, 1.5, 4, 4.25])))
    assert [(each.time_seconds, each.duration_seconds) for each in pictures] == [
        (0, 1), (1, 0.5), (1.5, 2.5), (4, 0.25), (4.25, 0.25),
    ]  # fmt: skip


def test_it_knows_its_length_where_that_can_be_known():
    assert ArrayRecording("a", FRAMES, frames_per_second=10).probe().duration_seconds == 0.5
    assert ArrayRecording("a", iter(FRAMES), frames_per_second=10).probe().duration_seconds is None
    info = ArrayRecording("a", samples=TONE, sample_rate=RATE).probe()
    assert info.duration_seconds == 2 and info.has_audio and not info.has_video
    assert ArrayRecording("a", FRAMES[:1], is_still=True).probe().is_still


@pytest.mark.parametrize("rate", [8000, 22050])
def test_sound_is_resampled_mixed_and_scaled(rate):
    for samples in (TONE, (TONE * 32767).astype(np.int16), np.stack([TONE, TONE], axis=1), np.stack([TONE] * 3, 1)):
        _, heard = read(ArrayRecording("a", samples=samples, sample_rate=RATE), rate)
        assert len(heard) == pytest.approx(2 * rate, abs=64)
        assert np.abs(heard).max() == pytest.approx(1.0, abs=0.05)
        assert np.sqrt(np.mean(heard[1000:-1000] ** 2)) == pytest.approx(0.707, abs=0.01)


def test_a_part_begins_at_zero():
    recording = ArrayRecording(
        "a", FRAMES, frames_per_second=10, samples=TONE, sample_rate=RATE, start_seconds=0.2, end_seconds=0.4
    )
    pictures, heard = read(recording)
    assert [round(each.time_seconds, 6) for each in pictures] == [0, 0.1] and len(heard) == 0.2 * RATE
    assert np.array_equal(pictures[0].image, FRAMES[2]) and recording.probe().duration_seconds == pytest.approx(0.2)


def test_pictures_that_do_not_go_together_are_told():
    with pytest.raises(MediaError, match="5 pictures, but 3 times"):
        ArrayRecording("a", FRAMES, times_seconds=[0, 1, 2]).probe()
    with pytest.raises(MediaError, match="rising times"):
        read(ArrayRecording("a", FRAMES, times_seconds=[0, 1, 1, 2, 3]))
    with pytest.raises(MediaError, match="6 x 8 pixels, the first 12 x 8"):
        read(ArrayRecording("a", [FRAMES[0], FRAMES[1][:, :6]], frames_per_second=1))
    with pytest.raises(MediaError, match="no picture"):
        ArrayRecording("a", FRAMES[:0], frames_per_second=1).probe()


def test_pictures_come_as_arrays_or_from_pillow_upright_and_in_rgb():
    assert np.array_equal(to_picture(FRAMES[0][..., ::-1], "bgr"), FRAMES[0])
    turned = Image.fromarray(FRAMES[0])
    turned.getexif()[0x0112] = 6  # to be shown a quarter turned
    assert np.array_equal(to_picture(turned), np.rot90(FRAMES[0], -1))
    for wrong in (FRAMES[0] / 255, FRAMES[0][..., 0], FRAMES, "a.png", None):
        with pytest.raises(InputTypeError):
            to_picture(wrong)
