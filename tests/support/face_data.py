"""Made files of labelled faces."""

import csv
import zipfile
from typing import ClassVar

import cv2
import keras
import numpy as np

from emotion.config import VideoConfig
from emotion.datasets.synthetic.faces import draw_face
from emotion.labels import FER2013_EMOTIONS, FERPLUS_VOTES
from emotion.models.mobilenet_v1 import build_affectnet_network
from emotion.training.recipes.stills import LANDMARKS
from emotion.training.recipes.teacher import Teacher


def write_ferplus(path, n):
    names = [FER2013_EMOTIONS[i % 7] for i in range(n)]
    faces = [draw_face(name, speaker_seed=i % 24 + 1, size=96) for i, name in enumerate(names)]
    images = np.stack([cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (48, 48)) for face in faces])
    votes = np.zeros((n, 10), np.uint8)
    votes[np.arange(n), [FERPLUS_VOTES.index(name) for name in names]] = 8
    votes[:, 8] = 2  # two raters who did not know
    votes[0] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 10]  # not a face
    np.savez(path, images=images, votes=votes, fer2013_label=np.arange(n, dtype=np.int8) % 7)


def write_unlabelled(root, licences=("MIT", "MIT", "MIT", "MIT", "repo MIT; film")):
    """Writes an archive of one person's face for each licence, and the index."""
    root.mkdir(exist_ok=True)
    face = draw_face("neutral", speaker_seed=1, size=160)
    rows = []
    with zipfile.ZipFile(root / "talk.zip", "w") as archive:
        for number, licence in enumerate(licences):
            _, encoded = cv2.imencode(".jpg", np.clip(face.astype(int) + 9 * number, 0, 255).astype(np.uint8))
            archive.writestr(f"talk/{number}.jpg", encoded.tobytes())
            places = {"l": (60, 64), "r": (100, 64), "n": (80, 88), "ml": (64, 105), "mr": (98, 105)}
            marks = {f"{name}{axis}": places[name]["xy".index(axis)] for name in LANDMARKS for axis in "xy"}
            rows.append({"file": f"talk/{number}.jpg", "person": "p1", "licence": licence, **marks})
    with (root / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


class MadeTeacher:
    """A teacher of the real kind, with few filters and random weights, that sees small faces."""

    FILTERS, N_FEATURES = [4, 8, 8], 8
    MODEL: ClassVar = {"mobilenet_filters": FILTERS, "still_units": 6}

    def __init__(self):
        self.video = VideoConfig(image_size=224, crop="box", fill="none")
        keras.utils.set_random_seed(1)
        self.network = build_affectnet_network(filters=self.FILTERS)
        self.arrays = {}
        for layer in self.network.layers:
            for name, array in zip(("weight", "bias"), layer.get_weights(), strict=False):
                order = {4: (2, 3, 0, 1) if "depthwise" in layer.name else (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
                self.arrays[f"{layer.name.removeprefix('mobilenet_')}.{name}"] = array.transpose(order[array.ndim])

    __call__, decision = Teacher.__call__, Teacher.decision
