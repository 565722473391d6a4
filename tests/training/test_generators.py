"""The generators: reproducible batches, augmentation in training only, and the very inputs that inference sees."""

import dataclasses
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import soundfile
from small_models import EMOTIONS, small_config

from emotion.config import RunConfig
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.datasets.synthetic.clips import draw_clip
from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.errors import DatasetError
from emotion.inputs.clip_windows import compute_inputs, cut_clip, cut_clip_window
from emotion.inputs.preprocessing import Preprocessor
from emotion.inputs.window_cutter import WindowCutter
from emotion.media.reading import iterate_media
from emotion.training.generators import ClipWindows


@pytest.fixture(scope="module")
def cache(clips, cache_dir):
    cache = ClipCache(cache_dir, small_config())
    assert cache.fill(clips, n_workers=1) == {}
    return cache


def write_face_at(path, times):
    """A clip of a swaying face with frames at the given times, and a voice."""
    times = np.round(times, 3)
    voice = synthesize_voice("happy", speaker_seed=1, duration_seconds=5)
    level = np.convolve(np.abs(voice), np.ones(1100) / 1100, mode="same")
    mouth = np.interp(times, np.arange(len(level)) / 22050, level / level.max())
    frames = draw_clip("happy", times, mouth, speaker_seed=1, size=160)
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=30, width=160, height=160, time_base=Fraction(1, 1000))
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        audio = output.add_stream("aac", rate=22050, layout="mono")
        for time, image in zip(times, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(voice[None], format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = 22050, 0, Fraction(1, 22050)
        output.mux(audio.encode(sound))
        output.mux(audio.encode(None))


def write_still(path):
    (face,) = draw_clip("happy", np.zeros(1), np.zeros(1), speaker_seed=1, size=160)
    cv2.imwrite(str(path), face[..., ::-1])
    return str(path)


def batches_equal(first, second) -> bool:
    (inputs, classes, weights), (other_inputs, other_classes, other_weights) = first, second
    return (
        all(np.array_equal(inputs[name], other_inputs[name]) for name in inputs)
        and np.array_equal(classes, other_classes)
        and np.array_equal(weights, other_weights)
    )


@pytest.mark.parametrize(
    "times",
    [
        pytest.param(np.arange(0, 5, 1 / 5), id="5 fps"),
        pytest.param(np.arange(0, 5, 1 / 8), id="8 fps"),
        pytest.param(np.arange(0, 5, 1 / 30), id="30 fps"),
        pytest.param(np.concatenate([[0.0, 1.9], np.arange(3.7, 5, 1 / 30)]), id="variable"),
    ],
)
def test_training_and_inference_give_byte_equal_inputs_for_one_clip(times, tmp_path):
    # The default window and grid, whose moments the step does not fall on. The sound lies in the video file, which is
    # all that inference is given.
    config = RunConfig(class_names=EMOTIONS)
    path = tmp_path / "clip.mp4"
    write_face_at(path, times)
    clip = Clip("test:clip", "happy", "test:1", video_path=str(path), audio_path=str(path))
    cache = ClipCache(tmp_path / "cache", config)
    assert cache.fill([clip], n_workers=1) == {}
    preprocessor = Preprocessor(config)
    batches = list(WindowCutter(config).cut(iterate_media(path, sample_rate=config.audio.sample_rate)))
    assert len(batches) >= 5
    compared = {"audio": 0, "video": 0}
    for windows in batches:
        cached = compute_inputs(cut_clip_window(cache.load(clip), windows[0].start_seconds, preprocessor), preprocessor)
        for window in windows:
            # What a window was not judged by holds nothing.
            for name, part in (("audio", "voice"), ("video", "face")):
                assert cached[name].dtype == window.inputs[name].dtype
                if part in window.evidence.split("+"):
                    assert cached[name].tobytes() == window.inputs[name].tobytes()
                    compared[name] += 1
                else:
                    assert not window.inputs[name].any()
    assert min(compared.values()) >= len(batches) - 1


def test_a_batch_has_the_shapes_that_the_model_takes_and_every_clip_comes_once_an_epoch(clips, cache):
    windows = ClipWindows(clips, cache, cache.config, training=True)
    inputs, classes, weights = windows[0]
    assert inputs["audio"].shape == (4, 20, 16, 1)
    assert inputs["video"].shape == (4, 4, 32, 32, 3)
    assert inputs["video"].dtype == np.uint8
    assert classes.shape == weights.shape == (4,)
    assert sum(len(windows[i][1]) for i in range(windows.num_batches)) == len(clips)


def test_two_generators_of_one_seed_agree_and_those_of_two_do_not(clips, cache):
    def first_batch(seed):
        config = dataclasses.replace(cache.config, training=dataclasses.replace(cache.config.training, seed=seed))
        return ClipWindows(clips, cache, config, training=True)[0]

    assert batches_equal(first_batch(1), first_batch(1))
    assert not batches_equal(first_batch(1), first_batch(2))


def test_a_batch_depends_on_its_epoch_and_place_alone(clips, cache):
    windows = ClipWindows(clips, cache, cache.config, training=True)
    windows.set_epoch(3)
    once = windows[2]
    windows.set_epoch(4)
    other = windows[2]
    windows.set_epoch(3)
    assert windows[0] is not None  # asking for another batch in between changes nothing
    assert batches_equal(windows[2], once)
    assert not batches_equal(other, once)


def test_validation_is_neither_shuffled_nor_augmented(clips, cache):
    windows = ClipWindows(clips, cache, cache.config, training=False)
    before = windows[1]
    windows.set_epoch(7)
    assert batches_equal(windows[1], before)
    assert [cache.config.class_names[i] for i in before[1]] == [clip.emotion for clip in clips[4:8]]


def test_all_frames_of_a_clip_are_varied_alike(clips, cache, monkeypatch):
    still = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    monkeypatch.setattr("emotion.inputs.clip_windows._clip_frames", lambda *_, **__: np.stack([still] * 4))
    varied = ClipWindows(clips, cache, cache.config, training=True)[0][0]["video"]
    assert all(np.array_equal(clip[0], frame) for clip in varied for frame in clip)
    assert not np.array_equal(varied[0][0], still)


def test_rare_emotions_weigh_more(clips, cache):
    many = [clip for clip in clips if clip.emotion == "happy"][:6]
    few = [clip for clip in clips if clip.emotion == "sad"][:2]
    windows = ClipWindows([*many, *few], cache, cache.config, training=True)
    batches = [windows[i] for i in range(windows.num_batches)]
    classes = np.concatenate([batch[1] for batch in batches])
    weights = np.concatenate([batch[2] for batch in batches])
    assert weights.mean() == pytest.approx(1)
    assert weights[classes == 0].sum() == pytest.approx(weights[classes == 1].sum())


def test_an_emotion_outside_the_classes_is_refused(clips, cache):
    config = dataclasses.replace(cache.config, class_names=("happy", "angry"))
    with pytest.raises(DatasetError, match="sad .*happy, angry"):
        ClipWindows(clips, cache, config, training=True)


def test_a_still_picture_is_in_every_training_window(tmp_path):
    config = dataclasses.replace(small_config(), modalities=("video",))
    cache = ClipCache(tmp_path / "cache", config)
    still = Clip("mine:still", "happy", video_path=write_still(tmp_path / "still.png"))
    assert cache.fill([still]) == {}
    training = ClipWindows([still], cache, config, training=True)
    plain = cut_clip_window(cache.load(still), 0.0, Preprocessor(config)).frames
    assert all((frame == plain[0]).all() for frame in plain) and plain.any()
    for epoch in range(40):
        training.set_epoch(epoch)
        assert training[0][0]["video"].any(axis=(2, 3, 4)).all()


def test_a_still_picture_is_seen_for_as_long_as_the_sound_beside_it_lasts(tmp_path):
    soundfile.write(tmp_path / "voice.wav", synthesize_voice("happy", speaker_seed=1, duration_seconds=4), 22050)
    cache = ClipCache(tmp_path / "cache", small_config())
    paths = {"video_path": write_still(tmp_path / "still.png"), "audio_path": str(tmp_path / "voice.wav")}
    clip = Clip("mine:both", "happy", **paths)
    assert cache.fill([clip]) == {}
    windows = cut_clip(cache.load(clip), Preprocessor(small_config()))
    assert len(windows) > 4
    assert all(window["video"].any() for window in windows)
