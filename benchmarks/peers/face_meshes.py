"""Has the package mediapipe find the 3D mesh of a face in each picture, for ``benchmarks.head_pose``.

    python face_meshes.py MESHES.npz PICTURES...

Each picture is cut to three heights of the face around it. The file holds ``pictures`` (objects, RGB), ``meshes``
``(n, 478, 3)`` with x, y and depth in pixels, and ``edges`` ``(n_edges, 2)`` of the mesh.
"""

import sys

import cv2
import numpy as np
from mediapipe.python.solutions.face_mesh import FaceMesh
from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

LARGEST = 480  # pixels of a picture's longer side

finder = FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1, min_detection_confidence=0.3)
pictures, meshes = [], []
for path in sys.argv[2:]:
    picture = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
    found = finder.process(picture).multi_face_landmarks
    if not found:
        continue
    height, width = picture.shape[:2]
    mesh = np.array([(point.x * width, point.y * height, point.z * width) for point in found[0].landmark])
    reach = 1.5 * np.ptp(mesh[:, 1])
    middle = (mesh.min(axis=0) + mesh.max(axis=0))[:2] / 2
    left, top = np.maximum(middle - reach, 0).astype(int)
    right, bottom = np.minimum(middle + reach, (width, height)).astype(int)
    part = picture[top:bottom, left:right]
    scale = min(1.0, LARGEST / max(part.shape))
    pictures.append(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    meshes.append((mesh - (left, top, 0)) * scale)
held = np.empty(len(pictures), object)
held[:] = pictures
np.savez_compressed(sys.argv[1], pictures=held, meshes=np.array(meshes), edges=np.array(sorted(FACEMESH_TESSELATION)))
print(f"{len(pictures)} of {len(sys.argv) - 2} pictures show a face")
