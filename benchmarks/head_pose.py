"""How far found head poses are off: real faces are turned by known angles, as 3D meshes, and found again.

    PEER/bin/python benchmarks/peers/face_meshes.py MESHES.npz PICTURES...
    python -m benchmarks.head_pose MESHES.npz

``PEER`` has ``benchmarks/peers/requirements-mediapipe.txt``. A face's own pose is that in which a standard face fits
its mesh best. The model in ``emotion/inputs/faces/pose.py`` is fitted to every second picture (``--fit``); the others
are scored. Besides, the pictures themselves are turned in their plane.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from emotion.inputs.faces.detection import Face, YuNetDetector
from emotion.inputs.faces.frugal import FrugalDetector
from emotion.inputs.faces.pose import MODEL, find_pose, to_pose
from emotion.outputs.score_tables import format_table
from emotion.results import Pose

# Points of MediaPipe's standard face that move little with its expression: x to the viewer's right, y up, z towards the
# viewer, in centimetres. By their number in a mesh.
STANDARD = {
    6: (0.0, 2.473, 5.789), 8: (0.0, 4.019, 5.285), 9: (0.0, 4.886, 5.385), 10: (0.0, 8.262, 4.482),
    33: (-4.446, 2.664, 3.173), 133: (-1.856, 2.585, 3.758), 263: (4.446, 2.664, 3.173), 362: (1.856, 2.585, 3.758),
    127: (-7.743, 2.365, -2.005), 356: (7.743, 2.365, -2.005), 168: (0.0, 3.271, 5.236), 195: (0.0, 1.059, 6.775),
    1: (0.0, -1.127, 7.476), 4: (0.0, -0.463, 7.587),
}  # fmt: skip
TEMPLES, LANDMARKS = [127, 356], [33, 263, 1, 61, 291]
FOCAL_SIDES = 2.0  # of the camera that takes the turned faces
TURNS = (
    [Pose(0, 0, 0)] + [Pose(yaw, 0, 0) for yaw in (-60, -45, -30, -15, 15, 30, 45, 60)]
    + [Pose(0, pitch, 0) for pitch in (-30, -20, -10, 10, 20, 30)] + [Pose(0, 0, roll) for roll in (-40, -20, 20, 40)]
)  # fmt: skip
N_MIXED, MIXED = 3, (40, 20, 25)  # turns about all axes, each up to so many degrees
IN_PLANE = (-60, -45, -30, -20, -15, -10, -5, 5, 10, 15, 20, 30, 45, 60)
MAX_SCORED = (60, 35, 60)  # degrees of yaw, pitch and roll, beyond which the mesh is no face any more


@dataclass(frozen=True)
class View:
    """A face as it was found; ``rotation`` ``(3, 3)`` is the true one."""

    number: int
    turn: Pose
    rotation: np.ndarray
    face: Face
    size: tuple[int, int]

    def errors(self) -> np.ndarray | None:
        """Returns by how many degrees yaw, pitch and roll are off; None if no pose is found."""
        found = find_pose(self.face.landmarks, *self.size)
        return None if found is None else _wrap(np.subtract(found, to_pose(self.rotation)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("--fit", action="store_true", help="print the model that fits every second picture")
    args = parser.parse_args()
    with np.load(args.meshes, allow_pickle=True) as held:
        pictures, meshes, edges = held["pictures"], held["meshes"], held["edges"]
    triangles = find_triangles(edges, meshes)
    views = list(find_views(pictures, meshes, triangles))
    if args.fit:
        print(fit_model([view for view in views if view.number % 2 == 0]).round(3).tolist())
    scored = [view for view in views if view.number % 2 == 1]
    rows = [score("turned", scored), score("as they are", [view for view in scored if view.turn == TURNS[0]])]
    print(format_table(["faces", "views", "yaw", "pitch", "roll", "always 0"], rows))
    errors, n_views = measure_in_plane(pictures[1::2], meshes[1::2])
    print(f"roll of {n_views} pictures turned in their plane: {errors:.1f} degrees")


def find_triangles(edges: np.ndarray, meshes: np.ndarray) -> np.ndarray:
    """Returns the triangles ``(n, 3)`` of a mesh with these edges, all of one sense as seen from the front."""
    near: dict[int, set[int]] = {}
    for a, b in edges.tolist():
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    found = np.array(sorted({tuple(sorted((a, b, c))) for a in near for b in near[a] for c in near[a] & near[b]}))
    mean = np.mean([mesh / np.ptp(mesh[:, 1]) for mesh in meshes], axis=0)
    is_back = _areas(mean, found) < 0
    found[is_back] = found[is_back][:, ::-1]
    return found


def find_views(pictures: np.ndarray, meshes: np.ndarray, triangles: np.ndarray) -> Iterator[View]:
    detector, rng = YuNetDetector(), np.random.default_rng(0)
    for number, (picture, mesh) in enumerate(zip(pictures, meshes, strict=True)):
        own = find_own_rotation(mesh)
        mixed = [Pose(*(rng.uniform(-1, 1, 3) * MIXED)) for _ in range(N_MIXED)]
        for turn in TURNS + mixed:
            rotation = to_rotation(turn)
            view, points = render(picture, mesh, triangles, rotation)
            face = find_face(detector, view, points[LANDMARKS].mean(axis=0))
            true = rotation @ own
            if face is not None and (np.abs(to_pose(true)) < MAX_SCORED).all():
                yield View(number, turn, true, face, view.shape[1::-1])


def find_face(detector: YuNetDetector, picture: np.ndarray, place: np.ndarray) -> Face | None:
    """Returns the face at a place as inference finds it in a first picture."""
    found = FrugalDetector(detector).detect(picture, 0.0)
    x, y = place
    here = [face for face in found if face.box[0] < x < face.box[2] and face.box[1] < y < face.box[3]]
    return max(here, key=lambda face: face.score, default=None)


def find_own_rotation(mesh: np.ndarray) -> np.ndarray:
    """Returns the rotation ``(3, 3)`` of the standard face that fits a mesh (Kabsch 1976)."""
    points = np.array(list(STANDARD.values())) * (1, -1, -1)
    there = mesh[list(STANDARD)]
    u, _, vt = np.linalg.svd((there - there.mean(axis=0)).T @ (points - points.mean(axis=0)))
    return u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt


def render(
    picture: np.ndarray, mesh: np.ndarray, triangles: np.ndarray, rotation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turns a face before its blurred picture; returns that and the mesh's points ``(478, 2)`` in it."""
    height, width = picture.shape[:2]
    middle, focal = np.array([width, height]) / 2, FOCAL_SIDES * max(width, height)
    depth = focal + mesh[:, 2:]
    points = np.column_stack([(mesh[:, :2] - middle) * depth / focal, depth])
    pivot = points[TEMPLES].mean(axis=0)
    points = (points - pivot) @ rotation.T + pivot
    points = np.column_stack([points[:, :2] / points[:, 2:] * focal + middle, points[:, 2]])
    front = triangles[_areas(points, triangles) > 0]
    front = front[np.argsort(-points[front][:, :, 2].mean(axis=1))]  # the nearest are painted last
    corners = points[front][:, :, :2]
    grown = 1.08 * (corners - corners.mean(axis=1, keepdims=True)) + corners.mean(axis=1, keepdims=True)
    owner = np.zeros((height, width), np.int32)
    for i, corner in enumerate(grown, start=1):
        cv2.fillConvexPoly(owner, np.round(corner * 16).astype(np.int32), i, shift=4)
    rows, columns = np.nonzero(owner)
    which = owner[rows, columns] - 1
    # Each pixel comes from the same place in its triangle.
    a, b, c = np.moveaxis(corners[which], 1, 0)
    to_b, to_c, here = b - a, c - a, np.column_stack([columns, rows]) - a
    whole = _cross(to_b, to_c)
    whole = np.where(np.abs(whole) < 1e-6, 1e-6, whole)
    u, v = _cross(here, to_c) / whole, _cross(to_b, here) / whole
    a, b, c = np.moveaxis(mesh[:, :2][front[which]], 1, 0)
    source = np.zeros((height, width, 2), np.float32)
    source[rows, columns] = a + u[:, None] * (b - a) + v[:, None] * (c - a)
    face = cv2.remap(picture, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    blurred = cv2.GaussianBlur(picture, (0, 0), max(height, width) / 16)
    mask = cv2.GaussianBlur((owner > 0).astype(np.float32), (0, 0), 1.2)[..., None]
    return (mask * face + (1 - mask) * blurred).astype(np.uint8), points[:, :2]


def to_rotation(pose: Pose) -> np.ndarray:
    """Returns the rotation ``(3, 3)`` of a pose, of which ``to_pose`` is the inverse."""
    yaw, pitch, roll = np.radians(pose)
    axes = np.array([(0, -yaw, 0), (-pitch, 0, 0), (0, 0, roll)], float)
    about_y, about_x, about_z = (cv2.Rodrigues(axis)[0] for axis in axes)
    return about_y @ about_x @ about_z


def score(name: str, views: list[View]) -> list[str]:
    """Returns a row of mean absolute errors in degrees, and those of an answer that is always 0."""
    errors = np.abs([found for view in views if (found := view.errors()) is not None]).mean(axis=0)
    always = np.abs([to_pose(view.rotation) for view in views]).mean(axis=0)
    zero = ", ".join(f"{angle:.1f}" for angle in always)
    return [name, str(len(views)), *(f"{error:.1f}" for error in errors), zero]


def measure_in_plane(pictures: np.ndarray, meshes: np.ndarray) -> tuple[float, int]:
    """Returns by how many degrees the roll is off, against that of the unturned picture, and of how many pictures."""
    detector, errors = YuNetDetector(), []
    for picture, mesh in zip(pictures, meshes, strict=True):
        place, size = mesh[LANDMARKS, :2].mean(axis=0), picture.shape[1::-1]
        rolls = {}
        for degrees in (0, *IN_PLANE):
            matrix = cv2.getRotationMatrix2D(place.tolist(), -degrees, 1.0)
            face = find_face(detector, cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE), place)
            pose = None if face is None else find_pose(face.landmarks, *size)
            if pose is not None:
                rolls[degrees] = pose.roll
        errors += [abs(_wrap(rolls[degrees] - rolls[0] - degrees)) for degrees in rolls if degrees and 0 in rolls]
    return float(np.mean(errors)), len(errors)


def fit_model(views: list[View], n_rounds: int = 30) -> np.ndarray:
    """Returns the symmetric 3D model ``(5, 3)`` whose turned points are nearest to the landmarks, seen from afar."""
    rotations = np.array([view.rotation for view in views])[:, :2]
    points = np.array([view.face.landmarks for view in views], float)
    points -= points.mean(axis=1, keepdims=True)
    model = MODEL - MODEL.mean(axis=0)
    for _ in range(n_rounds):
        seen = np.einsum("nij,kj->nki", rotations, model)
        scales = (seen * points).sum(axis=(1, 2)) / (seen * seen).sum(axis=(1, 2))
        normal = np.einsum("nji,njk->ik", rotations, rotations)
        model = np.linalg.solve(normal, np.einsum("nji,nkj->ik", rotations, points / scales[:, None, None])).T
        mirrored = (model * (-1, 1, 1))[[1, 0, 2, 4, 3]]
        model = (model + mirrored) / 2
        model = (model - model.mean(axis=0)) / (model[1, 0] - model[0, 0])
    return model


def _areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = np.moveaxis(points[:, :2][triangles], 1, 0)
    return _cross(b - a, c - a)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _wrap(degrees: np.ndarray) -> np.ndarray:
    return (degrees + 180) % 360 - 180


if __name__ == "__main__":
    main()
