"""Writing: times, colours and the sound's place in the files written, read back with PyAV and with our reader."""

import itertools
import os
from fractions import Fraction

import av
import media_files as make
import numpy as np
import pytest
from PIL import Image

from emotion.errors import MediaError
from emotion.media.opening import SharedSource
from emotion.media.reading import iterate_media, load_waveform, probe_media
from emotion.media.writing import VideoWriter

RATE = 16000


def annotate(source, output, **options):
    """Reads a clip's pictures and writes them with its sound, as annotation does; returns the times given."""
    info = probe_media(source)
    times = []
    sizes = {"width": info.width, "height": info.height}
    with SharedSource(source) as shared, VideoWriter(output, source=shared, **sizes, **options) as writer:
        for frame in iterate_media(source, sample_rate=RATE, shared=shared):
            writer.write(frame.time_seconds, frame.image)
            times.append(frame.time_seconds)
    return times


def beep_of(path):
    waveform = load_waveform(path, RATE)
    return make.find_beep(waveform.samples, RATE, waveform.start_seconds)


def picture_times(path):
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def test_what_is_written_plays_in_browsers(tmp_path):
    output = tmp_path / "out.mp4"
    annotate(make.make_clip(tmp_path / "in.mkv", audio_codec="pcm_s16le"), output)
    content = output.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(output)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (audio.codec_context.name, audio.codec_context.sample_rate) == ("aac", 44100)
        context = video.codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)


@pytest.mark.parametrize("times", [np.arange(40) * 1001 / 30000, [0.0, 0.02, 0.5, 0.51, 0.9], [0.3, 0.4, 0.6]])
def test_picture_times_are_kept(tmp_path, times):
    output = tmp_path / "out.mp4"
    with VideoWriter(output, width=make.WIDTH, height=make.HEIGHT) as writer:
        for time in times:
            writer.write(float(time), make.make_picture(float(time)))
    written = picture_times(output)
    np.testing.assert_allclose(written, times, atol=1 / 90000)
    last_interval = times[-1] - times[-2]
    assert probe_media(output).duration_seconds == pytest.approx(times[-1] + last_interval - times[0], abs=0.35)


def test_colours_come_back(tmp_path):
    colours = [(220, 20, 20), (20, 220, 20), (20, 20, 220), (255, 255, 255), (0, 0, 0), (200, 150, 120)]
    image = np.repeat(np.repeat(np.array([colours], np.uint8), 32, axis=0), 32, axis=1)
    output = tmp_path / "out.mp4"
    with VideoWriter(output, width=image.shape[1], height=image.shape[0], crf=10) as writer:
        writer.write(0.0, image)
    (frame,) = iterate_media(output, sample_rate=RATE)
    for i, colour in enumerate(colours):
        read = frame.image[8:24, 32 * i + 8 : 32 * i + 24].mean(axis=(0, 1))
        assert np.abs(read - colour).max() < 6, (colour, read)


def test_an_odd_size_grows_by_a_pixel_that_repeats_the_edge(tmp_path):
    output = tmp_path / "out.mp4"
    with VideoWriter(output, width=65, height=47, crf=5) as writer:
        writer.write(0.0, make.make_picture(0.0, 65, 47))
    (frame,) = iterate_media(output, sample_rate=RATE)
    assert frame.image.shape == (48, 66, 3)
    assert np.abs(frame.image[:, 65].astype(int) - frame.image[:, 64]).mean() < 4
    assert np.abs(frame.image[47].astype(int) - frame.image[46]).mean() < 4


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("copied.mp4", {}),
        ("copied.mkv", {}),
        ("copied.flv", {}),
        ("copied.ts", {"layout": "stereo"}),
        ("copied_late.mp4", {"audio_start_seconds": 0.3}),
        ("copied_late.mkv", {"audio_start_seconds": 0.3}),
        ("copied_early.nut", {"shift_seconds": -0.48}),
        ("copied_surround.mp4", {"layout": "5.1", "sample_rate": 48000}),
        ("pcm.mkv", {"audio_codec": "pcm_s16le"}),
        ("pcm_late.mkv", {"audio_codec": "pcm_s16le", "audio_start_seconds": 0.3}),
        ("pcm_pause.mkv", {"audio_codec": "pcm_s16le", "sound_gap": (0.1, 0.4)}),
        ("pcm_71.mkv", {"audio_codec": "pcm_s16le", "layout": "7.1"}),
        ("pcm_early.nut", {"audio_codec": "pcm_s16le", "shift_seconds": -0.48}),
        ("mp3.mkv", {"audio_codec": "libmp3lame"}),
        ("mp3.flv", {"audio_codec": "libmp3lame", "video_codec": "flv"}),
        ("opus.webm", {"audio_codec": "libopus", "video_codec": "libvpx", "sample_rate": 48000}),
        ("telephone.mkv", {"audio_codec": "pcm_s16le", "sample_rate": 8000}),
        ("surround.mkv", {"audio_codec": "ac3", "layout": "5.1(side)", "sample_rate": 48000}),
    ],
)
def test_the_sound_stays_in_step(tmp_path, name, options):
    source = make.make_clip(tmp_path / name, **options)
    output = tmp_path / "out.mp4"
    times = annotate(source, output)
    before, after = probe_media(source), probe_media(output)
    assert after.audio_codec == "aac"
    with av.open(str(source)) as old, av.open(str(output)) as new:
        old_sound, new_sound = old.streams.audio[0].codec_context, new.streams.audio[0].codec_context
        assert new_sound.sample_rate == old_sound.sample_rate
        assert new_sound.channels == old_sound.channels
    # Raw times, as a player sees them: the picture's as given, the beep's as in the source.
    np.testing.assert_allclose(picture_times(output), times, atol=1e-4)
    assert beep_of(output) == pytest.approx(beep_of(source), abs=0.005)
    assert beep_of(output) - times[0] == pytest.approx(make.BEEP_SECONDS, abs=0.03)
    assert after.duration_seconds == pytest.approx(before.duration_seconds, abs=0.06)
    peak = np.abs(load_waveform(output, RATE).samples).max()
    assert peak == pytest.approx(np.abs(load_waveform(source, RATE).samples).max(), rel=0.1)


def test_copied_sound_is_bit_for_bit_the_source(tmp_path):
    source = make.make_clip(tmp_path / "in.mp4", layout="stereo")
    output = tmp_path / "out.mp4"
    annotate(source, output)

    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    assert packets(output) == packets(source)


def test_sound_and_picture_lie_side_by_side_in_the_file(tmp_path):
    output = tmp_path / "out.mp4"
    annotate(make.make_clip(tmp_path / "in.mp4", seconds=8.0), output)
    with av.open(str(output)) as container:
        packets = sorted((packet.pos, packet.stream.type) for packet in container.demux() if packet.size)
    kinds = [kind for kind, _ in itertools.groupby(kind for _, kind in packets)]
    assert len(kinds) > 10


def test_a_source_without_sound_gives_a_file_without_sound(tmp_path):
    output = tmp_path / "out.mp4"
    annotate(make.make_clip(tmp_path / "in.mp4", audio_codec=None), output)
    assert not probe_media(output).has_audio


def test_a_rotated_source_is_written_upright_and_not_turned_again(tmp_path):
    output = tmp_path / "out.mp4"
    annotate(make.make_clip(tmp_path / "in.mp4", rotation=90, seconds=0.4), output)
    frame = next(iterate_media(output, sample_rate=RATE, with_audio=False))
    assert np.abs(frame.image.astype(int) - np.rot90(make.make_picture(0.0))).mean() < 8


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_file_leaves_no_trace(tmp_path, error):
    source = make.make_clip(tmp_path / "in.mp4")
    output = tmp_path / "out.mp4"
    output.write_bytes(b"the file of yesterday")

    def interrupted():
        sizes = {"width": make.WIDTH, "height": make.HEIGHT}
        with SharedSource(source) as shared, VideoWriter(output, source=shared, **sizes) as writer:
            for i in range(60):
                writer.write(i / 25, make.make_picture(i / 25))
            raise error

    with pytest.raises(error):
        interrupted()
    assert output.read_bytes() == b"the file of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_nothing_appears_under_the_name_before_the_file_is_complete(tmp_path):
    output = tmp_path / "out.mp4"
    with VideoWriter(output, width=make.WIDTH, height=make.HEIGHT) as writer:
        writer.write(0.0, make.make_picture(0.0))
        assert not output.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_where_nothing_can_be_written_is_named_before_anything_is_encoded(tmp_path):
    sizes = {"width": make.WIDTH, "height": make.HEIGHT}
    with pytest.raises(MediaError, match="no such folder"):
        VideoWriter(tmp_path / "missing" / "out.mp4", **sizes).__enter__()
    with pytest.raises(MediaError, match="must end in"):
        VideoWriter(tmp_path / "out.avi", **sizes).__enter__()
    with pytest.raises(MediaError, match="is a folder"):
        (tmp_path / "folder.mp4").mkdir()
        VideoWriter(tmp_path / "folder.mp4", **sizes).__enter__()
    source = make.make_clip(tmp_path / "in.mp4", seconds=0.2)
    with SharedSource(source) as shared, pytest.raises(MediaError, match="is the source itself"):
        VideoWriter(source, source=shared, **sizes).__enter__()
    with pytest.raises(MediaError, match="no such file"):
        SharedSource(tmp_path / "gone.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.mp4", "in.mp4"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights_is_named(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(MediaError, match="locked"):
        VideoWriter(folder / "out.mp4", width=2, height=2).__enter__()


def test_a_file_of_no_pictures_is_refused(tmp_path):
    with pytest.raises(MediaError, match="without a frame"):  # noqa: SIM117
        with VideoWriter(tmp_path / "out.mp4", width=2, height=2):
            pass
    assert not list(tmp_path.iterdir())


def test_wrong_pictures_and_times_are_refused(tmp_path):
    picture = make.make_picture(0.0)
    with VideoWriter(tmp_path / "out.mp4", width=make.WIDTH, height=make.HEIGHT) as writer:
        for wrong in (picture[:10], picture.astype(np.float32), picture[:, :, 0]):
            with pytest.raises(ValueError, match="image must be uint8"):
                writer.write(0.0, wrong)
        with pytest.raises(ValueError, match="at least 0"):
            writer.write(-0.1, picture)
        writer.write(0.5, picture)
        with pytest.raises(ValueError, match="rise"):
            writer.write(0.5, picture)
        writer.write(0.6, np.asfortranarray(picture))
    assert len(picture_times(tmp_path / "out.mp4")) == 2


def test_a_still_image_becomes_a_short_video(tmp_path):
    output = tmp_path / "out.mp4"
    annotate(make.make_still(tmp_path / "photo.png"), output)
    assert picture_times(output) == [0.0]


def test_damaged_sound_does_not_stop_the_picture(tmp_path):
    source = make.make_corrupt(tmp_path / "in.mp4", seconds=3.0)
    output = tmp_path / "out.mp4"
    times = annotate(source, output)
    np.testing.assert_allclose(picture_times(output), times, atol=1e-4)
    assert beep_of(output) == pytest.approx(make.BEEP_SECONDS, abs=0.01)


def write_with_b_frames(path, times, durations):
    """Frames that are stored out of order, each with its duration."""
    with av.open(str(path), "w") as output:
        options = {"bf": "3", "b-adapt": "0"}
        stream = output.add_stream("libx264", rate=30, width=64, height=48, options=options)
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, 90000)
        for time, duration in zip(times, durations, strict=True):
            frame = av.VideoFrame.from_ndarray(make.make_picture(time), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.duration = round(time * 90000), round(duration * 90000)
            frame.time_base = Fraction(1, 90000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("has_b_frames", [False, True])
def test_a_last_frame_after_a_pause_is_not_shown_for_as_long_again(tmp_path, suffix, has_b_frames):
    times = [i / 30 for i in range(20)] + [4.0]
    source = tmp_path / f"in{suffix}"
    if has_b_frames:
        write_with_b_frames(source, times, [1 / 30] * len(times))
    else:
        make.make_clip(source, frame_times=times, seconds=4.1)
    annotate(source, tmp_path / "out.mp4")
    assert 4.0 <= video_seconds(tmp_path / "out.mp4") <= 4.1
    assert probe_media(tmp_path / "out.mp4").duration_seconds <= 4.2


def video_seconds(path) -> float:
    with av.open(str(path)) as container:
        return float(container.streams.video[0].duration * container.streams.video[0].time_base)


def test_a_last_frame_that_is_shown_for_long_stays_so(tmp_path):
    pictures = [Image.fromarray(make.make_picture(i / 10)) for i in range(5)]
    durations = [100, 100, 100, 100, 2000]
    pictures[0].save(tmp_path / "in.gif", save_all=True, append_images=pictures[1:], duration=durations)
    annotate(tmp_path / "in.gif", tmp_path / "out.mp4")
    assert video_seconds(tmp_path / "out.mp4") == pytest.approx(2.4, abs=0.01)


STEREO, SURROUND, SLOW = {"layout": "stereo"}, {"layout": "5.1"}, {"sample_rate": 22050}
FAST_STEREO = {"sample_rate": 48000, "layout": "stereo"}  # FLV holds multiples of 11025 Hz only


@pytest.mark.parametrize(
    ("suffix", "after"),
    [(".ts", STEREO), (".ts", SURROUND), (".ts", SLOW), (".ts", FAST_STEREO), (".flv", STEREO), (".flv", SURROUND),
     (".flv", SLOW)],
)  # fmt: skip
def test_sound_that_changes_its_setup_midway_can_be_decoded_and_stays_in_step(tmp_path, after, suffix):
    parts = []
    for start, options in ((0.0, {}), (1.0, after)):
        path = tmp_path / f"part{suffix}"
        muxing = {"container_options": {"mpegts_copyts": "1"}} if suffix == ".ts" else {}
        make.make_clip(path, seconds=1.0, shift_seconds=start, **muxing, **options)
        parts.append(path.read_bytes()[13 if suffix == ".flv" and start else 0 :])
    source = tmp_path / f"in{suffix}"
    source.write_bytes(b"".join(parts))
    output = tmp_path / "out.mp4"
    annotate(source, output)
    with av.open(str(output)) as container:
        assert len([frame for frame in container.decode(audio=0)]) > 60  # raises at what cannot be decoded
    samples = load_waveform(output, RATE).samples
    for start in (0.0, 1.0):
        part = samples[round(start * RATE) : round((start + 1.0) * RATE)]
        assert make.find_beep(part, RATE) == pytest.approx(make.BEEP_SECONDS, abs=0.06)


def test_what_a_killed_program_left_is_replaced(tmp_path, monkeypatch):
    picture = np.zeros((32, 32, 3), np.uint8)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    killed = VideoWriter(tmp_path / "out.mp4", width=32, height=32).__enter__()
    killed.write(0.0, picture)
    monkeypatch.undo()
    with VideoWriter(tmp_path / "out.mp4", width=32, height=32) as writer:
        writer.write(0.0, picture)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("is_large", [False, True])
def test_of_large_pictures_none_wait_in_the_encoder(tmp_path, monkeypatch, is_large):
    if is_large:
        monkeypatch.setattr("emotion.media.writing.LARGE_PIXELS", 0)
    with VideoWriter(tmp_path / "out.mp4", width=make.WIDTH, height=make.HEIGHT) as writer:
        for number in range(20):
            writer.write(number / 25, make.make_picture(number / 25))
    with av.open(str(tmp_path / "out.mp4")) as container:
        in_order = [packet.pts == packet.dts for packet in container.demux(video=0) if packet.size]
    assert all(in_order) == is_large
