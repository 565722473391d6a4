"""How well a drawn box sits on its face: its overlap with what the detector finds in every picture.

    python -m benchmarks.followed_faces CLIPS...

Clips in which the sample's face moves fast are made and measured, too.
"""

import argparse
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from emotion.config import RunConfig
from emotion.inputs.faces.detection import SURE_SCORE, YuNetDetector, clip_box, find_overlap
from emotion.inputs.frame_sampler import FrameSampler
from emotion.media.pictures import VideoFrame
from emotion.media.reading import iterate_media
from emotion.outputs.score_tables import format_table
from emotion.places import sample_clip

RATE, SECONDS = 30, 6
SOUND_RATE = 16_000
WIDTH, HEIGHT = 1280, 720
# Where the face is at a time in seconds: pixels to the right of and below the picture's middle, and its size.
Motion = Callable[[float], tuple[float, float, float]]
MOTIONS: dict[str, Motion] = {
    "sways": lambda t: (200 * math.sin(math.pi * t), 0, 1.0),
    "shakes": lambda t: (60 * math.sin(4 * math.pi * t), 20 * math.sin(6 * math.pi * t), 1.0),
    "dashes": lambda t: ((t * 600) % 880 - 440, 0, 1.0),
    "jumps": lambda t: (0, 140 - abs(math.sin(2 * math.pi * t)) * 300, 1.0),
    "comes and goes": lambda t: (0, 0, 1.2 + 0.7 * math.sin(1.4 * math.pi * t)),
    "starts and stops": lambda t: ((250 * (int(1.3 * t) + min(1, (1.3 * t) % 1 / 0.15))) % 700 - 340, 0, 1.0),
}
# Faces that come into the picture fast, at another moment between two looks each time, and again and again.
ENTRIES = {"from the left": (-1, 0), "from the right": (1, 0), "from below": (0, 1), "from above": (0, -1)}
MOTIONS |= {
    f"enters {name}": lambda t, across=across, down=down: (
        across * max(0, 900 - 1370 * (t % 1.53)),
        down * max(0, 620 - 1130 * (t % 1.53)),
        1.0,
    )
    for name, (across, down) in ENTRIES.items()
}
MOTIONS["flies through"] = lambda t: (1800 * (t % 1.1) - 990, 0, 1.0)
LOW = 0.6


def make_pictures(motion: Motion) -> Iterator[VideoFrame]:
    """Yields pictures in which the sample's face moves before a wall."""
    picture = next(read_pictures(sample_clip())).image
    (face,) = YuNetDetector().detect(picture)
    left, top, right, bottom = face.box
    room = (right - left) // 2
    head = picture[max(0, top - room) : bottom + room, max(0, left - room) : right + room]
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.integers(60, 190, (18, 32, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for number in range(RATE * SECONDS):
        across, down, size = motion(number / RATE)
        size *= HEIGHT / 3 / head.shape[0]
        shift = (WIDTH / 2 + across - size * head.shape[1] / 2, HEIGHT / 2 + down - size * head.shape[0] / 2)
        matrix = np.array([[size, 0, shift[0]], [0, size, shift[1]]])
        shown = wall.copy()
        cv2.warpAffine(head, matrix, (WIDTH, HEIGHT), shown, borderMode=cv2.BORDER_TRANSPARENT)
        yield VideoFrame(number / RATE, shown, 1 / RATE)


def read_pictures(path: str | Path) -> Iterator[VideoFrame]:
    """Yields a clip's pictures."""
    items = iterate_media(path, sample_rate=SOUND_RATE, with_audio=False)
    return (item for item in items if isinstance(item, VideoFrame))


def measure_overlaps(frames: Iterable[VideoFrame]) -> list[float]:
    """Returns, for each face that is certainly one in any picture, the overlap with the best box drawn then."""
    sampler, detector, found, width, height = FrameSampler(RunConfig()), YuNetDetector(), [], 0, 0
    for frame in frames:
        sampler.add(frame)
        width, height = frame.width, frame.height
        found += [(frame.time_seconds, face.box) for face in detector.detect(frame.image) if face.score >= SURE_SCORE]
    tracks = sampler.tracks().values()
    overlaps = []
    for seconds, box in found:
        drawn = [clip_box(*each, width, height) for track in tracks if (each := track.box_at(seconds)) is not None]
        overlaps.append(max((find_overlap(box, each) for each in drawn), default=0.0))
    return overlaps


def main() -> None:
    """Prints the overlaps of each clip and of all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.followed_faces", description=__doc__.split("\n")[0])
    parser.add_argument("clips", nargs="*", metavar="CLIP")
    clips = parser.parse_args().clips
    sources = [(f"made: {name}", make_pictures(motion)) for name, motion in MOTIONS.items()]
    sources += [(Path(clip).name, read_pictures(clip)) for clip in clips]
    rows, everything = [], []
    for name, frames in sources:
        overlaps = measure_overlaps(frames)
        everything += overlaps
        rows.append((name, overlaps))
    rows.append(("all", everything))
    lines = [
        [name, str(len(each)), f"{np.mean(each):.3f}", f"{min(each):.2f}", str(sum(o < LOW for o in each))]
        for name, each in rows
        if each
    ]
    print(format_table(["clip", "faces", "mean", "least", f"below {LOW}"], lines))


if __name__ == "__main__":
    main()
