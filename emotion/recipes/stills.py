"""Labelled face pictures for the video branch: FER+ (Barsoum et al. 2016) and muxspace, aligned as inference aligns.

Both sets are cut out by the same detector and the same crop as the frames of a video, so that what the network learns
from and what it later sees are framed alike.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from emotion.errors import DatasetError
from emotion.faces.crops import crop_face
from emotion.faces.detection import YuNetDetector
from emotion.labels import FER2013_EMOTIONS, FERPLUS_VOTES

logger = logging.getLogger(__name__)

# YuNet finds 98 % of FER2013's 48-pixel faces at this size, and misses more of them at smaller ones.
DETECTION_SIDE = 192


@dataclass(frozen=True)
class Stills:
    """Aligned grey faces with a target distribution each.

    Attributes:
        images: ``(n, size, size)`` uint8.
        targets: ``(n, n_classes)`` float32, rows sum to 1.
        majority: ``(n,)`` the class that more than half of the raters chose, -1 where there is none.
    """

    images: np.ndarray
    targets: np.ndarray
    majority: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def align_stills(images, size: int, report: Callable[[int], None] | None = None) -> np.ndarray:
    """Aligns pictures that show one face each; a picture in which no face is found is scaled as it is.

    Args:
        images: sequence of grey or RGB uint8 pictures.
        size: side of the result in pixels.
        report: called with the number of pictures done.

    Returns:
        ``(n, size, size)`` uint8, grey.
    """
    detector = YuNetDetector()
    aligned = np.empty((len(images), size, size), np.uint8)
    n_missed = 0
    for i, image in enumerate(images):
        scale = max(1.0, DETECTION_SIDE / max(image.shape[:2]))
        large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        rgb = large if large.ndim == 3 else cv2.cvtColor(large, cv2.COLOR_GRAY2RGB)
        grey = large if large.ndim == 2 else cv2.cvtColor(large, cv2.COLOR_RGB2GRAY)
        faces = detector.detect(rgb)
        if faces:
            aligned[i] = crop_face(grey, faces[0].landmarks, size)
        else:
            n_missed += 1
            aligned[i] = cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)
        if report and (i + 1) % 500 == 0:
            report(i + 1)
    logger.info("No face found in %d of %d pictures; they are used whole.", n_missed, len(images))
    return aligned


def load_ferplus(path: Path, class_names: tuple[str, ...], *, fer2013_share: float, size: int) -> Stills:
    """Reads FER2013 faces with FER+ votes from an ``.npz`` with ``images``, ``votes`` and ``fer2013_label``.

    A face's target is the ten raters' distribution over the classes, blended with FER2013's own label. Faces that
    most raters gave to no class of ours (contempt, unknown, not a face) are left out.

    Args:
        path: the file.
        class_names: the classes, in order.
        fer2013_share: weight of FER2013's label, 0 to 1, where it is known.
        size: side of the aligned faces in pixels.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such file. FER+ faces are expected there; see docs/models_shipped.md.")
    with np.load(path) as data:
        pictures, all_votes, fer_labels = data["images"], data["votes"].astype(np.float32), data["fer2013_label"]
    columns = [FERPLUS_VOTES.index(name) for name in class_names]
    votes = all_votes[:, columns]
    n_raters = all_votes.sum(axis=1)
    kept = votes.sum(axis=1) > n_raters / 2
    votes, n_raters, pictures, fer_labels = votes[kept], n_raters[kept], pictures[kept], fer_labels[kept]
    targets = votes / votes.sum(axis=1, keepdims=True)
    majority = np.where(votes.max(axis=1) > n_raters / 2, votes.argmax(axis=1), -1)
    from_fer2013 = np.array([class_names.index(name) for name in FER2013_EMOTIONS])
    known = np.flatnonzero(fer_labels >= 0)
    own = np.zeros_like(targets)
    own[known, from_fer2013[fer_labels[known]]] = 1
    targets[known] = (1 - fer2013_share) * targets[known] + fer2013_share * own[known]
    return Stills(align_stills(pictures, size), targets.astype(np.float32), majority)


def load_folders(root: Path, class_names: tuple[str, ...], *, smoothing: float, size: int) -> Stills:
    """Reads pictures from one folder per emotion, ``root/<emotion>/*.jpg``.

    Args:
        root: the folder of folders.
        class_names: the classes, in order.
        smoothing: share of each target spread evenly over all classes, for labels that are often wrong.
        size: side of the aligned faces in pixels.
    """
    if not root.is_dir():
        raise DatasetError(
            f"{root}: no such folder. Pictures by emotion are expected there; see docs/models_shipped.md."
        )
    pictures, classes = [], []
    for index, name in enumerate(class_names):
        for path in sorted((root / name).glob("*.jpg")):
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                logger.warning("%s: not a readable picture; left out.", path)
                continue
            pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            classes.append(index)
    n_classes = len(class_names)
    targets = np.full((len(classes), n_classes), smoothing / n_classes, np.float32)
    targets[np.arange(len(classes)), classes] += 1 - smoothing
    return Stills(align_stills(pictures, size), targets, np.array(classes))


def join_stills(*parts: Stills) -> Stills:
    """Puts several sets one behind the other."""
    return Stills(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.majority for part in parts]),
    )


def save_stills(stills: Stills, path: Path) -> None:
    """Keeps aligned faces in a file, written under a temporary name first."""
    temporary = path.with_name(f"partial-{path.name}")
    np.savez(temporary, images=stills.images, targets=stills.targets, majority=stills.majority)
    temporary.replace(path)


def read_stills(path: Path) -> Stills:
    """Reads what ``save_stills`` wrote."""
    with np.load(path) as data:
        return Stills(data["images"], data["targets"], data["majority"])
