"""Photographs of faces: read, aligned as inference aligns faces, shown to a teacher, and kept in the work folder.

FER+ and muxspace have labels. Faces without any, of people of whom there are many pictures, teach what a resting face
looks like.
"""

import csv
import logging
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np

from emotion.config import VideoConfig
from emotion.errors import DatasetError
from emotion.files import written_whole
from emotion.inputs.faces.crops import crop_face
from emotion.inputs.faces.detection import YuNetDetector
from emotion.labels import FER2013_EMOTIONS, FERPLUS_VOTES
from emotion.training.recipes.teacher import Teacher

logger = logging.getLogger(__name__)

# Small pictures are enlarged to this side before faces are looked for: YuNet finds 98 % of FER2013's 48-pixel faces at
# this size, and misses more of them at smaller ones.
DETECTION_SIDE = 192

# Who labelled a face. They disagree in what they call neutral, so a network learns an answer for each of them.
LABEL_SETS = ("ferplus", "fer2013", "muxspace")
N_AT_ONCE = 16  # pictures that the teacher sees together
# Of the faces without labels: what an unlabelled face shows on average, and the fewest pictures of a person whose own
# average is divided out.
NATURAL_NEUTRAL, FEWEST_OF_PERSON = 0.5, 4
UNCLEAR = ("film", "TV", "HDTF", "no licence")  # words in a row's licence on which shipped weights should not rest
LANDMARKS = ("l", "r", "n", "ml", "mr")
HELP = "see docs/models_shipped.md"


@dataclass(frozen=True)
class Stills:
    """Aligned grey faces, their labels, and what the teacher sees in them.

    Attributes:
        images: ``(n, size, size)`` uint8; ``(n, 0, 0)`` where nobody learns from the pictures themselves.
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

    def only(self, chosen: np.ndarray) -> "Stills":
        """Returns some of them, by indices or ``(n,)`` bool."""
        return Stills(*(getattr(self, name)[chosen] for name in NAMES))

    def prior(self) -> np.ndarray:
        """Returns ``(n_label_sets, n_classes)``: how common each class is in each set of labels."""
        sums = self.targets.sum(axis=0, dtype=np.float64)
        return sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-9)


NAMES = tuple(Stills.__annotations__)


def join_stills(*parts: Stills) -> Stills:
    """Concatenates several sets."""
    return Stills(*(np.concatenate([getattr(part, name) for part in parts]) for name in NAMES))


def save_stills(stills: Stills, path: Path) -> None:
    with written_whole(path) as partial:
        np.savez(partial, **{name: getattr(stills, name) for name in NAMES})


def read_stills(path: Path) -> Stills:
    """Reads what ``save_stills`` wrote."""
    with np.load(path) as data:
        return Stills(*(data[name] for name in NAMES))


@dataclass(frozen=True)
class Look:
    """How faces are looked at.

    Attributes:
        video: how the network to be trained sees them.
        teacher: who sees them, too; None if nobody does, whose features and answers are empty.
        keeps_images: whether the network learns from the pictures, and not from what the teacher sees alone.
    """

    video: VideoConfig
    teacher: Teacher | None = None
    keeps_images: bool = True

    def at(
        self, pictures: Iterable[np.ndarray], landmarks: Iterable[np.ndarray | None] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Aligns RGB pictures ``(height, width, 3)`` of one face each; one without a face is used whole.

        Args:
            landmarks: of the faces, ``(5, 2)``, where they are known.

        Returns:
            ``images``, ``features`` and ``answers`` as in ``Stills``.
        """
        detector, teacher = YuNetDetector(), self.teacher
        images, waiting, seen, n, n_missed = [], [], [], 0, 0
        for given, known in zip(pictures, landmarks or _forever(None)):  # noqa: B905
            picture, place = given, known
            if place is None:
                scale = max(1.0, DETECTION_SIDE / max(picture.shape[:2]))
                picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
                found = detector.detect(picture)
                place = found[0].landmarks if found else None
                n_missed += place is None
            n += 1
            if self.keeps_images:
                images.append(cv2.cvtColor(_crop(picture, place, self.video), cv2.COLOR_RGB2GRAY))
            if teacher:
                waiting.append(_crop(picture, place, teacher.video))
            if teacher and len(waiting) == N_AT_ONCE:
                seen.append(teacher(np.stack(waiting)))
                waiting = []
        if teacher and waiting:
            seen.append(teacher(np.stack(waiting)))
        logger.info("No face found in %d pictures; they are used whole.", n_missed)
        aligned = np.stack(images) if images else np.zeros((n, 0, 0), np.uint8)
        features, answers = zip(*seen, strict=True) if seen else ([np.zeros((n, 0), np.float16)], [np.zeros((n, 0))])
        return aligned, np.concatenate(features), np.concatenate(answers)


def _crop(picture: np.ndarray, landmarks: np.ndarray | None, video: VideoConfig) -> np.ndarray:
    if landmarks is None:
        return cv2.resize(picture, (video.image_size, video.image_size), interpolation=cv2.INTER_AREA)
    return crop_face(picture, landmarks, video.image_size, video.crop)


def _forever(value):
    while True:
        yield value


# ---- FER+: one file of small pictures ----


def load_ferplus(path: Path, class_names: tuple[str, ...], look: Look) -> Stills:
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
    images, features, answers = look.at(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) for picture in pictures)
    return Stills(images, targets, majority, features, answers)


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


def load_folders(root: Path, class_names: tuple[str, ...], look: Look) -> Stills:
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
    images, features, answers = look.at(pictures)
    return Stills(images, targets, np.full(len(classes), -1), features, answers)


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


# ---- Faces without labels: archives, and an index with landmarks ----


def load_unlabelled(root: Path, class_names: tuple[str, ...], look: Look) -> Stills:
    """Reads the faces that ``root/index.csv`` lists: ``file`` in an archive named after its folder, ``person``,
    ``licence`` and landmarks ``lx``, ``ly``, ... in pixels.

    A resting face is not neutral for the teacher: brows, lips and eyelids differ. So the teacher's answers for a person
    of whom there are some pictures are divided by their mean, and multiplied by what people show on average.

    Raises:
        DatasetError: if the index or an archive is missing or damaged.
    """
    index = root / "index.csv"
    if not index.is_file():
        raise DatasetError(f"{index}: no such file. Faces without labels are expected there; {HELP}.")
    try:
        with index.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if not any(word in row["licence"] for word in UNCLEAR)]
        landmarks = [
            np.array([[float(row[f"{name}{axis}"]) for axis in "xy"] for name in LANDMARKS], np.float32) for row in rows
        ]
        persons = np.array([row["person"] for row in rows])
        images, features, answers = look.at(_unpacked(root, [row["file"] for row in rows]), landmarks)
    except (KeyError, ValueError, OSError, BadZipFile, zlib.error, cv2.error) as error:
        raise DatasetError(f"{index}: not an index of faces, or an archive is damaged ({error}); {HELP}.") from error
    nothing = np.zeros((len(rows), len(LABEL_SETS), len(class_names)), np.float32)
    answers = divide_out_persons(answers, persons, class_names.index("neutral"))
    return Stills(images, nothing, np.full(len(rows), -1), features, answers)


def divide_out_persons(answers: np.ndarray, persons: np.ndarray, neutral: int) -> np.ndarray:
    """Divides answers ``(n, n_classes)`` by the mean of each person of whom there are enough."""
    natural = np.full(answers.shape[1], (1 - NATURAL_NEUTRAL) / (answers.shape[1] - 1))
    natural[neutral] = NATURAL_NEUTRAL
    divided = answers.copy()
    for person in np.unique(persons):
        own = persons == person
        if own.sum() >= FEWEST_OF_PERSON:
            relative = answers[own] / answers[own].mean(axis=0) * natural
            divided[own] = relative / relative.sum(axis=1, keepdims=True)
    return divided


def _unpacked(root: Path, names: list[str]) -> Iterable[np.ndarray]:
    opened: dict[str, ZipFile] = {}
    for name in names:
        folder = name.split("/")[0]
        if folder not in opened:
            opened[folder] = ZipFile(root / f"{folder}.zip")
        data = opened[folder].read(name)
        yield cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
