"""Inference speed: a clip compared with plain transcoding, the time to the first answer, and a camera.

Each measurement starts a new process, as a user does. Processor time and memory are counted by the system.
"""

import hashlib
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from benchmarks.measures import Measure
from emotion.console import Reporter
from emotion.datasets.synthetic.clips import write_clip
from emotion.errors import EmotionError, MediaError
from emotion.files import written_whole
from emotion.media.pictures import VideoFrame
from emotion.media.reading import AudioChunk, iterate_media

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "samples" / "astronaut.mp4"
RATE, SIZE = 30, (1280, 720)
SOUND_RATE = 22050
CAMERA_SIZE, CAMERA_SECONDS = (640, 480), 20.0


@dataclass(frozen=True)
class Spent:
    """What a program took: wall-clock seconds, processor seconds, and peak memory."""

    seconds: float
    processor_seconds: float
    megabytes: float


# Linux includes the memory of the starting process in the count, so this small one starts the program.
STARTER = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdout=open(sys.argv[1], "wb"), stderr=subprocess.STDOUT)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - start
print(os.waitstatus_to_exitcode(status), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""


def spend(command: Sequence[str], *, folder: Path) -> Spent:
    """Runs a program to its end; raises an EmotionError with its output if it fails."""
    output = folder / "output.txt"
    started = subprocess.run(
        [sys.executable, "-S", "-c", STARTER, str(output), *command], cwd=folder, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    code, seconds, processor_seconds, megabytes = (float(number) for number in started.stdout.split())
    if code:
        said = output.read_text(encoding="utf-8", errors="replace")
        raise EmotionError(f"{' '.join(command)}: ended with {code:.0f}:\n{said[-2000:]}")
    return Spent(seconds, processor_seconds, megabytes)


class Loop(Sequence):
    """``n`` pictures: those of a clip forwards and backwards in turn, scaled, on a grey background."""

    def __init__(self, pictures: Sequence[np.ndarray], n: int, size: tuple[int, int], n_across: int = 1):
        import cv2

        width, height = size[0] // n_across, size[1]
        scale = min(width / pictures[0].shape[1], height / pictures[0].shape[0])
        self._pictures = [
            cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for picture in pictures
        ]
        self._order = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
        self._n, self._size, self._n_across = n, size, n_across

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < self._n:
            raise IndexError(index)
        picture = self._pictures[self._order[index % len(self._order)]]
        canvas = np.full((self._size[1], self._size[0], 3), 90, np.uint8)
        width, top = self._size[0] // self._n_across, (self._size[1] - picture.shape[0]) // 2
        for number in range(self._n_across):
            left = number * width + (width - picture.shape[1]) // 2
            canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        return canvas


def make_clip(folder: Path, source: Path, seconds: float, *, size: tuple[int, int] = SIZE, n_across: int = 1) -> Path:
    """Makes a clip of 30 frames per second with sound by repeating a shorter one; an earlier equal one is reused.

    Args:
        folder: to write into.
        size: width and height.
        n_across: how many times the picture is shown side by side.

    Raises:
        MediaError: if the source has no pictures.
    """
    made_of = f"{hashlib.sha256(source.read_bytes()).hexdigest()} {seconds} {size} {n_across}"
    path = folder / f"clip_{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.mp4"
    if path.is_file():
        return path
    pictures, chunks = [], []
    for item in iterate_media(source, sample_rate=SOUND_RATE):
        if isinstance(item, VideoFrame):
            pictures.append(item.image)
        elif isinstance(item, AudioChunk):
            chunks.append(item.samples)
    if not pictures:
        raise MediaError(f"{source}: has no pictures to make a clip of. Name another with --clip.")
    sound = np.resize(np.concatenate(chunks), round(seconds * SOUND_RATE)) if chunks else None
    frames = Loop(pictures, round(seconds * RATE), size, n_across)
    with written_whole(path) as partial:
        write_clip(partial, frames, RATE, waveform=sound, sample_rate=SOUND_RATE, crf=20, preset="veryfast")
    return path


def loop_clip(folder: Path, clip: Path, n: int) -> Path:
    """Repeats a clip ``n`` times without re-encoding it; the file is kept in ``folder``."""
    path = folder / f"{clip.stem}_{n}_times.mp4"
    if n == 1 or path.is_file():
        return path if n > 1 else clip
    with written_whole(path) as partial, av.open(str(clip)) as source, av.open(str(partial), "w") as target:
        # All streams must exist before the first packet is written.
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        # Times may begin below 0: pictures decoded ahead of their display, and the encoder delay of sound.
        first = min(packet.dts * packet.time_base for packet in source.demux() if packet.dts is not None)
        base = 0
        for _ in range(n):
            source.seek(0)
            end = base
            for packet in source.demux():
                if packet.dts is None:
                    continue
                shift = round(base / av.time_base / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                end = max(end, round((packet.pts + packet.duration) * packet.time_base * av.time_base))
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
            base = end - math.floor(first * av.time_base)
    return path


# A separate program, measured like ours: it decodes, encodes with our writer's settings, and copies the sound.
TRANSCODE = """
import sys
import av
source, target = av.open(sys.argv[1]), av.open(sys.argv[2], "w")
seen = source.streams.video[0]
seen.thread_type = "AUTO"
video = target.add_stream("libx264", rate=seen.average_rate, options={"crf": "20", "preset": "veryfast"})
video.width, video.height, video.pix_fmt = seen.width, seen.height, "yuv420p"
audio = target.add_stream_from_template(source.streams.audio[0]) if source.streams.audio else None
for packet in source.demux():
    if packet.stream.type == "video":
        for frame in packet.decode():
            frame.pict_type = 0
            target.mux(video.encode(frame))
    elif packet.dts is not None and audio is not None:
        packet.stream = audio
        target.mux(packet)
target.mux(video.encode(None))
target.close()
"""
DECODE = """
import sys
import av
source = av.open(sys.argv[1])
source.streams.video[0].thread_type = "AUTO"
for frame in source.decode(video=0):
    pass
"""


def measure_clip(clip: Path, folder: Path, n_runs: int) -> Iterator[Measure]:
    """Compares the whole program with transcoding and decoding, in turns."""
    infer = [sys.executable, str(ROOT / "run_inference.py"), str(clip), "--overwrite", "--no_progress"]
    commands = {
        "transcode": [sys.executable, "-c", TRANSCODE, str(clip), str(folder / "floor.mp4")],
        "decode": [sys.executable, "-c", DECODE, str(clip)],
        "whole": infer,
        "no_video": [*infer, "--no_video"],
        "keras": [*infer, "--runtime", "keras"],
    }
    spent: dict[str, list[Spent]] = {name: [] for name in commands}
    for _ in range(n_runs):
        for name, command in commands.items():
            spent[name].append(spend(command, folder=folder))
    seconds = {name: statistics.median(each.seconds for each in runs) for name, runs in spent.items()}
    yield Measure(
        "whole program on the clip, beside transcoding it", seconds["whole"] / seconds["transcode"], "x", 1.25
    )
    yield Measure("without the video, beside decoding it", seconds["no_video"] / seconds["decode"], "x", 1.5)
    yield Measure("the same in Keras, beside ONNX Runtime", seconds["keras"] / seconds["whole"], "x")
    names = {"transcode": "transcoding", "decode": "decoding", "whole": "whole program",
             "no_video": "without the video"}  # fmt: skip
    for name, title in names.items():
        yield Measure(f"{title}: time", seconds[name], "s")
        processor = statistics.median(each.processor_seconds for each in spent[name])
        yield Measure(f"{title}: processor time", processor, "s")
    yield Measure("whole program: memory", max(each.megabytes for each in spent["whole"]), "MB")


def measure_peer(clip: Path, folder: Path, name: str, python: Path, ours: float) -> Iterator[Measure]:
    """Compares another package with the whole program on the same clip.

    Args:
        folder: where the package writes its annotated video.
        name: of the package and of its program in ``benchmarks/peers``.
        python: of the package's virtual environment.
        ours: seconds that the whole program took.
    """
    spent = spend([str(python), str(ROOT / "benchmarks" / "peers" / f"{name}_video.py"), str(clip)], folder=folder)
    said = (folder / "output.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    n, imported, loaded, _ = (float(x) for x in next(line for line in said if line.startswith("peer ")).split()[1:])
    n_ours = sum(isinstance(item, VideoFrame) for item in iterate_media(clip, sample_rate=SOUND_RATE, with_audio=False))
    yield Measure("whole program: pictures", n_ours / ours, "1/s")
    yield Measure(f"{name}: pictures", n / spent.seconds, "1/s")
    yield Measure(f"whole program beside {name}: pictures", n_ours / ours / (n / spent.seconds), "x", 5, is_limit=False)
    yield Measure(f"{name}: until it is loaded", imported + loaded, "s")
    yield Measure(f"{name}: memory", spent.megabytes, "MB")
    yield Measure(f"{name}: install", measure_folder(python.parents[1]), "MB")


def measure_folder(folder: Path) -> float:
    """Returns the megabytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def measure_start(folder: Path, n_runs: int) -> Iterator[Measure]:
    """Measures the help, and the time from the command to the answer for a picture."""
    from emotion.outputs.video.writing import write_image

    picture = next(item.image for item in iterate_media(SAMPLE, sample_rate=SOUND_RATE) if isinstance(item, VideoFrame))
    write_image(picture, folder / "picture.png")
    program = [sys.executable, str(ROOT / "run_inference.py")]
    help_seconds = [spend([*program, "--help"], folder=folder).seconds for _ in range(n_runs)]
    first = [*program, str(folder / "picture.png"), "--no_video", "--no_plot", "--no_progress"]
    yield Measure("--help", statistics.median(help_seconds), "s", 0.3)
    for runtime in ("onnx", "keras"):
        seconds = [spend([*first, "--runtime", runtime], folder=folder).seconds for _ in range(n_runs)]
        target = 1.5 if runtime == "onnx" else None
        yield Measure(
            f"from the command to the answer for a picture, {runtime}", statistics.median(seconds), "s", target
        )


def measure_camera(clip: Path) -> Iterator[Measure]:
    """Measures the live view's pictures per second, and the delay until a picture is shown with its label.

    The pictures come from memory as fast as they are taken, with timestamps of 30 per second.
    """
    from emotion.inference.live import run_live
    from emotion.inference.predictor import EmotionPredictor
    from emotion.settings import InferenceSettings

    pictures = [item.image for item in iterate_media(clip, sample_rate=SOUND_RATE) if isinstance(item, VideoFrame)]
    loop = Loop(pictures, 2 * len(pictures), CAMERA_SIZE)
    frames = [loop[i % len(loop)] for i in range(round(CAMERA_SECONDS * RATE))]
    predictor = EmotionPredictor(settings=InferenceSettings(window_seconds=1.0, step_seconds=0.25))
    given: list[float] = []
    shown: list[float] = []

    class Page:
        @staticmethod
        def show(picture: np.ndarray) -> None:
            shown.append(time.perf_counter())

    def camera() -> Iterator[VideoFrame]:
        for number, picture in enumerate(frames):
            given.append(time.perf_counter())
            yield VideoFrame(number / RATE, picture, 1 / RATE)

    run_live(predictor, camera(), name="camera", page=Page())
    if len(shown) < len(frames):
        raise KeyboardInterrupt  # the live view treats Ctrl-C like the end of the camera
    waits = np.array(shown) - np.array(given[: len(shown)])
    yield Measure("camera, 640x480", len(shown) / (shown[-1] - given[0]), "pictures/s", 25, is_limit=False)
    yield Measure("camera: from picture to label, 95 of 100 below", 1000 * float(np.percentile(waits, 95)), "ms", 200)


def measure(
    folder: Path, source: Path, *, seconds: float, n_runs: int, peers: Mapping[str, Path], failed: list[str]
) -> Iterator[Measure]:
    """Measures all of it on a clip made from ``source``.

    Args:
        folder: for intermediate files.
        peers: each other package's Python, by the package's name.
        failed: receives the names of the packages that could not be measured.
    """
    clip = make_clip(folder, source, seconds)
    ours = 0.0
    for each in measure_clip(clip, folder, n_runs):
        ours = each.value if each.name == "whole program: time" else ours
        yield each
    for name, python in peers.items():
        try:
            yield from measure_peer(clip, folder, name, python, ours)
        except EmotionError as error:  # a failing package must not end our measurement
            Reporter().say(f"{name}: not measured, since {error}")
            failed.append(name)
    yield from measure_start(folder, max(3, n_runs))
    yield from measure_camera(source)
