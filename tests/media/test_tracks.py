"""Which track is read, and which mix: what a person would hear and see in a player, or better."""

from fractions import Fraction

import av
import media_files as make
import numpy as np
import pytest
from av.stream import Disposition

from emotion.errors import MediaError
from emotion.media.pictures import VideoFrame
from emotion.media.reading import iterate_media, load_waveform, probe_media
from emotion.media.tracks import ANY_TRACKS, TrackChoice

RATE = 16000
SILENCE, TONE = 0.0, 0.5
DEFAULT, NOT_DEFAULT = Disposition.default, Disposition(0)


def write_tracks(path, videos=(), sounds=()):
    """Writes tracks: ``(width, n_frames, disposition)`` and ``(amplitude, hertz, disposition)``."""
    with av.open(str(path), "w") as output:
        pictures, waves = [], []
        for width, _, disposition in videos:
            stream = output.add_stream("mpeg4", rate=25, width=width, height=48)
            stream.pix_fmt, stream.disposition = "yuv420p", disposition
            pictures.append(stream)
        for _, _, disposition in sounds:
            stream = output.add_stream("aac", rate=RATE, layout="mono")
            stream.disposition = disposition
            waves.append(stream)
        for stream, (width, n_frames, _) in zip(pictures, videos, strict=True):
            for number in range(n_frames):
                frame = av.VideoFrame.from_ndarray(make.make_picture(number / 25, width, 48), "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                output.mux(stream.encode(frame.reformat(format="yuv420p")))
            output.mux(stream.encode(None))
        for stream, (amplitude, hertz, _) in zip(waves, sounds, strict=True):
            wave = amplitude * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)
            frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], "fltp", "mono")
            frame.sample_rate = RATE
            output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    return path


def hertz_of(path, choice=ANY_TRACKS) -> float:
    samples = np.concatenate([
        item.samples for item in iterate_media(path, sample_rate=RATE, with_video=False, choice=choice)
    ])  # fmt: skip
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * RATE / len(samples))


@pytest.mark.parametrize(
    ("sounds", "hertz", "words"),
    [
        ([(TONE, 400, DEFAULT), (TONE, 800, NOT_DEFAULT)], 400, "sound track 1 was judged; others: 2 (aac, mono)"),
        ([(TONE, 400, NOT_DEFAULT), (TONE, 800, DEFAULT)], 800, "sound track 2 was judged; others: 1 (aac, mono)"),
        ([(SILENCE, 400, DEFAULT), (TONE, 800, NOT_DEFAULT)], 800, "track 2 was judged, because track 1 is silent"),
        ([(SILENCE, 0, DEFAULT), (SILENCE, 0, NOT_DEFAULT), (TONE, 800, NOT_DEFAULT)], 800, "sound track 3 was judged"),
        ([(TONE, 800, DEFAULT)], 800, None),
    ],
)
@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_the_default_sound_is_read_unless_it_is_silent(tmp_path, sounds, hertz, words, suffix):
    path = write_tracks(tmp_path / f"clip{suffix}", [(64, 5, DEFAULT)], sounds)
    info = probe_media(path)
    assert hertz_of(path, info.choice) == pytest.approx(hertz, abs=20)
    assert hertz_of(path) == pytest.approx(hertz, abs=20)
    assert [words in note for note in info.notes] == [True] * (words is not None)


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_thumbnail_is_not_the_video(tmp_path, suffix, place):
    videos = [(64, 20, NOT_DEFAULT)]
    videos.insert(place, (32, 1, DEFAULT))
    path = write_tracks(tmp_path / f"clip{suffix}", videos)
    info = probe_media(path)
    assert (info.width, info.choice.video) == (64, 2 - place)
    assert len([item for item in iterate_media(path, sample_rate=RATE) if isinstance(item, VideoFrame)]) == 20
    assert f"video track {2 - place} was judged, because track {1 + place} shows one picture" in info.notes[0]


def test_a_track_can_be_chosen_and_a_wrong_number_lists_those_there_are(tmp_path):
    path = write_tracks(
        tmp_path / "clip.mkv", [(64, 5, DEFAULT), (32, 5, DEFAULT)], [(TONE, 400, DEFAULT), (SILENCE, 0, DEFAULT)]
    )
    info = probe_media(path, TrackChoice(video=2, audio=2))
    assert info.width == 32 and info.notes == ()
    chosen = load_samples(path, TrackChoice(video=2, audio=2))
    assert np.abs(chosen).max() < 0.01
    with pytest.raises(MediaError, match=r"no sound track 3\. Its sound tracks are: 1 \(aac, mono\); 2 \(aac, mono\)"):
        probe_media(path, TrackChoice(audio=3))
    with pytest.raises(MediaError, match="no video track 3.*1 .mpeg4, 64 x 48"):
        probe_media(path, TrackChoice(video=3))
    with pytest.raises(MediaError, match="has no channel 2; its sound has 1"):
        probe_media(path, TrackChoice(channel=2))


def load_samples(path, choice=ANY_TRACKS) -> np.ndarray:
    return np.concatenate([
        item.samples for item in iterate_media(path, sample_rate=RATE, with_video=False, choice=choice)
    ])  # fmt: skip


def write_channels(path, channels, layout="stereo", codec="pcm_f32le"):
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=RATE, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels, np.float32), "fltp", layout)
        frame.sample_rate = RATE
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def make_voice() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.1, RATE)
    return np.convolve(noise, np.hanning(20) / 10, mode="same") * (1 + np.sin(np.arange(RATE) / 800))


VOICE = make_voice()
ZERO = 0 * VOICE
HUM = 0.05 * np.sin(2 * np.pi * 50 * np.arange(RATE) / RATE) + 0.1


@pytest.mark.parametrize(
    ("channels", "layout"),
    [
        ([VOICE, -VOICE], "stereo"),
        ([VOICE, -0.7 * VOICE], "stereo"),
        ([VOICE + HUM, -VOICE + HUM], "stereo"),
        ([VOICE, -VOICE, VOICE, -VOICE], "quad"),
        ([VOICE, -VOICE, ZERO, ZERO, ZERO, ZERO], "5.1"),
        ([VOICE, ZERO, -VOICE, ZERO, ZERO, ZERO], "5.1"),
    ],
)
def test_a_voice_that_its_channels_hold_with_opposite_signs_is_heard(tmp_path, channels, layout):
    samples = load_samples(write_channels(tmp_path / "clip.mkv", np.stack(channels), layout))
    assert len(samples) == RATE
    assert abs(np.corrcoef(np.diff(samples), np.diff(VOICE))[0, 1]) > 0.95
    assert np.std(np.diff(samples)) > 0.15 * np.std(np.diff(VOICE))


@pytest.mark.parametrize("channels", [[VOICE, VOICE], [VOICE, ZERO], [VOICE, VOICE[::-1]]])
def test_channels_that_do_not_cancel_are_mixed_as_ever(tmp_path, channels):
    samples = load_samples(write_channels(tmp_path / "clip.wav", np.stack(channels)))
    np.testing.assert_allclose(samples, np.mean(channels, axis=0), atol=1e-4)


def test_one_channel_is_read_by_itself(tmp_path):
    path = write_channels(tmp_path / "clip.wav", np.stack([VOICE, VOICE[::-1]]))
    assert probe_media(path).n_channels == 2
    np.testing.assert_allclose(load_samples(path, TrackChoice(channel=2)), VOICE[::-1], atol=1e-5)


def test_sound_above_full_scale_is_not_cut_off(tmp_path):
    path = write_channels(tmp_path / "hot.wav", 30 * VOICE[None], "mono")
    np.testing.assert_allclose(load_samples(path) / 30, VOICE, atol=1e-4)
    whole = load_waveform(path, RATE).samples
    np.testing.assert_allclose(whole, VOICE / np.abs(VOICE).max(), atol=1e-3)


def rename_codec(path, old: bytes, new: bytes):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("name", "options", "old", "codec"),
    [("clip.mkv", {}, b"A_AAC", "A_QQQ"), ("clip.mp4", {"audio_codec": "ac3", "sample_rate": 48000}, b"ac-3", "qqqq")],
)
def test_sound_that_cannot_be_decoded_is_called_by_its_codec(tmp_path, name, options, old, codec):
    path = rename_codec(make.make_clip(tmp_path / name, **options), old, codec.encode())
    info = probe_media(path)
    assert info.has_video and not info.has_audio and info.undecodable == {"audio": codec}
    with pytest.raises(MediaError, match=f"sound track 1 cannot be decoded.*{codec}, cannot be decoded"):
        probe_media(path, TrackChoice(audio=1))
    path = rename_codec(make.make_clip(tmp_path / f"sound_{name}", video_codec=None, **options), old, codec.encode())
    with pytest.raises(MediaError, match=rf"holds sound \(codec {codec}\) that cannot be decoded"):
        probe_media(path)


def test_pictures_that_cannot_be_decoded_are_called_by_their_codec(tmp_path):
    path = rename_codec(make.make_clip(tmp_path / "clip.mkv"), b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/QQQ")
    assert probe_media(path).undecodable == {"video": "V_MPEG4/ISO/QQQ"}
