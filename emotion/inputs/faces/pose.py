"""Finds how a head is turned, by the five landmarks of its face: SQPnP (Terzakis & Lourakis 2020).

The landmarks are compared with a 3D model of them. Its depths are those that YuNet's landmarks follow when heads turn,
which is less than real noses do: it is fitted to them in 2,300 views of 109 heads with known poses
(``docs/lab_notebook.md``). The camera looks at the middle of the picture.
"""

import cv2
import numpy as np

from emotion.results import Pose

# x to the viewer's right, y down, z away from the viewer, of ``Face.landmarks``; a unit is the distance of the eyes.
MODEL = np.array(
    [[-0.5, -0.515, 0.107], [0.5, -0.515, 0.107], [0.0, 0.009, -0.276], [-0.407, 0.511, 0.031], [0.407, 0.511, 0.031]]
)
FOCAL_SIDES = 1.5  # the focal length, in longer sides of the picture, which then shows 37 degrees
MIN_SPREAD = 2.0  # pixels from the first to the last landmark, across or down
DECIMALS = 1  # of degrees, far below the error


def find_pose(landmarks: np.ndarray, width: int, height: int) -> Pose | None:
    """Returns how a head is turned; None if its landmarks fit no head.

    Args:
        landmarks: as of ``Face``.
        width, height: of the picture in pixels.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if not np.isfinite(points).all() or np.ptp(points, axis=0).min() < MIN_SPREAD:
        return None
    focal = FOCAL_SIDES * max(width, height)
    camera = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    try:
        is_found, turn, shift = cv2.solvePnP(MODEL, points, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    except cv2.error:
        return None
    if not is_found or not np.isfinite(turn).all() or shift[2, 0] <= 0:
        return None
    return to_pose(cv2.Rodrigues(turn)[0])


def to_pose(rotation: np.ndarray) -> Pose:
    """Returns the angles of a rotation ``(3, 3)`` of ``MODEL``: it is rolled first, then pitched, then turned."""
    x, y, z = -rotation[:, 2]  # where the nose points
    yaw, pitch = np.arctan2(x, -z), np.arcsin(np.clip(-y, -1, 1))
    roll = np.arctan2(rotation[1, 0], rotation[1, 1])
    return Pose(*(round(float(np.degrees(angle)), DECIMALS) for angle in (yaw, pitch, roll)))
