"""The same sound in another file is the same recording, and another take of the sentence is not."""

import shutil

import av
import numpy as np
import pytest
import soundfile
from small_models import small_config

from emotion.datasets import Clip
from emotion.datasets.cache import ClipCache
from emotion.datasets.check.copies import name_recordings
from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.errors import DatasetError
from emotion.training.fitting import train

RATE = 22050


def write_voice(path, seed):
    soundfile.write(path, synthesize_voice("happy", speaker_seed=seed, duration_seconds=2.5, sample_rate=RATE), RATE)
    return path


def encode(source, path):
    """The same sound as AAC, softer."""
    samples, rate = soundfile.read(source, dtype="float32")
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(0.5 * samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def make_clip(path, speaker, emotion="happy"):
    return Clip(f"mine:{path.name}", emotion, f"mine:{speaker}", audio_path=str(path))


@pytest.fixture
def clips(tmp_path):
    paths = [write_voice(tmp_path / f"{seed}.wav", seed) for seed in range(4)]
    return [make_clip(path, f"person{i}", ("happy", "sad")[i % 2]) for i, path in enumerate(paths)]


def name(clips, tmp_path):
    cache = ClipCache(tmp_path / "cache", small_config())
    assert cache.fill(clips, n_workers=1) == {}
    contents = cache.contents(clips)
    return contents, name_recordings(clips, cache, contents)


def test_different_voices_keep_the_names_of_their_files(clips, tmp_path):
    contents, names = name(clips, tmp_path)
    assert names == contents
    assert len(set(names.values())) == 4


def test_a_copy_in_another_codec_has_the_name_of_the_first(clips, tmp_path):
    copy = make_clip(encode(clips[0].audio_path, tmp_path / "copy.m4a"), "somebody else")
    contents, names = name([*clips, copy], tmp_path)
    assert names[copy.audio_path] == names[clips[0].audio_path]
    assert contents[copy.audio_path] != contents[clips[0].audio_path]
    assert len(set(names.values())) == 4


def test_silence_is_nobodys_copy(clips, tmp_path):
    for number in range(2):
        soundfile.write(tmp_path / f"silent{number}.wav", np.full(RATE * (number + 1), 1e-5 * number), RATE)
    silent = [make_clip(tmp_path / f"silent{number}.wav", f"quiet{number}") for number in range(2)]
    contents, names = name([*clips, *silent], tmp_path)
    assert names == contents


def test_training_refuses_a_copy_on_the_other_side(clips, tmp_path):
    """Each voice stands there under two names, so that a split by speaker parts some of them from their copies."""
    copies = [
        make_clip(encode(clip.audio_path, tmp_path / f"copy{i}.m4a"), f"copy{i}", clip.emotion)
        for i, clip in enumerate(clips)
    ]
    with pytest.raises(DatasetError, match="same recording"):
        train([*clips, *copies], small_config(), tmp_path / "run", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "run" / "model.keras").exists()
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
