"""How many clips a minute one computer labels, by the number of its processes, and what an hour of video costs."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.inference_speed import ROOT, make_clip, spend
from benchmarks.measures import Measure

N_WORKERS = (1, 2, 3, 4)
N_CLIPS, CLIP_SECONDS = 12, 10.0


def measure(folder: Path, source: Path) -> Iterator[Measure]:
    """Labels copies of a clip of 720p, with one process and with several, without drawing."""
    clips = folder / "clips"
    shutil.rmtree(clips, ignore_errors=True)
    clips.mkdir()
    clip = make_clip(folder, source, CLIP_SECONDS)
    for number in range(N_CLIPS):
        os.link(clip, clips / f"{number:02}.mp4")
    alone = 0.0
    for n in N_WORKERS:
        command = [
            sys.executable, str(ROOT / "run_inference.py"), str(clips), "--workers", str(n), "--no_video", "--no_plot",
            "--json", "--no_progress", "--overwrite", "--output_dir", str(folder / "labelled"),
        ]  # fmt: skip
        spent = spend(command, folder=folder)
        alone = alone or spent.seconds
        yield Measure(f"{n} workers: minutes of video labelled in a minute", N_CLIPS * CLIP_SECONDS / spent.seconds, "")
        yield Measure(f"{n} workers: speed beside one", alone / spent.seconds, "x")
        hours = spent.processor_seconds / (N_CLIPS * CLIP_SECONDS)
        yield Measure(f"{n} workers: processor hours for an hour of video", hours, "h")
