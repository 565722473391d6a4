"""A recording is known again in another codec, and two takes of one sentence are not taken for one."""

import shutil

import av
import numpy as np
import pytest
import soundfile
from media_files import make_still
from scipy.signal import resample_poly

from emotion.datasets.check import fingerprints
from emotion.datasets.check.copies import find_same_recordings
from emotion.datasets.check.examination import examine_file
from emotion.datasets.synthetic.clips import draw_clip, write_clip
from emotion.datasets.synthetic.voices import synthesize_voice

RATE = 22050


def speak(take=0, emotion="happy", seconds=2.0):
    return synthesize_voice(
        emotion, speaker_seed=1, duration_seconds=seconds, sample_rate=RATE, seed=take, statement=1
    ).astype(np.float32)


def write_video(path, *, take=0, size=96, crf=23, seconds=3.0, emotion="happy", blank=False):
    times = np.arange(0, seconds, 0.1)
    frames = draw_clip(emotion, times, np.abs(np.sin(5 * times + take)), speaker_seed=1, size=size, seed=take)
    write_clip(path, frames * (not blank), 10, crf=crf)
    return path


def write_codec(path, samples, codec, bit_rate):
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=RATE, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
        frame.sample_rate = RATE
        for packet_frame in av.AudioResampler(stream.codec_context.codec.audio_formats[0].name, "mono").resample(frame):
            output.mux(stream.encode(packet_frame))
        output.mux(stream.encode(None))
    return path


def find(*paths, owners=None):
    """The groups among files that each belong to a clip of their own, as sets of names with what they share."""
    paths = [str(path) for path in paths]
    found = find_same_recordings({path: examine_file(path) for path in paths}, owners or {p: p for p in paths})
    return [({path.rsplit("/", 1)[-1] for path in group.paths}, group.how) for group in found]


@pytest.mark.parametrize(("name", "codec"), [("copy.mp4", "aac"), ("copy.mp3", "libmp3lame")])
def test_a_softer_later_copy_in_another_codec_is_the_same_sound(tmp_path, name, codec):
    samples = speak()
    soundfile.write(tmp_path / "take.wav", samples, RATE)
    late = np.concatenate([np.zeros(RATE // 20, np.float32), 0.4 * samples])
    copy = write_codec(tmp_path / name, late, codec, 48_000)
    assert find(tmp_path / "take.wav", copy) == [({"take.wav", name}, ("same sound",))]


def test_a_copy_at_another_rate_is_the_same_sound(tmp_path):
    soundfile.write(tmp_path / "take.wav", speak(), RATE)
    soundfile.write(tmp_path / "half.flac", resample_poly(speak(), 1, 2), RATE // 2)
    assert find(tmp_path / "take.wav", tmp_path / "half.flac") == [({"take.wav", "half.flac"}, ("same sound",))]


def test_two_takes_of_one_sentence_by_one_speaker_are_two_recordings(tmp_path):
    for take in range(4):
        soundfile.write(tmp_path / f"{take}.wav", speak(take), RATE)
    assert find(*tmp_path.iterdir()) == []
    assert fingerprints.compare_waveforms(tmp_path / "0.wav", tmp_path / "1.wav") < 0.6


def test_silence_and_a_faint_hum_are_like_nothing(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "b.flac", np.zeros(RATE), RATE)
    assert find(tmp_path / "a.wav", tmp_path / "b.flac") == []


@pytest.mark.parametrize("n_samples", [1, 100, 600, 1100, 2000])
def test_a_click_is_no_fault(n_samples):
    """Of one step or two nothing can be said to change."""
    click = np.zeros(n_samples, np.float32)
    click[n_samples // 2] = 0.5
    found = fingerprints.compute_sound_print(click, RATE)
    assert found is None or np.isfinite(np.frombuffer(found, np.float16)).all()
    assert (found is None) == (n_samples < 1024)


def test_the_files_of_one_clip_are_not_compared(tmp_path):
    soundfile.write(tmp_path / "a.wav", speak(), RATE)
    shutil.copy(tmp_path / "a.wav", tmp_path / "b.wav")
    assert find(*tmp_path.iterdir(), owners={str(path): "one clip" for path in tmp_path.iterdir()}) == []


def test_copies_of_copies_make_one_group(tmp_path):
    soundfile.write(tmp_path / "a.wav", speak(), RATE)
    shutil.copy(tmp_path / "a.wav", tmp_path / "b.wav")
    soundfile.write(tmp_path / "c.flac", speak(), RATE)
    assert find(*tmp_path.iterdir()) == [({"a.wav", "b.wav", "c.flac"}, ("same bytes", "same sound"))]


def test_a_smaller_coarser_copy_of_a_silent_video_has_the_same_pictures(tmp_path):
    paths = [write_video(tmp_path / "a.mp4"), write_video(tmp_path / "b.mp4", crf=30)]
    assert find(*paths) == [({"a.mp4", "b.mp4"}, ("same pictures",))]


def test_one_face_before_one_wall_saying_something_else_has_other_pictures(tmp_path):
    assert find(*(write_video(tmp_path / f"{take}.mp4", take=take) for take in range(3))) == []


def test_black_videos_are_like_nothing(tmp_path):
    first = write_video(tmp_path / "a.mp4", blank=True)
    assert examine_file(str(first)).picture_print is None


def test_stills_are_the_same_when_every_pixel_is(tmp_path):
    make_still(tmp_path / "a.png")
    pixels = (tmp_path / "a.png").read_bytes()
    # Bytes after a picture's end change the file and not the picture.
    (tmp_path / "b.png").write_bytes(pixels + b"\0")
    make_still(tmp_path / "c.png", width=66)
    assert find(*sorted(tmp_path.iterdir())) == [({"a.png", "b.png"}, ("same pictures",))]


def test_pairs_are_found_across_blocks_of_rows():
    rows = np.eye(7, dtype=np.float32)[[0, 1, 2, 3, 4, 0, 6, 4]]
    pairs = [(one, other) for one, other, _ in fingerprints.find_alike(rows, 0.9, n_rows=3)]
    assert pairs == [(0, 5), (4, 7)]
