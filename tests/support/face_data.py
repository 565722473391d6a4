"""Made files of labelled faces."""

import cv2
import numpy as np

from emotion.datasets.synthetic.faces import draw_face
from emotion.labels import FER2013_EMOTIONS, FERPLUS_VOTES


def write_ferplus(path, n):
    names = [FER2013_EMOTIONS[i % 7] for i in range(n)]
    faces = [draw_face(name, speaker_seed=i % 24 + 1, size=96) for i, name in enumerate(names)]
    images = np.stack([cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (48, 48)) for face in faces])
    votes = np.zeros((n, 10), np.uint8)
    votes[np.arange(n), [FERPLUS_VOTES.index(name) for name in names]] = 8
    votes[:, 8] = 2  # two raters who did not know
    votes[0] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 10]  # not a face
    np.savez(path, images=images, votes=votes, fer2013_label=np.arange(n, dtype=np.int8) % 7)
