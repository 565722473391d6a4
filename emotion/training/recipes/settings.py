"""What a recipe can choose, and what was chosen for the models in ``saved_models/``."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emotion.config import RunConfig, TrainConfig, WindowConfig
from emotion.labels import SEVEN_EMOTIONS
from emotion.models import find_design
from emotion.training.recipes.affectnet_branch import StillHeadChoices
from emotion.training.recipes.face_branch import FaceChoices
from emotion.training.recipes.light_voice import LightChoices
from emotion.training.recipes.own_baseline import BaselineChoices
from emotion.training.recipes.whisper_voice import WhisperChoices

WHISPER, MFCC, MOBILENET = "whisper_cnn_3d", "mfcc_cnn_3d", "whisper_mobilenet"
STILL_UNITS = 256
# How a person is compared with themselves, chosen with people left out: see docs/lab_notebook.md.
OWN_MEAN = {"own_seconds": 10.0, "shrink_seconds": 4.0, "full_variety": 0.3}
FACE_BASELINE = {
    "reference_exponent": 0.5, "reference_floor": 0.05, "own_exponent": 0.85, "own_floor": 0.02,
}  # fmt: skip
USUALLY_NEUTRAL = 0.3  # share of neutral answers to which a person's own mean is restored
FACE_SHARE = 1 / 3  # of a window in which a face shows as much as in all of it: see docs/lab_notebook.md


@dataclass(frozen=True)
class VoiceChoices:
    """How the voice branches are trained.

    Attributes:
        only_tested: corpora that are not learned from.
        without_labels: corpora from which only a pupil learns, by its teacher's answers.
        validation_fraction: share of the speakers of each data set that is not trained on.
        n_variants: augmented windows of each clip.
        whisper_blocks, whisper_pooled: see ``whisper_cnn_3d.default_config``.
        whisper, light: of the two branches. The light one learns from Whisper's.
        baseline: of the head that compares a person with themselves.
        corpus_folds: corpora that are left out together, those of one source in one fold.
        seed: of everything drawn.
    """

    only_tested: tuple[str, ...] = ("deeply", "turev")
    without_labels: tuple[str, ...] = ("korean_read", "rakshak")
    validation_fraction: float = 0.2
    n_variants: int = 1
    whisper_blocks: int = 3
    whisper_pooled: tuple[int, ...] = (1, 2, 3)
    whisper: WhisperChoices = field(default_factory=WhisperChoices)
    light: LightChoices = field(default_factory=LightChoices)
    baseline: BaselineChoices = field(default_factory=BaselineChoices)
    corpus_folds: tuple[tuple[str, ...], ...] = (
        ("cremad", "picovoice", "turev"),
        ("ravdess", "baved"),
        ("emodb", "librispeech", "rakshak"),
        ("ased", "deeply", "korean_emo", "korean_read"),
    )
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """All choices of a recipe: its architecture, how its branches are trained, and its name.

    Attributes:
        model: settings of the architecture other than those that the branches' choices give.
    """

    architecture: str
    faces: FaceChoices = field(default_factory=FaceChoices)
    still_head: StillHeadChoices = field(default_factory=StillHeadChoices)
    voices: VoiceChoices = field(default_factory=VoiceChoices)
    name: str = ""
    model: dict[str, Any] = field(default_factory=dict)

    @property
    def voice(self) -> str:
        """The architecture whose audio branch, the same as its own, is trained on voices."""
        return MFCC if self.architecture == MFCC else WHISPER

    @property
    def has_eye(self) -> bool:
        """Whether the face branch is HSEmotion's network or learns from it, also of faces without labels."""
        return self.architecture == MOBILENET or self.faces.has_teacher

    def config(self, architecture: str = "") -> RunConfig:
        """The settings of the model, or of another architecture made in the same way."""
        architecture = architecture or self.architecture
        model: dict[str, Any] = {"fusion_units": 0, "fusion_still": True}
        if architecture == MOBILENET:
            model |= {"still_units": STILL_UNITS}
        else:
            model |= {"video_filters": list(self.faces.filters), "video_units": self.faces.units}
        voices = self.voices
        if architecture == MFCC:
            model |= {"audio_towers": len(voices.light.towers)}
        else:
            model |= {"whisper_blocks": voices.whisper_blocks, "whisper_pooled": list(voices.whisper_pooled)}
        return RunConfig(
            architecture=architecture,
            class_names=SEVEN_EMOTIONS,
            audio=find_design(architecture).audio,
            video=find_design(architecture).video,
            window=WindowConfig(face_share=FACE_SHARE),
            training=TrainConfig(seed=self.faces.seed),
            model=model | (self.model if architecture == self.architecture else {}),
        )


def natural_prior() -> np.ndarray:
    """Returns ``(7,)``: what people show on average, as far as a person's own mean is concerned."""
    prior = np.full(len(SEVEN_EMOTIONS), (1 - USUALLY_NEUTRAL) / (len(SEVEN_EMOTIONS) - 1))
    prior[SEVEN_EMOTIONS.index("neutral")] = USUALLY_NEUTRAL
    return prior


RECIPES = {"default": Recipe(MFCC, name="default"), "accurate": Recipe(MOBILENET, name="accurate")}
