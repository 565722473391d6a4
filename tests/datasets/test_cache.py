"""Decoded clips on disk: decoded once, never stale, and whole or not there at all."""

import dataclasses
import os

import media_files as make
import numpy as np
import pytest
from recording import Recorder
from refusals import refused

from emotion.config import AudioConfig, RunConfig, TrainConfig, VideoConfig, WindowConfig
from emotion.datasets import cache as cache_module
from emotion.datasets.cache import ARRAYS, ClipCache
from emotion.datasets.clips import Clip
from emotion.inputs.preprocessing import load_clip_media

CONFIG = RunConfig(video=VideoConfig(image_size=16, crop="frame"))


def make_clip(path, clip_id: str = "toy:1") -> Clip:
    return Clip(clip_id, "happy", "toy:a", video_path=str(path), audio_path=str(path))


@pytest.fixture
def clips(tmp_path) -> list[Clip]:
    """Picture and sound, picture alone, sound alone."""
    both = make.make_clip(tmp_path / "both.mp4", frame_rate=10)
    silent = make.make_clip(tmp_path / "silent.mp4", frame_rate=10, audio_codec=None)
    sound = make.make_clip(tmp_path / "sound.wav", video_codec=None, audio_codec="pcm_s16le")
    return [
        make_clip(both, "toy:both"),
        Clip("toy:silent", "sad", "toy:b", video_path=str(silent)),
        Clip("toy:sound", "sad", "toy:b", audio_path=str(sound)),
    ]


@pytest.fixture
def no_decoding(monkeypatch):
    """Makes every attempt to decode fail from now on, once called."""

    def forbid():
        def fail(*args):
            raise AssertionError(f"decoded {args[:2]}")

        monkeypatch.setattr(cache_module, "load_clip_media", fail)

    return forbid


def assert_same(one, other) -> None:
    assert one.duration_seconds == other.duration_seconds
    for name in ARRAYS:
        mine, its = getattr(one, name), getattr(other, name)
        assert mine.dtype == its.dtype
        np.testing.assert_array_equal(mine, its)


def entries(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# ---- Adding and loading ----


def test_a_clip_comes_back_as_it_was_decoded_from_arrays_that_stay_on_disk_and_cannot_be_changed(tmp_path, clips):
    cache = ClipCache(tmp_path / "cache", CONFIG)
    assert cache.fill(clips, n_workers=1) == {}
    for clip in clips:
        assert cache.holds(clip)
        media = cache.load(clip)
        assert_same(media, load_clip_media(clip.recording, CONFIG))
        assert all(
            isinstance(array := getattr(media, name), np.memmap) and not array.flags.writeable for name in ARRAYS
        )


def test_only_what_is_missing_is_decoded(tmp_path, clips, monkeypatch):
    cache = ClipCache(tmp_path / "cache", CONFIG)
    cache.fill(clips[:2], n_workers=1)
    decoded = []

    def note(recording, config):
        decoded.append(recording)
        return load_clip_media(recording, config)

    monkeypatch.setattr(cache_module, "load_clip_media", note)
    seen = []
    cache.fill(clips, n_workers=1, reporter=Recorder(done=seen))
    assert decoded == [clips[2].recording]
    assert seen == [(2, 3), (3, 3)]


def test_a_clip_that_was_not_added_is_named(tmp_path, clips):
    cache = ClipCache(tmp_path / "cache", CONFIG)
    assert not cache.holds(clips[0])
    with refused(KeyError, "toy:both"):
        cache.load(clips[0])


def test_two_workers_give_the_same_as_one(tmp_path, clips):
    broken = make_clip(make.make_renamed_text(tmp_path / "broken.mp4"), "toy:broken")
    caches, failures, seen = [], [], []
    for n_workers in (1, 2):
        caches.append(ClipCache(tmp_path / f"cache{n_workers}", CONFIG))
        recorder = Recorder(done=seen if n_workers == 2 else [])
        failures.append(caches[-1].fill([*clips, broken], n_workers=n_workers, reporter=recorder))
    assert failures[0] == failures[1] and list(failures[0]) == ["toy:broken"]
    assert seen == [(i, 4) for i in range(5)]
    assert entries(caches[0].folder) == entries(caches[1].folder)
    for clip in clips:
        assert_same(caches[0].load(clip), caches[1].load(clip))


# ---- Never stale ----


@pytest.mark.parametrize("same_cache", [True, False])
def test_a_changed_file_never_meets_the_old_entry(tmp_path, same_cache):
    path = make.make_clip(tmp_path / "clip.wav", video_codec=None, audio_codec="pcm_s16le", seconds=1.0)
    clip, cache = make_clip(path), ClipCache(tmp_path / "cache", CONFIG)
    cache.fill([clip], n_workers=1)
    make.make_clip(path, video_codec=None, audio_codec="pcm_s16le", seconds=2.0)
    later = cache if same_cache else ClipCache(tmp_path / "cache", CONFIG)
    assert not later.holds(clip)
    with pytest.raises(KeyError):
        later.load(clip)
    later.fill([clip], n_workers=1)
    assert later.load(clip).duration_seconds == pytest.approx(2.0, abs=0.01)


def test_a_file_of_another_name_with_the_same_content_is_the_same_clip(tmp_path, clips, no_decoding):
    cache = ClipCache(tmp_path / "cache", CONFIG)
    cache.fill(clips, n_workers=1)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes((tmp_path / "both.mp4").read_bytes())
    no_decoding()
    assert cache.fill([make_clip(copy, "toy:copy")], n_workers=1) == {}


def test_sound_inside_and_sound_left_out_are_different_clips(tmp_path, clips):
    cache = ClipCache(tmp_path / "cache", CONFIG)
    unheard = dataclasses.replace(clips[0], audio_path=None)
    assert cache.key(clips[0]) != cache.key(unheard)
    assert cache.key(unheard) != cache.key(dataclasses.replace(clips[0], video_path=None))


@pytest.mark.parametrize(
    "change",
    [
        {"audio": AudioConfig(sample_rate=16000)},
        {"video": VideoConfig(image_size=24, crop="frame")},
        {"video": VideoConfig(image_size=16, crop="face")},
        {"video": VideoConfig(image_size=16, crop="frame", n_frames=10)},
        {"window": WindowConfig(window_seconds=2.0)},
    ],
)
def test_a_changed_setting_that_decoding_depends_on_never_meets_the_old_entry(tmp_path, clips, change):
    ClipCache(tmp_path / "cache", CONFIG).fill(clips[:1], n_workers=1)
    config = dataclasses.replace(CONFIG, **change)
    other = ClipCache(tmp_path / "cache", config)
    assert not other.holds(clips[0])
    other.fill(clips[:1], n_workers=1)
    clip = clips[0]
    assert_same(other.load(clip), load_clip_media(clip.recording, config))


@pytest.mark.parametrize(
    "change",
    [{}, {"audio": AudioConfig(n_mfcc=13)}, {"training": TrainConfig(seed=3)}, {"class_names": ("sad", "happy")}],
)
def test_a_second_fill_decodes_nothing_whatever_other_settings_say(tmp_path, clips, change, no_decoding):
    ClipCache(tmp_path / "cache", CONFIG).fill(clips, n_workers=1)
    no_decoding()
    seen = []
    again = ClipCache(tmp_path / "cache", dataclasses.replace(CONFIG, **change))
    assert again.fill(clips, n_workers=1, reporter=Recorder(done=seen)) == {}
    assert seen == [(3, 3)]


# ---- Whole or not there at all ----


@pytest.mark.parametrize("kill_at", range(5))
def test_a_kill_in_the_middle_leaves_nothing_half_done(tmp_path, clips, monkeypatch, kill_at):
    clip, cache = clips[0], ClipCache(tmp_path / "cache", CONFIG)
    n_named = []

    def kill(source, target):
        if len(n_named) == kill_at:
            raise KeyboardInterrupt
        n_named.append(target)
        real_replace(source, target)

    real_replace = os.replace
    monkeypatch.setattr(os, "replace", kill)
    with pytest.raises(KeyboardInterrupt):
        cache.fill([clip], n_workers=1)
    monkeypatch.undo()
    assert not any(".partial." in name for name in entries(cache.folder))
    again = ClipCache(tmp_path / "cache", CONFIG)
    assert not again.holds(clip)
    assert again.fill([clip], n_workers=1) == {}
    assert_same(again.load(clip), load_clip_media(clip.recording, CONFIG))


@pytest.mark.parametrize("make_file", [make.make_renamed_text, make.make_empty, make.make_lfs_pointer, None])
def test_a_broken_or_missing_file_is_reported_and_the_others_are_added(tmp_path, clips, make_file):
    path = tmp_path / "bad.mp4"
    if make_file:
        make_file(path)
    cache, bad, seen = ClipCache(tmp_path / "cache", CONFIG), make_clip(path, "toy:bad"), []
    failures = cache.fill([clips[0], bad, clips[2]], n_workers=1, reporter=Recorder(done=seen))
    assert list(failures) == ["toy:bad"] and "bad.mp4" in failures["toy:bad"]
    assert cache.holds(clips[0]) and cache.holds(clips[2])
    assert seen[-1] == (3, 3)


def test_a_broken_file_that_was_mended_is_added_the_next_time(tmp_path):
    path = make.make_empty(tmp_path / "clip.mp4")
    clip, cache = make_clip(path), ClipCache(tmp_path / "cache", CONFIG)
    assert list(cache.fill([clip], n_workers=1)) == ["toy:1"]
    make.make_clip(path)
    assert cache.fill([clip], n_workers=1) == {}
    assert cache.holds(clip)
