"""The stages of a recipe: each makes its result once and keeps it in the work folder."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from emotion.config import RunConfig
from emotion.console import Reporter
from emotion.datasets.cache import ClipCache
from emotion.labels import SEVEN_EMOTIONS
from emotion.models.calibration import softmax
from emotion.training.recipes.face_branch import blend_over_time, train_frame_network, tune_over_time
from emotion.training.recipes.fitting import save_network
from emotion.training.recipes.light_voice import Teaching, train_light_network
from emotion.training.recipes.settings import WHISPER, Recipe
from emotion.training.recipes.stills import (
    Stills,
    find_pictures,
    join_stills,
    load_ferplus,
    load_folders,
    read_ferplus,
    read_stills,
    save_stills,
)
from emotion.training.recipes.voices import VoiceBank, check_same_windows, load_voices, make_bank
from emotion.training.recipes.whisper_voice import Heard, hear, predict_heard, train_whisper_network
from emotion.training.recipes.whisper_weights import WHISPER_DIR, load_whisper_encoder

Say = Callable[[str], None]
# To be raised whenever the same data and choices would give another result, so that no older one is taken for it.
STAGE_VERSION = 1
MUXSPACE = "muxspace"
FERPLUS_FILES = {"train": "ferplus/ferplus_train.npz", "valid": "ferplus/ferplus_valid.npz"}
FACE_FOLDERS, VOICE_FOLDERS = ("ferplus", MUXSPACE), ("ravdess", "emodb")
MFCC = "mfcc_cnn_3d"


def fingerprint(data_root: Path, folders: tuple[str, ...], *choices) -> str:
    """A short hash of choices, and of the names and contents of all the files that a stage is made from."""
    digest = hashlib.sha256(repr((STAGE_VERSION, *choices)).encode())
    for name in folders:
        for path in sorted((data_root / name).rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(data_root)}\n".encode())
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def check_face_data(data_root: Path) -> None:
    """Makes sure that the sets of faces are there and can be read, before hours are spent on other stages.

    Raises:
        DatasetError: if one is missing or damaged.
    """
    for name in FERPLUS_FILES.values():
        read_ferplus(data_root / name)
    find_pictures(data_root / MUXSPACE, SEVEN_EMOTIONS)


def keep_network(path: Path, make: Callable[[], keras.Model], say: Say) -> keras.Model:
    """Returns a stage's network: from its file if it is there, else made and kept."""
    if not path.is_file():
        say(f"Training {path.stem}.")
        save_network(make(), path)
    return keras.saving.load_model(path, compile=False)


class FaceStages:
    """Faces, and the face branch that learns from them.

    Attributes:
        train, validation: aligned faces.
    """

    def __init__(self, recipe: Recipe, data_root: Path, work_dir: Path, verbose: int, say: Say):
        self._choices, self._verbose, self._say = recipe.faces, verbose, say
        self._config = recipe.config()
        # Other data never meets the faces of these, nor other choices the networks trained on them.
        aligned = work_dir / f"faces-{fingerprint(data_root, FACE_FOLDERS, self._config.video)}"
        # These choices concern what is made of the finished networks only.
        trained = dataclasses.replace(self._choices, clip_share=0.0, answer=(), prior_shares=(), disgust_offset=0.0)
        self.folder = aligned / fingerprint(data_root, (), trained)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.train, self.validation = self._load(data_root, aligned)

    def _load(self, data_root: Path, folder: Path) -> tuple[Stills, Stills]:
        names, size = self._config.class_names, self._config.video.image_size
        makers = {
            "ferplus_train": lambda: load_ferplus(data_root / FERPLUS_FILES["train"], names, size=size),
            "muxspace": lambda: load_folders(data_root / MUXSPACE, names, size=size),
            "ferplus_valid": lambda: load_ferplus(data_root / FERPLUS_FILES["valid"], names, size=size),
        }
        loaded = {}
        for name, make in makers.items():
            path = folder / f"{name}.npz"
            if not path.is_file():
                self._say(f"Aligning the faces of {name}.")
                save_stills(make(), path)
            loaded[name] = read_stills(path)
        return join_stills(loaded["ferplus_train"], loaded["muxspace"]), loaded["ferplus_valid"]

    def frame_network(self) -> keras.Model:
        """The face branch for single pictures."""
        choices = self._choices
        return keep_network(
            self.folder / "frames.keras",
            lambda: train_frame_network(
                self.train, self._config, stages=choices.stages, mixup=choices.mixup, seed=choices.seed,
                backup_dir=self.folder / "frames", verbose=self._verbose,
            ),
            self._say,
        )  # fmt: skip

    def network(self) -> keras.Model:
        """The face branch as it is shipped, between those for single pictures and for clips."""
        return blend_over_time(self.frame_network(), self.clip_network(), self._choices.clip_share, self._config)

    def clip_network(self) -> keras.Model:
        """The face branch for clips."""
        choices = self._choices
        return keep_network(
            self.folder / "clips.keras",
            lambda: tune_over_time(
                self.frame_network(), self.train, self._config, animation=choices.animation,
                n_epochs=choices.clip_epochs, steps_per_epoch=choices.clip_steps,
                learning_rate=choices.clip_learning_rate, seed=choices.seed, backup_dir=self.folder / "clips",
                verbose=self._verbose,
            ),
            self._say,
        )  # fmt: skip


class VoiceStages:
    """Voices, and the voice branches that learn from them.

    Attributes:
        choices: how they are trained.
        sides: labelled speech, speakers apart.
    """

    def __init__(self, recipe: Recipe, data_root: Path, work_dir: Path, verbose: int, say: Say):
        self.choices, self._verbose, self._say = recipe.voices, verbose, say
        choices = self.choices
        self._configs = {
            name: dataclasses.replace(Recipe(name, recipe.faces, choices).config(), modalities=("audio",))
            for name in (MFCC, WHISPER)
        }
        self.sides = load_voices(
            data_root, SEVEN_EMOTIONS, validation_fraction=choices.validation_fraction, seed=choices.seed
        )
        forms = [(config.audio, config.window) for config in self._configs.values()]
        heard_by = (choices.validation_fraction, choices.n_variants, choices.seed, forms)
        self._windows = work_dir / f"voices-{fingerprint(data_root, VOICE_FOLDERS, heard_by)}"
        self.folder = self._windows / fingerprint(data_root, (), choices)
        self.folder.mkdir(parents=True, exist_ok=True)

    def config(self, architecture: str, class_names: tuple[str, ...] = SEVEN_EMOTIONS) -> RunConfig:
        """The settings of a voice network."""
        return dataclasses.replace(self._configs[architecture], class_names=class_names)

    def cache(self, architecture: str) -> ClipCache:
        """Decoded clips, at the architecture's sample rate."""
        return ClipCache(self._windows / "clips", self._configs[architecture])

    def bank(self, architecture: str) -> VoiceBank:
        """The windows of all clips, as the architecture takes them."""
        clips = [*self.sides.train, *self.sides.validation, *self.sides.unlabelled]
        folder = self._windows / architecture
        if not (folder / "owners.npy").is_file():
            self._say(f"Varying {len(clips)} voices for {architecture}.")
        return make_bank(
            clips, self.cache(architecture), self._configs[architecture], n_variants=self.choices.n_variants,
            seed=self.choices.seed, folder=folder,
        )  # fmt: skip

    def chosen(self, side: str) -> np.ndarray:
        """Indices, in the bank, of the clips of a side: ``train``, ``validation`` or ``unlabelled``."""
        sides = ("train", "validation", "unlabelled")
        ends = np.cumsum([len(getattr(self.sides, name)) for name in sides])
        end = ends[sides.index(side)]
        return np.arange(end - len(getattr(self.sides, side)), end)

    def network(self, architecture: str) -> keras.Model:
        """A trained voice network: windows to logits."""
        make = self._train_whisper if architecture == WHISPER else self._train_light
        return keep_network(self.folder / f"{architecture}.keras", make, self._say)

    def heard(self) -> Heard:
        """What Whisper's unchanged blocks make of all windows."""
        choices = self.choices
        blocks = f"{choices.whisper_blocks}-{'-'.join(map(str, choices.whisper_pooled))}"
        return hear(
            self.bank(WHISPER), self._configs[WHISPER], self.whisper_arrays(), self._windows / f"heard-{blocks}"
        )

    def whisper_arrays(self) -> dict[str, np.ndarray]:
        """Whisper's weights; fetched where they are not at hand yet."""
        return load_whisper_encoder(WHISPER_DIR, self.choices.whisper_blocks, reporter=Reporter())

    def _train_whisper(self) -> keras.Model:
        return train_whisper_network(
            self.bank(WHISPER), self.heard(), self.chosen("train"), self._configs[WHISPER], self.whisper_arrays(),
            self.choices.whisper, seed=self.choices.seed, backup_dir=self.folder / WHISPER, verbose=self._verbose,
        )  # fmt: skip

    def _train_light(self) -> keras.Model:
        teacher, heard = self.network(WHISPER), self.heard()
        check_same_windows(self.bank(WHISPER), self.bank(MFCC))
        logits = predict_heard(teacher, heard, np.arange(len(heard.statistics)))
        learned = np.concatenate([self.chosen("train"), self.chosen("unlabelled")])
        return train_light_network(
            self.bank(MFCC), learned, self._configs[MFCC], self.choices.light,
            Teaching(softmax(logits), heard.statistics), seed=self.choices.seed, backup_dir=self.folder / MFCC,
            verbose=self._verbose,
        )  # fmt: skip
