"""How a head is turned is found from five landmarks, in the stated directions."""

import cv2
import numpy as np
import pytest
from small_models import small_config

from emotion.datasets.synthetic.faces import draw_face
from emotion.inputs.faces.detection import YuNetDetector
from emotion.inputs.faces.detectors import WholePicture
from emotion.inputs.faces.frugal import FrugalDetector
from emotion.inputs.faces.pose import FOCAL_SIDES, MODEL, find_pose, to_pose
from emotion.inputs.frame_sampler import FrameSampler
from emotion.media.pictures import VideoFrame
from emotion.results import Pose

SIZE = 640, 480
POSES = [Pose(0, 0, 0), Pose(30, 0, 0), Pose(-50, 10, 0), Pose(0, 25, 0), Pose(0, -20, 0), Pose(0, 0, 40),
         Pose(20, -15, -120), Pose(-35, 20, 170)]  # fmt: skip


def turn(pose):
    """Returns the rotation ``(3, 3)`` of a pose: rolled, then pitched, then turned, about the camera's axes."""
    yaw, pitch, roll = np.radians(pose)
    about = [(0, 0, roll), (-pitch, 0, 0), (0, -yaw, 0)]  # y points down, z away
    each = [cv2.Rodrigues(np.array(axis, float))[0] for axis in about]
    return each[2] @ each[1] @ each[0]


def project(pose, distance=8.0, place=(0.0, 0.0)):
    """Returns the landmarks ``(5, 2)`` of a head in a picture, so many eye distances away."""
    x, y, z = (turn(pose) @ MODEL.T) + np.array([[*place, distance]]).T
    focal = FOCAL_SIDES * max(SIZE)
    return np.column_stack([focal * x / z + SIZE[0] / 2, focal * y / z + SIZE[1] / 2])


@pytest.mark.parametrize("pose", POSES)
def test_a_turned_model_is_found_turned_wherever_it_is(pose):
    assert np.allclose(to_pose(turn(pose)), pose, atol=0.1)
    for place in ((0.0, 0.0), (2.0, -1.0)):
        assert np.allclose(find_pose(project(pose, place=place), *SIZE), pose, atol=0.2)


def test_the_signs_are_those_that_a_viewer_sees():
    nose, eyes = 2, slice(0, 2)
    right, up, clockwise = project((30, 0, 0)), project((0, 25, 0)), project((0, 0, 20))
    assert right[nose, 0] > right[eyes, 0].mean() and up[nose, 1] < project((0, 0, 0))[nose, 1]
    assert clockwise[1, 1] > clockwise[0, 1]  # the eye on the right is lower


def test_noise_of_a_pixel_moves_the_angles_of_a_large_face_by_a_few_degrees():
    rng = np.random.default_rng(1)
    found = np.array([find_pose(project((20, 5, 0)) + rng.normal(0, 1, (5, 2)), *SIZE) for _ in range(50)])
    assert np.abs(found - (20, 5, 0)).mean(axis=0).max() < 4


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.full((5, 2), 7.0)])
def test_landmarks_that_are_no_face_have_no_pose(points):
    assert find_pose(points, *SIZE) is None


def test_a_photograph_turned_clockwise_shows_a_head_rolled_clockwise():
    portrait = pytest.importorskip("skimage.data").astronaut()
    height, width = portrait.shape[:2]
    for degrees in (-45, 0, 45, 90):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
        (face,) = FrugalDetector(YuNetDetector()).detect(cv2.warpAffine(portrait, matrix, (width, height)), 0.0)
        assert abs(find_pose(face.landmarks, width, height).roll - degrees) < 12


def test_a_track_keeps_the_poses_of_its_face():
    face = draw_face("neutral", size=240, speaker_seed=1)
    sampler = FrameSampler(small_config())
    for i in range(4):
        sampler.add(VideoFrame(i / 5, np.roll(face, i, axis=1), 0.2))
    (track,) = sampler.tracks().values()
    assert len(track.poses) == len(track.times_seconds) and abs(track.median_pose.yaw) < 15
    guessed = FrameSampler(small_config(), detector=WholePicture())
    for i in range(4):
        guessed.add(VideoFrame(i / 5, face, 0.2))
    assert [track.poses for track in guessed.tracks().values()] == [None]
