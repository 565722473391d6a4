"""An animated WebP is a clip, like an animated GIF."""

import media_files as make
import numpy as np
import pytest
from PIL import Image

from emotion.errors import MediaError
from emotion.media import moving_webp
from emotion.media.reading import iterate_media, probe_media

TIMES = (0.0, 0.5, 0.8, 1.0)  # of the pictures, the last of which is shown for 0.4 s


@pytest.fixture
def clip(tmp_path):
    pictures = [Image.fromarray(make.make_picture(time, 120, 90)) for time in TIMES]
    path = tmp_path / "moving.webp"
    options = {"duration": [500, 300, 200, 400], "lossless": True}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
    return path


def test_its_pictures_come_at_their_times(clip):
    info = probe_media(clip)
    assert (info.has_video, info.is_still, info.width, info.height) == (True, False, 120, 90)
    assert info.duration_seconds == pytest.approx(1.4)
    frames = list(iterate_media(clip, sample_rate=16_000))
    assert [frame.time_seconds for frame in frames] == pytest.approx(list(TIMES))
    assert frames[-1].duration_seconds == pytest.approx(0.4)
    for frame, time in zip(frames, TIMES, strict=True):
        assert np.array_equal(frame.image, make.make_picture(time, 120, 90))


def test_white_shows_through(tmp_path):
    pictures = [Image.new("RGBA", (64, 48), (200, 0, 0, alpha)) for alpha in (0, 255)]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=200, lossless=True)
    first, second = (frame.image for frame in iterate_media(tmp_path / "a.webp", sample_rate=16_000))
    assert first.min() == 255
    assert tuple(second[0, 0]) == (200, 0, 0)


def test_one_that_is_cut_off_or_too_large_is_refused_in_one_line(clip, monkeypatch):
    whole = clip.read_bytes()
    monkeypatch.setattr(moving_webp, "MAX_TOTAL_PIXELS", 10_000)
    with pytest.raises(MediaError, match="too large"):
        probe_media(clip)
    clip.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match="the picture is cut off"):
        probe_media(clip)
