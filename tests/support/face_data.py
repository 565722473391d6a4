"""Made files of labelled faces."""

from typing import ClassVar

import cv2
import keras
import numpy as np

from emotion.config import VideoConfig
from emotion.datasets.synthetic.faces import draw_face
from emotion.labels import FER2013_EMOTIONS, FERPLUS_VOTES
from emotion.models.mobilenet_v1 import build_affectnet_network
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
