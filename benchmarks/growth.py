"""How time and memory grow with a clip's length, the faces in it, its size, and the clips of a manifest."""

import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.inference_speed import ROOT, make_clip, spend
from benchmarks.measures import Measure

LENGTHS_SECONDS = (30, 60, 120)
N_FACES = (1, 2, 4)
HEIGHTS = (360, 720, 1080, 2160)
N_CLIPS = (100, 1_000, 10_000, 100_000)
GROWTH_SECONDS = 10.0


def measure(folder: Path, source: Path) -> Iterator[Measure]:
    """Measures all of it; ``folder`` keeps the clips."""
    yield from _measure_lengths(folder, source)
    yield from _measure_faces(folder, source)
    yield from _measure_sizes(folder, source)
    yield from _measure_manifests(folder)


def _infer(clip: Path, folder: Path):
    command = [sys.executable, str(ROOT / "run_inference.py"), str(clip), "--overwrite", "--no_progress"]
    return spend(command, folder=folder)


def _measure_lengths(folder: Path, source: Path) -> Iterator[Measure]:
    found = {}
    for seconds in LENGTHS_SECONDS:
        found[seconds] = _infer(make_clip(folder, source, seconds), folder)
        yield Measure(f"{seconds} s of 720p: time", found[seconds].seconds, "s")
        yield Measure(f"{seconds} s of 720p: memory", found[seconds].megabytes, "MB")
    first, last = LENGTHS_SECONDS[0], LENGTHS_SECONDS[-1]
    growth = found[last].seconds / found[first].seconds / (last / first)
    yield Measure("length: growth of time beside that of the clip", growth, "x", 1.1)
    memory = (found[last].megabytes - found[first].megabytes) / (last - first) * 60
    yield Measure("length: memory for each further minute", memory, "MB", 10)


def _measure_faces(folder: Path, source: Path) -> Iterator[Measure]:
    found = {}
    for n in N_FACES:
        clip = make_clip(folder, source, GROWTH_SECONDS, size=(1280, 720), n_across=n)
        found[n] = _infer(clip, folder).seconds
        yield Measure(f"{n} faces, {GROWTH_SECONDS:g} s of 720p: time", found[n], "s")
    yield Measure("faces: growth of time beside theirs", found[N_FACES[-1]] / found[1] / N_FACES[-1], "x", 1.0)


def _measure_sizes(folder: Path, source: Path) -> Iterator[Measure]:
    found = {}
    for height in HEIGHTS:
        clip = make_clip(folder, source, GROWTH_SECONDS, size=(height * 16 // 9, height))
        found[height] = _infer(clip, folder)
        yield Measure(f"{height}p, {GROWTH_SECONDS:g} s: time", found[height].seconds, "s")
        yield Measure(f"{height}p, {GROWTH_SECONDS:g} s: memory", found[height].megabytes, "MB")
    pixels = (HEIGHTS[-1] / HEIGHTS[1]) ** 2
    yield Measure("4K beside 720p: growth of time beside that of the pixels",
                  found[HEIGHTS[-1]].seconds / found[HEIGHTS[1]].seconds / pixels, "x", 1.0)  # fmt: skip


def _measure_manifests(folder: Path) -> Iterator[Measure]:
    from emotion.datasets.recognition import load_dataset
    from emotion.folds import split_folds

    emotions = ("neutral", "happy", "sad", "angry")
    (folder / "clip.wav").touch()
    found = {}
    for n in N_CLIPS:
        path = folder / f"manifest_{n}.csv"
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "emotion", "speaker", "start_s", "end_s"))
            writer.writerows(("clip.wav", emotions[i % 4], f"s{i % 50}", i, i + 1) for i in range(n))
        start = time.perf_counter()
        clips = load_dataset("manifest", path, manifest_root=folder)
        split_folds(clips, "kfold", n_folds=5, validation_fraction=0.15, seed=0)
        found[n] = time.perf_counter() - start
        yield Measure(f"manifest of {n:,} clips read and split", found[n], "s")
    growth = found[N_CLIPS[-1]] / found[N_CLIPS[-2]] / (N_CLIPS[-1] / N_CLIPS[-2])
    yield Measure("manifest: growth of time beside that of the clips", growth, "x", 1.1)
