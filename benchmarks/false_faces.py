"""Counts faces found where there are none, and faces not found where there is one.

pip install -r requirements-dev.txt
python benchmarks/false_faces.py --faces "faces/*.png"

Faceless pictures are the photographs that scikit-image and scikit-learn bring, and cuts out of them at random, some of
them turned; you may name more. Each picture is judged as a still. Pictures of faces show one each.
"""

import argparse
import glob
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from emotion.config import RunConfig
from emotion.inputs.frame_sampler import FrameSampler
from emotion.media.pictures import VideoFrame

FACELESS = (
    "clock_motion.png", "coffee.png", "chessboard_RGB.png", "color.png", "gravel.png", "brick.png",
    "motorcycle_left.png", "motorcycle_right.png", "text.png", "page.png", "moon.png", "grass.png",
    "ihc.png", "cell.png", "horse.png", "microaneurysms.png", "chelsea.png", "coins.png",
    "hubble_deep_field.jpg", "retina.jpg", "rocket.jpg",
)  # fmt: skip
CUTS, SEED = 20, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faceless", default="", help="a pattern of further pictures without faces")
    parser.add_argument("--faces", default="", help="a pattern of pictures with one face each")
    parser.add_argument("--cuts", type=int, default=CUTS, help="cuts out of each picture (default: %(default)s)")
    args = parser.parse_args()
    pictures = list(cut_pictures([*find_photographs(), *sorted(glob.glob(args.faceless))], args.cuts))
    counts = [count_faces(picture) for picture in pictures]
    print(f"faceless pictures: {len(pictures)}; with a face found: {sum(n > 0 for n, _ in counts)}")
    if args.faces:
        counts = [count_faces(read_picture(path)) for path in sorted(glob.glob(args.faces))]
        found, lying = sum(n > 0 for n, _ in counts), sum(n for _, n in counts)
        print(f"pictures of a face: {len(counts)}; found: {found}; called lying: {lying}")


def find_photographs() -> list[str]:
    """Returns the paths of the photographs without faces that are installed."""
    import skimage
    import sklearn

    root = Path(skimage.__file__).parent / "data"
    images = Path(sklearn.__file__).parent / "datasets" / "images"
    return [str(path) for path in (*(root / name for name in FACELESS), *sorted(images.glob("*.jpg"))) if path.exists()]


def cut_pictures(paths: list[str], n_cuts: int) -> Iterator[np.ndarray]:
    """Yields each picture and random cuts of it: a fifth to nine tenths of its sides, 160 to 900 pixels long."""
    rng = np.random.default_rng(SEED)
    for path in paths:
        image = read_picture(path)
        yield image
        height, width = image.shape[:2]
        for _ in range(n_cuts):
            share = rng.uniform(0.2, 0.9)
            rows, columns = max(24, int(height * share)), max(24, int(width * share))
            top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
            cut = image[top : top + rows, left : left + columns][:, :: 1 if rng.random() < 0.5 else -1]
            cut = np.ascontiguousarray(np.rot90(cut, rng.integers(0, 4) if rng.random() < 0.4 else 0))
            scale = rng.uniform(160, 900) / max(cut.shape[:2])
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            yield cv2.resize(cut, None, fx=scale, fy=scale, interpolation=how)


def count_faces(image: np.ndarray) -> tuple[int, int]:
    """Returns how many faces of a still would be judged, and how many of these are taken to lie."""
    sampler = FrameSampler(RunConfig())
    sampler.add(VideoFrame(0.0, image, 0.04))
    tracks = sampler.tracks()
    return len(tracks), sum(getattr(sampler, "quarters", lambda _: 0)(track) != 0 for track in tracks)


def read_picture(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


if __name__ == "__main__":
    sys.exit(main())
