"""Labelled photographs of faces: read, aligned as inference aligns faces, and kept in the work folder."""

import logging
import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np

from emotion.errors import DatasetError
from emotion.files import written_whole
from emotion.inputs.faces.crops import crop_face
from emotion.inputs.faces.detection import YuNetDetector
from emotion.labels import FER2013_EMOTIONS, FERPLUS_VOTES

logger = logging.getLogger(__name__)

# Small pictures are enlarged to this side before faces are looked for: YuNet finds 98 % of FER2013's 48-pixel faces at
# this size, and misses more of them at smaller ones.
DETECTION_SIDE = 192

# Who labelled a face. They disagree in what they call neutral, so a network learns an answer for each of them.
LABEL_SETS = ("ferplus", "fer2013", "muxspace")
HELP = "see docs/models_shipped.md"


@dataclass(frozen=True)
class Stills:
    """Aligned grey faces and their labels.

    Attributes:
        images: ``(n, size, size)`` uint8.
        targets: ``(n, n_label_sets, n_classes)`` float32; rows sum to 1, or to 0 where a set has no label for a face.
        majority: ``(n,)`` the class that more than half of FER+'s raters chose, -1 where there is none.
        features, answers: ``(n, n_features)`` and ``(n, n_classes)`` what the teacher sees, and its probabilities.
    """

    images: np.ndarray
    targets: np.ndarray
    majority: np.ndarray
    features: np.ndarray
    answers: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def prior(self) -> np.ndarray:
        """Returns ``(n_label_sets, n_classes)``: how common each class is in each set of labels."""
        sums = self.targets.sum(axis=0, dtype=np.float64)
        return sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-9)


def join_stills(*parts: Stills) -> Stills:
    """Concatenates several sets."""
    names = ("images", "targets", "majority")
    return Stills(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def save_stills(stills: Stills, path: Path) -> None:
    with written_whole(path) as partial:
        np.savez(partial, images=stills.images, targets=stills.targets, majority=stills.majority)


def read_stills(path: Path) -> Stills:
    """Reads what ``save_stills`` wrote."""
    with np.load(path) as data:
        return Stills(data["images"], data["targets"], data["majority"])


def align_stills(images, size: int, crop: str = "face") -> np.ndarray:
    """Aligns grey or RGB pictures of one face each; where no face is found, the whole picture is scaled.

    Args:
        crop: as ``video.crop`` of a model that sees faces.

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
            aligned[i] = crop_face(grey, faces[0].landmarks, size, crop)
        else:
            n_missed += 1
            aligned[i] = cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)
    logger.info("No face found in %d of %d pictures; they are used whole.", n_missed, len(images))
    return aligned


# ---- FER+: one file of small pictures ----


def load_ferplus(path: Path, class_names: tuple[str, ...], *, size: int, crop: str = "face") -> Stills:
    """Reads FER2013 faces with FER+ votes from an ``.npz`` with ``images``, ``votes`` and ``fer2013_label``.

    The FER+ target is the distribution of ten raters over the classes (Barsoum et al. 2016), the FER2013 target the
    older and noisier label. Left out are faces that most raters gave to none of our classes (contempt, unknown, not a
    face).

    Raises:
        DatasetError: if the file is missing or damaged.
    """
    pictures, all_votes, fer_labels = read_ferplus(path)
    all_votes = all_votes.astype(np.float32)
    votes = all_votes[:, [FERPLUS_VOTES.index(name) for name in class_names]]
    n_raters = all_votes.sum(axis=1)
    kept = votes.sum(axis=1) > n_raters / 2
    votes, n_raters, pictures, fer_labels = votes[kept], n_raters[kept], pictures[kept], fer_labels[kept]
    targets = np.zeros((len(votes), len(LABEL_SETS), len(class_names)), np.float32)
    targets[:, LABEL_SETS.index("ferplus")] = votes / votes.sum(axis=1, keepdims=True)
    from_fer2013 = np.array([class_names.index(name) for name in FER2013_EMOTIONS])
    known = np.flatnonzero(fer_labels >= 0)
    targets[known, LABEL_SETS.index("fer2013"), from_fer2013[fer_labels[known]]] = 1
    majority = np.where(votes.max(axis=1) > n_raters / 2, votes.argmax(axis=1), -1)
    return Stills(align_stills(pictures, size, crop), targets, majority)


def read_ferplus(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns pictures ``(n, height, width)`` uint8, votes ``(n, 10)`` and FER2013's labels ``(n,)``, checked.

    Raises:
        DatasetError: if the file is missing or damaged.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such file. FER+ faces are expected there; {HELP}.")
    try:
        with np.load(path) as data:
            arrays = data["images"], data["votes"], data["fer2013_label"]
        _check_ferplus(*arrays)
    except (KeyError, ValueError, TypeError, OSError, EOFError, BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path}: not a file of FER+ faces ({error}); {HELP}.") from error
    return arrays


def _check_ferplus(pictures: np.ndarray, votes: np.ndarray, fer_labels: np.ndarray) -> None:
    n = len(pictures)
    if pictures.ndim != 3 or pictures.dtype != np.uint8:
        raise ValueError(f"images must be (n, height, width) uint8, are {pictures.shape} {pictures.dtype}")
    if votes.shape != (n, len(FERPLUS_VOTES)):
        raise ValueError(f"votes must be ({n}, {len(FERPLUS_VOTES)}), are {votes.shape}")
    if fer_labels.shape != (n,) or not np.isin(fer_labels, np.arange(-1, len(FER2013_EMOTIONS))).all():
        raise ValueError(f"fer2013_label must be ({n},) of -1 to {len(FER2013_EMOTIONS) - 1}")


# ---- muxspace: a folder of pictures for each emotion ----


def load_folders(root: Path, class_names: tuple[str, ...], *, size: int, crop: str = "face") -> Stills:
    """Reads the pictures ``root/<emotion>/*.jpg``.

    Raises:
        DatasetError: if an emotion has no pictures, or one cannot be read.
    """
    pictures, classes = [], []
    for name, paths in find_pictures(root, class_names).items():
        for path in paths:
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                raise DatasetError(f"{path}: not a readable picture. Fetch it anew or delete it.")
            pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            classes.append(class_names.index(name))
    targets = np.zeros((len(classes), len(LABEL_SETS), len(class_names)), np.float32)
    targets[np.arange(len(classes)), LABEL_SETS.index("muxspace"), classes] = 1
    return Stills(align_stills(pictures, size, crop), targets, np.full(len(classes), -1))


def find_pictures(root: Path, class_names: tuple[str, ...]) -> dict[str, list[Path]]:
    """Returns the pictures of each class, sorted.

    Raises:
        DatasetError: if a class has none.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder. Pictures by emotion are expected there; {HELP}.")
    paths = {name: sorted((root / name).glob("*.[jJ][pP][gG]")) for name in class_names}
    empty = [name for name in class_names if not paths[name]]
    if empty:
        raise DatasetError(f"{root}: no .jpg pictures in folders named {', '.join(empty)}; {HELP}.")
    return paths
