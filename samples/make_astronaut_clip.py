"""Makes ``astronaut.mp4``: a camera move over a photograph of astronaut Eileen Collins, with a synthetic voice.

The photograph (NASA, public domain) comes with scikit-image, which is needed for this script alone:

    pip install scikit-image
    python samples/make_astronaut_clip.py
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import skimage.data

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from emotion.datasets.synthetic.clips import write_clip
from emotion.datasets.synthetic.voices import synthesize_voice

WIDTH, HEIGHT = 640, 480  # pixels
SAMPLE_RATE = 22050  # what lies above 11 kHz would not sound like a voice
SPEAKER_SEED = 2  # a woman's voice
# Camera: the point of the 512 x 512 photograph in the middle of the picture (the face is around x 224, y 115), and the
# magnification, at the start and at the end.
START_CENTRE, START_ZOOM = (256.0, 192.0), 1.25
END_CENTRE, END_ZOOM = (226.0, 150.0), 1.65


def compute_camera(share: float) -> np.ndarray:
    """Returns the 2 x 3 matrix from photograph to picture, for a share of the clip from 0 to 1."""
    eased = 0.5 - 0.5 * np.cos(np.pi * share)
    zoom = START_ZOOM * (END_ZOOM / START_ZOOM) ** eased
    x, y = (1 - eased) * np.array(START_CENTRE) + eased * np.array(END_CENTRE)
    return np.array([[zoom, 0, WIDTH / 2 - zoom * x], [0, zoom, HEIGHT / 2 - zoom * y]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("astronaut.mp4"), help="file to write")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of the clip (default: %(default)s)")
    parser.add_argument("--frame-rate", type=float, default=25.0, help="pictures a second (default: %(default)s)")
    arguments = parser.parse_args()

    photograph = skimage.data.astronaut()  # RGB, (512, 512, 3)
    n_frames = round(arguments.seconds * arguments.frame_rate)
    frames = [
        cv2.warpAffine(photograph, compute_camera(i / max(1, n_frames - 1)), (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        for i in range(n_frames)
    ]
    voice = synthesize_voice(
        "happy", speaker_seed=SPEAKER_SEED, duration_seconds=arguments.seconds, sample_rate=SAMPLE_RATE
    )
    write_clip(
        arguments.output,
        frames,
        arguments.frame_rate,
        waveform=voice,
        sample_rate=SAMPLE_RATE,
        crf=26,
        preset="slow",
    )
    print(f"Wrote {arguments.output} ({arguments.output.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
