"""Sets of labelled still faces: read, aligned as inference aligns faces, and kept beside the recipe's other results."""

import logging
import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np

from emotion.errors import DatasetError
from emotion.inputs.faces.crops import crop_face
from emotion.inputs.faces.detection import YuNetDetector
from emotion.labels import FER2013_EMOTIONS, FERPLUS_VOTES

logger = logging.getLogger(__name__)

# Small pictures are enlarged to this side before faces are looked for: YuNet finds 98 % of FER2013's 48-pixel faces at
# this size, and misses more of them at smaller ones.
DETECTION_SIDE = 192

# Who labelled a face. They disagree in what they call neutral, so a network learns an answer for each of them.
LABEL_SETS = ("ferplus", "fer2013", "muxspace")


@dataclass(frozen=True)
class Stills:
    """Aligned grey faces with what each set of labels says of them.

    Attributes:
        images: ``(n, size, size)`` uint8.
        targets: ``(n, n_label_sets, n_classes)`` float32; rows sum to 1, or to 0 where a set says nothing of a face.
        majority: ``(n,)`` the class that more than half of FER+'s raters chose, -1 where there is none.
    """

    images: np.ndarray
    targets: np.ndarray
    majority: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def prior(self) -> np.ndarray:
        """Returns ``(n_label_sets, n_classes)``: how common each class is in each set of labels."""
        sums = self.targets.sum(axis=0, dtype=np.float64)
        return sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-9)


def align_stills(images, size: int) -> np.ndarray:
    """Aligns pictures that show one face each; a picture in which no face is found is scaled as it is.

    Args:
        images: sequence of grey or RGB uint8 pictures.
        size: side of the result in pixels.

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
    logger.info("No face found in %d of %d pictures; they are used whole.", n_missed, len(images))
    return aligned


def load_ferplus(path: Path, class_names: tuple[str, ...], *, size: int) -> Stills:
    """Reads FER2013 faces with FER+ votes from an ``.npz`` with ``images``, ``votes`` and ``fer2013_label``.

    A face's FER+ target is the ten raters' distribution over the classes (Barsoum et al. 2016), its FER2013 target the
    first and noisier label. Faces that most raters gave to no class of ours (contempt, unknown, not a face) are left
    out.

    Args:
        path: the file.
        class_names: the classes, in order.
        size: side of the aligned faces in pixels.

    Raises:
        DatasetError: if there is no such file, it cannot be read, or it lacks one of the arrays.
    """
    pictures, all_votes, fer_labels = read_ferplus(path)
    all_votes = all_votes.astype(np.float32)
    columns = [FERPLUS_VOTES.index(name) for name in class_names]
    votes = all_votes[:, columns]
    n_raters = all_votes.sum(axis=1)
    kept = votes.sum(axis=1) > n_raters / 2
    votes, n_raters, pictures, fer_labels = votes[kept], n_raters[kept], pictures[kept], fer_labels[kept]
    targets = np.zeros((len(votes), len(LABEL_SETS), len(class_names)), np.float32)
    targets[:, LABEL_SETS.index("ferplus")] = votes / votes.sum(axis=1, keepdims=True)
    from_fer2013 = np.array([class_names.index(name) for name in FER2013_EMOTIONS])
    known = np.flatnonzero(fer_labels >= 0)
    targets[known, LABEL_SETS.index("fer2013"), from_fer2013[fer_labels[known]]] = 1
    majority = np.where(votes.max(axis=1) > n_raters / 2, votes.argmax(axis=1), -1)
    return Stills(align_stills(pictures, size), targets, majority)


def read_ferplus(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads pictures ``(n, height, width)`` uint8, votes ``(n, 10)`` and FER2013's labels ``(n,)``, and checks them.

    Raises:
        DatasetError: if there is no such file, it cannot be read, or it lacks one of the arrays.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such file. FER+ faces are expected there; see docs/models_shipped.md.")
    try:
        with np.load(path) as data:
            arrays = data["images"], data["votes"], data["fer2013_label"]
        _check_ferplus(*arrays)
    except (KeyError, ValueError, TypeError, OSError, EOFError, BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path}: not a file of FER+ faces ({error}); see docs/models_shipped.md.") from error
    return arrays


def _check_ferplus(pictures: np.ndarray, votes: np.ndarray, fer_labels: np.ndarray) -> None:
    n = len(pictures)
    if pictures.ndim != 3 or pictures.dtype != np.uint8:
        raise ValueError(f"images must be (n, height, width) uint8, are {pictures.shape} {pictures.dtype}")
    if votes.shape != (n, len(FERPLUS_VOTES)):
        raise ValueError(f"votes must be ({n}, {len(FERPLUS_VOTES)}), are {votes.shape}")
    if fer_labels.shape != (n,) or not np.isin(fer_labels, np.arange(-1, len(FER2013_EMOTIONS))).all():
        raise ValueError(f"fer2013_label must be ({n},) of -1 to {len(FER2013_EMOTIONS) - 1}")


def load_folders(root: Path, class_names: tuple[str, ...], *, size: int) -> Stills:
    """Reads muxspace's pictures from one folder per emotion, ``root/<emotion>/*.jpg``.

    Args:
        root: the folder of folders.
        class_names: the classes, in order.
        size: side of the aligned faces in pixels.

    Raises:
        DatasetError: if there is no such folder, one of a class lacks pictures, or a picture cannot be read.
    """
    paths = find_pictures(root, class_names)
    pictures, classes = [], []
    for index, name in enumerate(class_names):
        for path in paths[name]:
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                raise DatasetError(f"{path}: not a readable picture. Fetch it anew or delete it.")
            pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            classes.append(index)
    targets = np.zeros((len(classes), len(LABEL_SETS), len(class_names)), np.float32)
    targets[np.arange(len(classes)), LABEL_SETS.index("muxspace"), classes] = 1
    return Stills(align_stills(pictures, size), targets, np.full(len(classes), -1))


def find_pictures(root: Path, class_names: tuple[str, ...]) -> dict[str, list[Path]]:
    """Returns the pictures of each class, sorted.

    Raises:
        DatasetError: if there is no such folder, or one of a class lacks pictures.
    """
    if not root.is_dir():
        raise DatasetError(
            f"{root}: no such folder. Pictures by emotion are expected there; see docs/models_shipped.md."
        )
    paths = {name: sorted((root / name).glob("*.[jJ][pP][gG]")) for name in class_names}
    empty = [name for name in class_names if not paths[name]]
    if empty:
        raise DatasetError(f"{root}: no .jpg pictures in folders named {', '.join(empty)}; see docs/models_shipped.md.")
    return paths


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
