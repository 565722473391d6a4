"""The stages of a recipe that make the face branch: faces are aligned and shown to the teacher, then learned from."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from emotion.config import RunConfig
from emotion.files import make_folder
from emotion.labels import SEVEN_EMOTIONS
from emotion.models.calibration import fit_temperature, softmax
from emotion.training.recipes.affectnet_branch import train_affectnet_branch
from emotion.training.recipes.face_branch import answering_branch, train_clip_network, train_picture_network
from emotion.training.recipes.joining import Branch
from emotion.training.recipes.scoring import N_AT_ONCE, photograph
from emotion.training.recipes.settings import MOBILENET
from emotion.training.recipes.stills import (
    LABEL_SETS,
    Look,
    Stills,
    find_pictures,
    join_stills,
    load_ferplus,
    load_folders,
    load_unlabelled,
    read_ferplus,
    read_stills,
    save_stills,
)
from emotion.training.recipes.teacher import Teacher
from emotion.training.recipes.work import Work, fingerprint, keep_network

FERPLUS_FILES = {"train": "ferplus/ferplus_train.npz", "valid": "ferplus/ferplus_valid.npz"}
MUXSPACE, UNLABELLED = "muxspace", "faces"
CLEARLY = 0.5  # share of votes
N_NEUTRAL = 500  # faces that are enough for a mean
FACE_FOLDERS = ("ferplus", MUXSPACE, UNLABELLED)


@dataclass(frozen=True)
class SeenFaces:
    """Aligned faces to learn from and to validate on, their teacher, and the folder for the networks."""

    train: Stills
    validation: Stills
    teacher: Teacher
    folder: Path


def check_faces(work: Work) -> None:
    """Makes sure that the faces can be read and the teacher's weights are here, before hours are spent."""
    for name in FERPLUS_FILES.values():
        read_ferplus(work.data_root / name)
    find_pictures(work.data_root / MUXSPACE, SEVEN_EMOTIONS)
    Teacher()


def align_faces(work: Work) -> SeenFaces:
    """Aligns all faces as inference aligns them, and shows them to the teacher."""
    video, root, teacher = work.recipe.config().video, work.data_root, Teacher()
    learns_from_pictures = work.recipe.architecture != MOBILENET
    learned, validated = Look(video, teacher, learns_from_pictures), Look(video, teacher)
    aligned = work.folder / f"faces-{fingerprint(root, FACE_FOLDERS, video, learns_from_pictures)}"
    makers = {
        "ferplus_train": lambda: load_ferplus(root / FERPLUS_FILES["train"], SEVEN_EMOTIONS, learned),
        "muxspace": lambda: load_folders(root / MUXSPACE, SEVEN_EMOTIONS, learned),
        "unlabelled": lambda: load_unlabelled(root / UNLABELLED, SEVEN_EMOTIONS, learned),
        "ferplus_valid": lambda: load_ferplus(root / FERPLUS_FILES["valid"], SEVEN_EMOTIONS, validated),
    }
    make_folder(aligned)
    loaded = {}
    for name, make in makers.items():
        path = aligned / f"{name}.npz"
        if not path.is_file():
            work.reporter.say(f"Aligning the faces of {name}.")
            save_stills(make(), path)
        loaded[name] = read_stills(path)
    *training, validation = loaded.values()
    return SeenFaces(
        join_stills(*training),
        validation,
        teacher,
        aligned / fingerprint(root, (), work.recipe.faces, work.recipe.still_head),
    )


def train_faces(work: Work, seen: SeenFaces) -> Branch:
    """Trains the face branch: the teacher's network with a head for photographs, or a light one that learns from it."""
    config, choices, folder, reporter = work.recipe.config(), work.recipe.faces, seen.folder, work.reporter
    if work.recipe.architecture == MOBILENET:
        head = work.recipe.still_head
        branch = train_affectnet_branch(
            seen.train, config, seen.teacher, head, folder, seed=choices.seed, reporter=reporter
        )
        return calibrate_stills(branch, seen.validation, config)
    pictures = keep_network(
        work, folder / "pictures.keras",
        lambda: train_picture_network(seen.train, config, choices, folder, reporter),
    )  # fmt: skip
    clips = keep_network(
        work, folder / "clips.keras",
        lambda: train_clip_network(pictures, seen.train, config, choices, folder / "clips", reporter),
    )  # fmt: skip
    branch = answering_branch(clips, seen.train.prior(), choices)
    return calibrate_stills(branch, seen.validation, config, moving_too=choices.moving_prior_share is not None)


def calibrate_stills(branch: Branch, faces: Stills, config: RunConfig, *, moving_too: bool = False) -> Branch:
    """Divides the head for photographs by the temperature that fits these.

    What the teacher learned to answer of AffectNet's faces is right about as often as it says on people who talk
    (docs/lab_notebook.md), so its head keeps temperature 1.

    Args:
        moving_too: whether the head for faces in motion has learned from the same labels and gets the same temperature.
    """
    clear = np.flatnonzero(faces.majority >= 0)
    features = _describe_photographs(branch, faces, clear, config)
    answers = softmax(features @ branch.still_kernel + branch.still_bias)
    temperature = fit_temperature(list(answers[:, None]), faces.majority[clear])
    names = ("still_kernel", "still_bias", *(("kernel", "bias") if moving_too else ()))
    return dataclasses.replace(branch, **{name: getattr(branch, name) / temperature for name in names})


def usual_neutral(stills: Stills, branch: Branch, config: RunConfig) -> np.ndarray:
    """Returns ``(n_classes,)``: what a branch answers on average of faces that FER+'s raters call neutral.

    A branch that decides as the teacher keeps no pictures; it answers what the teacher does.
    """
    targets = stills.targets[:, LABEL_SETS.index("ferplus")]
    neutral = np.flatnonzero(targets[:, SEVEN_EMOTIONS.index("neutral")] > CLEARLY)
    if not stills.images.size:
        return stills.answers[neutral].mean(axis=0, dtype=np.float64)
    chosen = neutral[:: max(1, len(neutral) // N_NEUTRAL)]
    answers = softmax(branch.logits(_describe_photographs(branch, stills, chosen, config)))
    return answers.mean(axis=0, dtype=np.float64)


def _describe_photographs(branch: Branch, faces: Stills, chosen: np.ndarray, config: RunConfig) -> np.ndarray:
    network = keras.Model(branch.network.input, branch.network.get_layer("video_features").output)
    features = []
    for start in range(0, len(chosen), N_AT_ONCE):
        shown = np.stack([photograph(faces, int(index), config) for index in chosen[start : start + N_AT_ONCE]])
        features.append(np.asarray(network.predict_on_batch(shown)))
    return np.concatenate(features)
