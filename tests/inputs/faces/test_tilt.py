"""Faces that are neither upright nor lying are found at once, followed as one, and cut out upright."""

import cv2
import numpy as np
import pytest
from skimage import data

from emotion.config import RunConfig
from emotion.inputs.faces.crops import compute_crop_transform
from emotion.inputs.faces.detection import YuNetDetector
from emotion.inputs.frame_sampler import FrameSampler
from emotion.media.pictures import VideoFrame


def follow_tilted(degrees, n: int = 40) -> tuple[FrameSampler, list[float]]:
    """Follows the astronaut's face, tilted by ``degrees(seconds)``; returns by how much each crop of it is askew."""
    photograph, asked = data.astronaut(), []
    (upright,) = YuNetDetector().detect(photograph)
    sampler = FrameSampler(RunConfig(), detector=Counting(asked))
    askew = []
    for i in range(n):
        tilt = degrees(i / 25)
        turn = cv2.getRotationMatrix2D((224, 130), tilt, 1.0)
        turn[:, 2] += (100, 100)
        picture = cv2.warpAffine(photograph, turn, (640, 480), borderMode=cv2.BORDER_REPLICATE)
        truth = compute_crop_transform(upright.landmarks @ turn[:, :2].T + turn[:, 2], 64)
        sampler.add(VideoFrame(i / 25, picture, 1 / 25))
        for landmarks in sampler._landmarks.values():
            found = compute_crop_transform(landmarks, 64)
            angles = [np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])) for matrix in (truth, found)]
            askew.append(abs((angles[1] - angles[0] + 180) % 360 - 180))
    sampler.n_asked = len(asked)
    return sampler, askew


class Counting(YuNetDetector):
    """Notes each run of the network."""

    def __init__(self, asked: list[float]):
        super().__init__()
        self.asked = asked

    def _find(self, image, min_score):
        self.asked.append(image.shape[0])
        return super()._find(image, min_score)


@pytest.mark.parametrize("tilt", [-70, -45, -30, 30, 45, 60])
def test_a_tilted_face_is_found_at_once_as_one_and_cut_out_upright(tilt):
    sampler, askew = follow_tilted(lambda seconds: tilt)
    (track,) = sampler.tracks().values()
    assert track.times_seconds[0] == 0.0 and track.seconds_in_sight > 1.4
    assert np.median(askew) < 16  # without a turn, two thirds of the tilt


@pytest.mark.parametrize("speed", [40, -40, 60])
def test_a_head_that_tilts_slowly_stays_one_face_and_is_cut_out_upright(speed):
    sampler, askew = follow_tilted(lambda seconds: speed * seconds)
    assert len(sampler.tracks()) == 1
    assert np.mean(askew) < 14


def test_upright_faces_are_not_turned():
    sampler, _ = follow_tilted(lambda seconds: 0.0)
    assert sampler.n_asked < 25


def test_a_small_face_at_45_degrees_that_no_turn_by_a_quarter_shows_is_found():
    photograph = cv2.resize(data.astronaut(), (180, 180), interpolation=cv2.INTER_AREA)  # the face has 32 pixels
    for tilt in (45, -45):
        turn = cv2.getRotationMatrix2D((79, 46), tilt, 1.0)
        turn[:, 2] += (241, 194)
        picture = cv2.warpAffine(photograph, turn, (640, 480), borderMode=cv2.BORDER_REPLICATE)
        sampler = FrameSampler(RunConfig())
        sampler.add(VideoFrame(0.0, picture, 0.04))
        (track,) = sampler.tracks().values()
        x1, y1, x2, y2 = track.boxes[0]
        assert x1 < 320 < x2 and y1 < 240 < y2
