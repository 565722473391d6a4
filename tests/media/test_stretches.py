"""A stretch of a file is what a file cut there would hold."""

import math

import media_files
import numpy as np
import pytest

from emotion.errors import MediaError
from emotion.media import streams
from emotion.media.pictures import VideoFrame
from emotion.media.reading import AudioChunk, iterate_media
from emotion.media.stretches import iterate_stretch

RATE = 8000


def collect(items):
    items = list(items)
    frames = [item for item in items if isinstance(item, VideoFrame)]
    sound = [item.samples for item in items if isinstance(item, AudioChunk)]
    return frames, np.concatenate(sound) if sound else np.zeros(0, np.float32)


def count_frames(monkeypatch):
    """Returns a list that grows with each frame that is decoded."""
    decoded, decode = [], streams.decode_streams

    def counting(*arguments, **options):
        for stream, frame in decode(*arguments, **options):
            if stream.type == "video":
                decoded.append(frame.pts)
            yield stream, frame

    monkeypatch.setattr(streams, "decode_streams", counting)
    return decoded


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return media_files.make_clip(tmp_path_factory.mktemp("stretches") / "long.mp4", seconds=8.0)


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.31, 2.0), (5.2, 6.9), (6.0, None)])
def test_a_stretch_holds_the_frames_and_the_samples_of_its_time(clip, start, end):
    whole_frames, whole_sound = collect(iterate_media(clip, sample_rate=RATE))
    frames, sound = collect(iterate_stretch(clip, sample_rate=RATE, start_seconds=start, end_seconds=end))
    stop = math.inf if end is None else end
    wanted = [frame for frame in whole_frames if start <= frame.time_seconds < stop]
    assert [frame.time_seconds for frame in frames] == pytest.approx([f.time_seconds - start for f in wanted])
    for frame, other in zip(frames, wanted, strict=True):
        np.testing.assert_array_equal(frame.image, other.image)
    cut = whole_sound[round(start * RATE) : None if end is None else round(end * RATE)]
    # A decoder that starts in the middle settles within a few samples.
    assert abs(len(sound) - len(cut)) <= 1
    np.testing.assert_allclose(sound[: len(cut)], cut[: len(sound)], atol=1e-3)


def test_reading_far_into_a_file_does_not_decode_all_before(tmp_path, monkeypatch):
    clip = media_files.make_clip(tmp_path / "longer.mp4", seconds=30.0)
    decoded = count_frames(monkeypatch)
    frames, _ = collect(iterate_stretch(clip, sample_rate=RATE, start_seconds=28.0))
    assert len(frames) == 50
    # Of 750 frames only those since the last key frame before the stretch, of which there is one every ten seconds.
    assert len(decoded) <= 300


def test_reading_ends_soon_after_the_stretch(clip, monkeypatch):
    decoded = count_frames(monkeypatch)
    list(iterate_stretch(clip, sample_rate=RATE, end_seconds=0.5))
    assert len(decoded) < 150


def test_sound_alone_and_pictures_alone_can_be_read(clip):
    frames, sound = collect(iterate_stretch(clip, sample_rate=RATE, with_video=False, start_seconds=1, end_seconds=2))
    assert (frames, len(sound)) == ([], RATE)
    frames, sound = collect(iterate_stretch(clip, sample_rate=RATE, with_audio=False, start_seconds=1, end_seconds=2))
    assert (len(frames), len(sound)) == (25, 0)


def test_a_stretch_beyond_the_end_is_refused_with_where_the_file_ends(clip):
    with pytest.raises(MediaError, match=r"long\.mp4: holds nothing from second 20 to its end.*second 8\.0"):
        list(iterate_stretch(clip, sample_rate=RATE, start_seconds=20))
