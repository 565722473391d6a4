"""Reading: times, pixels and sample positions of synthetic media with known content."""

import gc
import logging
from fractions import Fraction

import av
import media_files as make
import numpy as np
import pytest
import soundfile
from PIL import Image, ImageOps

from emotion.errors import MediaError
from emotion.media.mixing import MonoMixer
from emotion.media.pictures import VideoFrame
from emotion.media.reading import AudioChunk, iterate_media, load_waveform, probe_media
from emotion.media.streams import Damage, read_packets

RATE = 16000


def read(path, **options):
    """Returns frames, chunks and the joined samples of a file."""
    items = list(iterate_media(path, sample_rate=RATE, **options))
    frames = [item for item in items if isinstance(item, VideoFrame)]
    chunks = [item for item in items if isinstance(item, AudioChunk)]
    samples = np.concatenate([chunk.samples for chunk in chunks]) if chunks else None
    return frames, chunks, samples


def beep_of(path):
    waveform = load_waveform(path, RATE)
    return make.find_beep(waveform.samples, RATE, waveform.start_seconds)


def assert_square_at(image, time_seconds):
    left = make.square_left(time_seconds, image.shape[1])
    columns = np.flatnonzero(image[: make.SQUARE].mean(axis=(0, 2)) > 170)
    assert abs(columns[0] - left) <= 2
    assert abs(columns[-1] - (left + make.SQUARE - 1)) <= 2


def test_a_constant_rate_clip_gives_each_frame_at_its_time_with_its_picture(tmp_path):
    frames, _, _ = read(make.make_clip(tmp_path / "clip.mp4", frame_rate=Fraction(30000, 1001)))
    np.testing.assert_allclose([f.time_seconds for f in frames], np.arange(30) * 1001 / 30000, atol=1e-6)
    for frame in frames:
        assert frame.image.shape == (make.HEIGHT, make.WIDTH, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert_square_at(frame.image, frame.time_seconds)


def test_a_variable_rate_clip_keeps_its_times(tmp_path):
    times = [0.0, 0.04, 0.05, 0.3, 0.7, 0.71, 0.95]
    frames, _, _ = read(make.make_clip(tmp_path / "clip.mp4", frame_times=times))
    np.testing.assert_allclose([f.time_seconds for f in frames], times, atol=1e-4)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_rotated_clip_is_read_upright(tmp_path, rotation):
    path = make.make_clip(tmp_path / "clip.mp4", rotation=rotation, audio_codec=None, seconds=0.2)
    stored = make.make_picture(0.0)
    upright = np.rot90(stored, rotation // 90)  # PyAV and NumPy both count counter-clockwise
    frames, _, _ = read(path)
    assert frames[0].image.shape == upright.shape
    assert np.abs(frames[0].image.astype(int) - upright).mean() < 6
    info = probe_media(path)
    assert (info.height, info.width) == upright.shape[:2]


def test_a_mirrored_clip_is_not_taken_for_one_on_its_head(tmp_path):
    frames, _, _ = read(make.make_clip(tmp_path / "clip.mp4", mirrored=True, audio_codec=None, seconds=0.2))
    assert np.abs(frames[0].image.astype(int) - make.make_picture(0.0)[:, ::-1]).mean() < 6


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_still_image_is_a_video_of_one_frame(tmp_path, suffix):
    path = make.make_still(tmp_path / f"still{suffix}", 41, 33)
    info = probe_media(path)
    assert (info.has_video, info.has_audio, info.width, info.height) == (True, False, 41, 33)
    assert info.frame_rate is None
    assert info.duration_seconds is None
    frames, chunks, _ = read(path)
    assert [f.time_seconds for f in frames] == [0.0]
    assert not chunks
    assert np.abs(frames[0].image.astype(int) - make.make_picture(0.0, 41, 33)).mean() < 8


@pytest.mark.parametrize(
    ("name", "options", "codecs"),
    [
        ("clip.mp4", {}, ("h264", "aac")),
        ("ten_bits.mp4", {"pixel_format": "yuv420p10le"}, ("h264", "aac")),
        ("clip.flv", {"video_codec": "flv", "audio_codec": "libmp3lame"}, ("flv1", "mp3")),
        ("vp8.webm", {"video_codec": "libvpx", "audio_codec": "libopus", "sample_rate": 48000}, ("vp8", "opus")),
        ("vp9.webm", {"video_codec": "libvpx-vp9", "audio_codec": "libopus", "sample_rate": 48000}, ("vp9", "opus")),
        (
            "clip.avi",
            {"video_codec": "mjpeg", "pixel_format": "yuvj420p", "audio_codec": "pcm_s16le"},
            ("mjpeg", "pcm_s16le"),
        ),
        ("clip.ts", {"layout": "stereo"}, ("h264", "aac")),
        ("full_range.mkv", {"video_codec": "mjpeg", "pixel_format": "yuvj420p"}, ("mjpeg", "aac")),
    ],
)
def test_picture_and_beep_keep_step_in_every_container(tmp_path, name, options, codecs):
    path = make.make_clip(tmp_path / name, **options)
    info = probe_media(path)
    assert (info.video_codec, info.audio_codec) == codecs
    assert (info.width, info.height) == (make.WIDTH, make.HEIGHT)
    assert info.frame_rate == pytest.approx(25, rel=0.1)
    assert info.duration_seconds == pytest.approx(1.0, abs=0.1)
    frames, _, samples = read(path)
    assert 24 <= len(frames) <= 25
    assert np.all(np.diff([f.time_seconds for f in frames]) > 0)
    # The clock starts at the first stream; a codec's priming may shift both streams, but only together.
    shift = frames[0].time_seconds
    assert shift < 0.05
    assert beep_of(path) - shift == pytest.approx(make.BEEP_SECONDS, abs=0.004)
    assert len(samples) / RATE == pytest.approx(1.0, abs=0.06)
    assert np.abs(frames[0].image[20:30].astype(int) - make.BACKGROUND).mean() < 6
    # Within 15, since quantisers and chroma subsampling differ; a swap of red and blue would be 200 off.
    assert np.abs(frames[0].image[-10:-4, 4:10].mean(axis=(0, 1)) - (220, 20, 20)).max() < 15


def test_odd_sizes_are_read_whole(tmp_path):
    path = make.make_clip(tmp_path / "clip.mp4", width=65, height=47, pixel_format="yuv444p", seconds=0.2)
    frames, _, _ = read(path)
    assert frames[0].image.shape == (47, 65, 3)
    assert np.abs(frames[0].image.astype(int) - make.make_picture(0.0, 65, 47)).mean() < 4


def test_a_change_of_resolution_is_scaled_to_the_first_frame(tmp_path):
    first = make.make_clip(tmp_path / "a.ts", audio_codec=None, seconds=0.4)
    second = make.make_clip(tmp_path / "b.ts", audio_codec=None, seconds=0.4, width=128, height=96, shift_seconds=0.4)
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    frames, _, _ = read(both)
    assert len(frames) == 20
    assert {f.image.shape for f in frames} == {(make.HEIGHT, make.WIDTH, 3)}
    columns = np.flatnonzero(frames[-1].image[: make.SQUARE // 2].mean(axis=(0, 2)) > 170)
    assert columns[0] == pytest.approx(make.square_left(0.36, 128) / 2, abs=2)


def test_a_clock_that_starts_again_goes_on_in_both_streams(tmp_path):
    one = make.make_clip(tmp_path / "one.ts", seconds=3.0, layout="stereo", shift_seconds=2.0)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() * 2)
    frames, _, samples = read(both)
    times = np.array([f.time_seconds for f in frames])
    assert len(times) == 150
    assert np.all(np.diff(times) > 0)
    assert times[-1] == pytest.approx(6.0, abs=0.15)
    assert len(samples) / RATE == pytest.approx(6.0, abs=0.2)
    second_beep = make.find_beep(samples[3 * RATE :], RATE, 3.0)
    assert second_beep - times[75] == pytest.approx(make.BEEP_SECONDS, abs=0.1)


@pytest.mark.parametrize(
    ("sample_rate", "layout", "codec"),
    [(8000, "mono", "aac"), (44100, "stereo", "libmp3lame"), (48000, "5.1", "aac"), (48000, "5.1(side)", "ac3")],
)
def test_sound_of_any_rate_and_layout_becomes_mono_at_the_asked_rate(tmp_path, sample_rate, layout, codec):
    path = make.make_clip(tmp_path / "clip.mkv", sample_rate=sample_rate, layout=layout, audio_codec=codec)
    _, chunks, samples = read(path, with_video=False)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(RATE, abs=0.06 * RATE)
    assert beep_of(path) == pytest.approx(make.BEEP_SECONDS, abs=0.004)
    # The same beep in all channels keeps its level when they are mixed down.
    beep = samples[int(0.52 * RATE) : int(0.58 * RATE)]
    assert np.sqrt(np.mean(beep**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    crossings = np.sum(np.diff(np.signbit(beep)))
    assert crossings == pytest.approx(2 * make.BEEP_HERTZ * 0.06, abs=2)
    ends = [chunk.time_seconds + len(chunk.samples) / RATE for chunk in chunks]
    np.testing.assert_allclose([chunk.time_seconds for chunk in chunks[1:]], ends[:-1], atol=1e-9)


@pytest.mark.parametrize(("n", "suffix"), [(8, "wav"), (8, "flac"), (12, "wav")])
def test_sound_of_many_channels_is_read(tmp_path, n, suffix):
    """PyAV crashes on arrays of eight planes or more."""
    wave = 0.3 * np.sin(np.arange(RATE) * 0.2)
    soundfile.write(tmp_path / f"many.{suffix}", np.repeat(wave[:, None], n, axis=1), RATE)
    samples = load_waveform(tmp_path / f"many.{suffix}", RATE).samples
    assert samples.shape == (RATE,) and np.corrcoef(samples, wave)[0, 1] > 0.99


def test_loud_sound_stays_within_one(tmp_path):
    path = tmp_path / "loud.wav"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_f32le", rate=44100, layout="stereo")
        noise = np.where(np.random.default_rng(0).random((2, 44100)) > 0.5, 3.0, -3.0).astype(np.float32)
        noise[:, 1000] = np.nan
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(noise), "fltp", "stereo")
        frame.sample_rate = 44100
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    samples = load_waveform(path, RATE).samples
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1


def test_sound_that_starts_late_keeps_its_offset(tmp_path):
    path = make.make_clip(tmp_path / "clip.mkv", audio_start_seconds=0.3, audio_codec="pcm_s16le")
    waveform = load_waveform(path, RATE)
    assert waveform.start_seconds == pytest.approx(0.3, abs=0.002)
    assert beep_of(path) == pytest.approx(make.BEEP_SECONDS, abs=0.002)


def test_negative_timestamps_start_near_zero(tmp_path):
    path = make.make_clip(tmp_path / "clip.nut", shift_seconds=-0.48, audio_codec="pcm_s16le")
    frames, chunks, _ = read(path)
    assert frames[0].time_seconds == pytest.approx(0.0, abs=0.002)
    assert chunks[0].time_seconds == pytest.approx(0.0, abs=0.002)
    assert frames[-1].time_seconds == pytest.approx(0.96, abs=0.002)
    assert beep_of(path) == pytest.approx(make.BEEP_SECONDS, abs=0.002)


def test_a_clip_whose_clock_starts_at_an_hour_starts_at_zero(tmp_path, caplog):
    path = make.make_clip(tmp_path / "clip.mkv", shift_seconds=3600)
    frames, _, _ = read(path)
    assert frames[0].time_seconds == pytest.approx(0.0, abs=0.03)
    assert beep_of(path) - frames[0].time_seconds == pytest.approx(make.BEEP_SECONDS, abs=0.004)
    assert not caplog.records


def test_a_pause_in_the_sound_is_filled_with_silence(tmp_path):
    path = make.make_clip(tmp_path / "clip.mkv", audio_codec="pcm_s16le", sound_gap=(0.1, 0.4))
    _, _, samples = read(path)
    assert len(samples) / RATE == pytest.approx(1.0, abs=0.001)
    assert beep_of(path) == pytest.approx(make.BEEP_SECONDS, abs=0.001)
    assert not samples[int(0.15 * RATE) : int(0.39 * RATE)].any()


def test_a_clip_without_sound_has_no_waveform(tmp_path):
    path = make.make_clip(tmp_path / "clip.mp4", audio_codec=None)
    assert not probe_media(path).has_audio
    assert load_waveform(path, RATE) is None


@pytest.mark.parametrize(("suffix", "codec"), [(".wav", "pcm_s16le"), (".mp3", "libmp3lame"), (".flac", "flac")])
def test_sound_alone_is_media(tmp_path, suffix, codec):
    path = make.make_clip(tmp_path / f"voice{suffix}", video_codec=None, audio_codec=codec)
    info = probe_media(path)
    assert (info.has_video, info.has_audio, info.width) == (False, True, None)
    assert info.duration_seconds == pytest.approx(1.0, abs=0.06)
    assert beep_of(path) == pytest.approx(make.BEEP_SECONDS, abs=0.002)


def test_cover_art_is_no_video(tmp_path):
    path = make.make_mp3_with_cover(tmp_path / "song.mp3")
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    assert not probe_media(path).has_video
    frames, chunks, _ = read(path)
    assert not frames
    assert chunks


def test_only_the_streams_asked_for_are_given(tmp_path):
    path = make.make_clip(tmp_path / "clip.mp4")
    frames, chunks, _ = read(path, with_audio=False)
    assert len(frames) == 25
    assert not chunks
    frames, chunks, _ = read(path, with_video=False)
    assert not frames
    assert chunks
    assert not any(read(path, with_video=False, with_audio=False)[:2])


def test_a_name_with_a_colon_and_a_percent_sign_is_only_a_name(tmp_path):
    path = make.make_clip(tmp_path / "http: 50%.mp4", seconds=0.2)
    assert len(read(path)[0]) == 5


@pytest.mark.parametrize(
    ("maker", "words"),
    [
        (make.make_empty, "0 bytes"),
        (make.make_renamed_text, "Invalid data found"),
        (make.make_lfs_pointer, "git lfs pull"),
        (lambda path: path.mkdir() or path, "is a folder"),
        (lambda path: path, "no such file"),
    ],
)
def test_what_is_no_media_is_named_with_the_way_out(tmp_path, maker, words):
    path = maker(tmp_path / "clip.mp4")
    for call in (lambda: probe_media(path), lambda: list(iterate_media(path, sample_rate=RATE))):
        with pytest.raises(MediaError, match=words) as caught:
            call()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["notes.txt", "photo.jpg"])
def test_text_is_no_picture_whatever_its_name(tmp_path, name):
    path = make.make_renamed_text(tmp_path / name)
    with pytest.raises(MediaError, match=name):
        probe_media(path)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_truncated_clip_gives_its_beginning_and_a_warning(tmp_path, caplog, name):
    path = make.make_truncated(tmp_path / name, seconds=4.0)
    with caplog.at_level(logging.WARNING):
        frames, _, samples = read(path)
    assert 5 < len(frames) < 90
    assert 0.2 < len(samples) / RATE < 3.8
    assert [str(path) in record.getMessage() for record in caplog.records] == [True]


def test_a_clip_without_its_index_is_not_readable(tmp_path):
    path = make.make_clip(tmp_path / "clip.mp4")
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(MediaError, match=r"clip\.mp4: not a readable media file \(.+\).*cut off"):
        probe_media(path)


def test_damage_in_the_middle_costs_only_the_middle(tmp_path, caplog):
    path = make.make_corrupt(tmp_path / "clip.mp4", seconds=3.0)
    with caplog.at_level(logging.WARNING):
        frames, _, samples = read(path)
    times = [f.time_seconds for f in frames]
    assert len(frames) > 30
    assert times[-1] == pytest.approx(2.96, abs=0.01)
    assert np.all(np.diff(times) > 0)
    assert len(samples) / RATE == pytest.approx(3.0, abs=0.1)
    assert beep_of(path) == pytest.approx(make.BEEP_SECONDS, abs=0.004)
    assert len([r for r in caplog.records if str(path) in r.getMessage()]) >= 1


def test_media_in_which_nothing_decodes_is_an_error(tmp_path):
    path = make.make_clip(tmp_path / "clip.mp4", audio_codec=None)
    content = path.read_bytes()
    start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    path.write_bytes(content[:start] + bytes(end - start) + content[end:])
    with pytest.raises(MediaError, match="nothing in it could be decoded"):
        list(iterate_media(path, sample_rate=RATE))


def test_a_gif_of_one_picture_is_a_still_and_one_that_moves_is_none(tmp_path):
    pictures = [Image.fromarray(np.full((40, 60, 3), level, np.uint8)) for level in (50, 150)]
    pictures[0].save(tmp_path / "still.gif")
    pictures[0].save(tmp_path / "moving.gif", save_all=True, append_images=pictures[1:], duration=100)
    assert probe_media(tmp_path / "still.gif").is_still
    assert not probe_media(tmp_path / "moving.gif").is_still


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_and_mirrored_as_its_exif_says(tmp_path, orientation):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30, 0], pixels[:20, 30:, 1], pixels[20:, :30, 2] = 200, 200, 200
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).save(path, exif=exif, quality=100, subsampling=0)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    (frame,) = iterate_media(path, sample_rate=8000)
    assert frame.image.shape == expected.shape
    np.testing.assert_allclose(frame.image.astype(int), expected, atol=12)
    assert (probe_media(path).height, probe_media(path).width) == expected.shape[:2]


def test_a_picture_that_was_cut_off_is_said_to_be_damaged(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    for name, is_damaged in (("whole.jpg", False), ("cut.jpg", True)):
        damage = Damage(tmp_path / name, is_silent=True)
        assert len(list(iterate_media(tmp_path / name, sample_rate=8000, damage=damage))) == 1
        assert bool(damage.count) == is_damaged


def test_a_picture_of_a_kind_that_cannot_be_read_is_to_be_converted(tmp_path):
    (tmp_path / "a.jxl").write_bytes(b"\xff\x0a" + bytes(range(250)))
    with pytest.raises(MediaError, match=r"a\.jxl: .*convert it to PNG"):
        probe_media(tmp_path / "a.jxl")


def test_silence_in_amr_is_no_damage(tmp_path):
    path = tmp_path / "call.amr"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libopencore_amrnb", rate=8000, layout="mono", options={"dtx": "1"})
        frame = av.AudioFrame.from_ndarray(make.make_sound(2.0, 8000), "fltp", "mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    damage = Damage(path, is_silent=True)
    _, _, samples = read(path, damage=damage)
    assert damage.count == 0
    assert len(samples) / RATE == pytest.approx(2.0, abs=0.05)


class FaultyContainer:
    """Raises what PyAV does at the end of a file in which a stream began midway, then ends."""

    def __init__(self, *faults):
        self.format = type("Format", (), {"name": "mpegts"})
        self._faults = list(faults)

    def demux(self, wanted):
        yield type("Packet", (), {"is_corrupt": False, "size": 1})
        if self._faults:
            raise self._faults.pop()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (IndexError("list index out of range"), ""),
        (AssertionError(), " (AssertionError)"),
        (OverflowError("x"), " (x)"),
    ],
)
def test_what_pyav_raises_while_it_reads_ends_nothing(fault, words):
    damage = Damage("clip.ts", is_silent=True)
    assert len(list(read_packets(FaultyContainer(fault), ["stream"], damage))) == 2
    assert damage.words == words


def test_recordings_joined_to_one_transport_stream_are_no_damage_and_lost_packets_are(tmp_path):
    content = make.make_clip(tmp_path / "one.ts", seconds=2.0).read_bytes()
    packets = [content[start : start + 188] for start in range(0, len(content), 188)]
    pictures = [i for i, packet in enumerate(packets) if packet[1] & 0x1F == 1 and packet[2] == 0]
    lost = pictures[len(pictures) // 2]
    for name, made, is_damaged in (
        ("joined.ts", content + content, False),
        ("lost.ts", b"".join(packets[:lost] + packets[lost + 1 :]), True),
    ):
        (tmp_path / name).write_bytes(made)
        damage = Damage(tmp_path / name, is_silent=True)
        frames, _, _ = read(tmp_path / name, damage=damage)
        assert bool(damage.count) == is_damaged, damage.words
        assert len(frames) >= (49 if is_damaged else 100)


def test_an_error_of_our_own_does_not_pass_as_damage(tmp_path, monkeypatch):
    def fail(self, samples, names):
        raise TypeError("a bug")

    path = make.make_clip(tmp_path / "clip.mp4", seconds=0.4)
    monkeypatch.setattr(MonoMixer, "push", fail)
    with pytest.raises(TypeError, match="a bug"):
        read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1\n00:00:01,000 --> 00:00:02,000\nHello\n" * 20, "holds text or a playlist"),
        ("1\n00:00:01,000 --> 00:00:02,000\nHello\n".encode("utf-16") * 20, "holds text or a playlist"),
        (b"XBIN\x1a" + bytes([80, 0, 50, 0, 16, 0]) + bytes(4000), "damaged, or of a kind that is not read"),
    ],
)
def test_text_is_called_text_and_nothing_else_is(tmp_path, content, words):
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(MediaError, match=words):
        probe_media(tmp_path / "clip.mp4")


def test_jpegs_one_after_the_other_are_a_video(tmp_path):
    Image.fromarray(make.make_picture(0.0)).save(tmp_path / "one.jpg")
    (tmp_path / "clip.mjpeg").write_bytes((tmp_path / "one.jpg").read_bytes() * 10)
    assert not probe_media(tmp_path / "clip.mjpeg").is_still
    assert len(read(tmp_path / "clip.mjpeg")[0]) == 10


def test_a_video_of_pictures_too_large_to_hold_is_refused_with_the_way_out(tmp_path, monkeypatch):
    path = make.make_clip(tmp_path / "large.mp4", seconds=0.2)
    monkeypatch.setattr("emotion.media.reading.MAX_PIXELS", make.WIDTH * make.HEIGHT - 1)
    with pytest.raises(MediaError, match=r"large\.mp4: has pictures of more than .* ffmpeg -i FILE -vf scale"):
        probe_media(path)


def test_frames_are_freed_as_soon_as_nobody_needs_them(tmp_path):
    path = make.make_clip(tmp_path / "clip.mp4", rotation=90)

    def count_frames():
        # By type: isinstance() asks dead weak references, too, which are errors.
        return sum(type(thing) is av.VideoFrame and thing.width == make.WIDTH for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = count_frames()
        assert sum(isinstance(item, VideoFrame) for item in iterate_media(path, sample_rate=RATE)) > 20
        assert count_frames() == before
    finally:
        gc.enable()


def test_a_link_to_itself_and_a_name_with_a_nul_are_called_so(tmp_path):
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    with pytest.raises(MediaError, match="a link that leads to itself"):
        probe_media(tmp_path / "loop.mp4")
    with pytest.raises(MediaError, match="holds a NUL character"):
        probe_media(f"{tmp_path}/a\0b.mp4")
