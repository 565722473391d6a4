"""How time and memory grow with a clip's length, its faces and its size, and with the clips of a manifest."""

import csv
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.inference_speed import ROOT, loop_clip, make_clip, spend
from benchmarks.measures import MET, MISSED, Measure

# Long clips are small: otherwise an hour of video would take an hour to encode.
LENGTHS_SECONDS, LONG_SIZE = (60, 300, 1200, 3600), (640, 360)
N_FACES = (1, 2, 4, 8)
HEIGHTS = (360, 720, 1080, 2160)
N_CLIPS = (100, 1_000, 10_000, 100_000)
GROWTH_SECONDS = 10.0
SMALLEST_FLAT = 1.1  # growth within measurement noise
MEGABYTES_A_MINUTE = 10.0


@dataclass
class Course:
    """Time and memory for rising amounts of one thing; ``megabytes`` is empty if memory was not measured."""

    title: str
    unit: str
    amounts: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def add(self, amount: float, seconds: float, megabytes: float | None = None) -> None:
        self.amounts.append(amount)
        self.seconds.append(seconds)
        if megabytes is not None:
            self.megabytes.append(megabytes)

    @property
    def growth(self) -> float:
        """Growth of time divided by growth of the amount, from first to last; 1 if proportional."""
        return self.seconds[-1] / self.seconds[0] / (self.amounts[-1] / self.amounts[0])


def measure(folder: Path, source: Path, *, longest: float = LENGTHS_SECONDS[-1], plot: Path) -> Iterator[Measure]:
    """Measures all of it on clips made from ``source``, none longer than ``longest`` seconds."""
    courses = [
        Course("length of the clip (360p, one face)", "s"),
        Course(f"faces ({GROWTH_SECONDS:g} s of 720p)", "faces"),
        Course(f"size of the picture ({GROWTH_SECONDS:g} s, one face)", "megapixels"),
        Course("clips of a manifest, read and split", "clips"),
    ]
    parts = (
        lambda course: _measure_lengths(folder, source, course, longest),
        lambda course: _measure_faces(folder, source, course),
        lambda course: _measure_sizes(folder, source, course),
        lambda course: _measure_manifests(folder, course),
    )
    for course, part in zip(courses, parts, strict=True):
        yield from part(course)
    write_growth_plot(courses, plot)


def _infer(clip: Path, folder: Path):
    command = [sys.executable, str(ROOT / "run_inference.py"), str(clip), "--overwrite", "--no_progress"]
    return spend(command, folder=folder)


def _measure_lengths(folder: Path, source: Path, course: Course, longest: float) -> Iterator[Measure]:
    first = make_clip(folder, source, LENGTHS_SECONDS[0], size=LONG_SIZE)
    for seconds in [seconds for seconds in LENGTHS_SECONDS if seconds <= longest]:
        spent = _infer(loop_clip(folder, first, round(seconds / LENGTHS_SECONDS[0])), folder)
        course.add(seconds, spent.seconds, spent.megabytes)
        yield Measure(f"{seconds} s of 360p: time", spent.seconds, "s")
        yield Measure(f"{seconds} s of 360p: memory", spent.megabytes, "MB")
    yield Measure("length: growth of time beside that of the clip", course.growth, "x", SMALLEST_FLAT)
    minutes = (course.amounts[-1] - course.amounts[0]) / 60
    memory = (course.megabytes[-1] - course.megabytes[0]) / minutes
    yield Measure("length: memory for each further minute", memory, "MB", MEGABYTES_A_MINUTE)


def _measure_faces(folder: Path, source: Path, course: Course) -> Iterator[Measure]:
    for n in N_FACES:
        spent = _infer(make_clip(folder, source, GROWTH_SECONDS, size=(1280, 720), n_across=n), folder)
        course.add(n, spent.seconds, spent.megabytes)
        yield Measure(f"{n} faces, {GROWTH_SECONDS:g} s of 720p: time", spent.seconds, "s")
    yield Measure("faces: growth of time beside theirs", course.growth, "x", 1.0)


def _measure_sizes(folder: Path, source: Path, course: Course) -> Iterator[Measure]:
    for height in HEIGHTS:
        size = (height * 16 // 9, height)
        spent = _infer(make_clip(folder, source, GROWTH_SECONDS, size=size), folder)
        course.add(size[0] * size[1] / 1e6, spent.seconds, spent.megabytes)
        yield Measure(f"{height}p, {GROWTH_SECONDS:g} s: time", spent.seconds, "s")
        yield Measure(f"{height}p, {GROWTH_SECONDS:g} s: memory", spent.megabytes, "MB")
    yield Measure("size: growth of time beside that of the pixels", course.growth, "x", 1.0)


def _measure_manifests(folder: Path, course: Course) -> Iterator[Measure]:
    from emotion.datasets.protocols import split_folds
    from emotion.datasets.recognition import load_dataset

    emotions = ("neutral", "happy", "sad", "angry")
    (folder / "clip.wav").touch()
    for n in N_CLIPS:
        path = folder / f"manifest_{n}.csv"
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "emotion", "speaker", "start_s", "end_s"))
            writer.writerows(("clip.wav", emotions[i % 4], f"s{i % 50}", i, i + 1) for i in range(n))
        start = time.perf_counter()
        clips = load_dataset(path, "manifest", manifest_root=folder)
        split_folds(clips, "kfold", n_folds=5, validation_fraction=0.15, seed=0)
        course.add(n, time.perf_counter() - start)
        yield Measure(f"manifest of {n:,} clips read and split", course.seconds[-1], "s")
    # From the second-last to the last: fixed costs would hide the growth of small manifests.
    growth = course.seconds[-1] / course.seconds[-2] / (course.amounts[-1] / course.amounts[-2])
    yield Measure("manifest: growth of time beside that of the clips", growth, "x", SMALLEST_FLAT)


def write_growth_plot(courses: Sequence[Course], path: Path) -> None:
    """Plots time and memory against each amount; a dashed line shows proportional growth."""
    from emotion.outputs.plots.figures import build_figure, set_title, write_figure

    figure = build_figure(width_inches=10, height_inches=7.5)
    for axes, course in zip(figure.subplots(2, 2).flat, courses, strict=True):
        axes.loglog(course.amounts, course.seconds, "o-", color=MET, label="time")
        proportional = [course.seconds[0] * amount / course.amounts[0] for amount in course.amounts]
        axes.loglog(course.amounts, proportional, "--", color="#999999", label="in proportion")
        axes.set_xticks(
            course.amounts, [f"{amount:,.3g}" if amount < 1000 else f"{amount:,.0f}" for amount in course.amounts]
        )
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        axes.set_xlabel(f"{course.title}: {course.unit}")
        axes.set_ylabel("seconds")
        axes.spines[["top"]].set_visible(False)
        if course.megabytes:
            beside = axes.twinx()
            beside.plot(course.amounts, course.megabytes, "s:", color=MISSED, label="memory")
            beside.set_ylim(0, 1.3 * max(course.megabytes))
            beside.set_ylabel("megabytes", color=MISSED)
            beside.spines[["top"]].set_visible(False)
    handles = [*axes.get_legend_handles_labels()[0], *beside.get_legend_handles_labels()[0]]
    figure.axes[0].legend(handles, ["time", "in proportion", "memory"], loc="upper left", frameon=False)
    set_title(figure, "How time and memory grow")
    write_figure(figure, path)
