"""What can be chosen in a recipe, and what was chosen for the models in ``saved_models/``."""

from dataclasses import dataclass, field
from typing import Any

from emotion.config import RunConfig, TrainConfig, WindowConfig
from emotion.labels import SEVEN_EMOTIONS
from emotion.models import find_design
from emotion.training.recipes.face_batches import Animation
from emotion.training.recipes.face_branch import FrameStage
from emotion.training.recipes.light_voice import LightChoices
from emotion.training.recipes.whisper_voice import WhisperChoices

WHISPER = "whisper_cnn_3d"
FACE_SHARE = 1 / 3  # of a window in which a face shows as much as in all of it: see docs/lab_notebook.md


@dataclass(frozen=True)
class FaceChoices:
    """How the face branch of both models is trained.

    Attributes:
        filters: channels of its stages.
        stages: of the training on single pictures.
        mixup: see ``StillBatches``.
        animation, clip_epochs, clip_steps, clip_learning_rate: of the training on stills set in motion.
        clip_share: how far the weights go from those for single pictures to those learned from clips.
        answer: how much the answers for each set of labels count in the end.
        prior_shares: how much of FER+'s prior is given back to them, for clips and for photographs. With none of it,
            rare expressions are seen everywhere; with all of it, weak ones nowhere. Raters of FER+'s photographs say
            neutral a third of the time; people who talk on camera are seen to feel more.
        disgust_offset: added to the logit of disgust in clips. It is so rare among FER+'s faces (1.6 %) that taking its
            prior away made disgust of the angry faces that talk, all three of MEAD's.
        seed: of everything drawn.
    """

    filters: tuple[int, ...] = (32, 64, 128, 256)
    stages: tuple[FrameStage, ...] = (FrameStage(80, 16, 2e-3), FrameStage(112, 10, 1e-3))
    mixup: float = 0.2
    animation: Animation = field(default_factory=Animation)
    clip_epochs: int = 4
    clip_steps: int = 150
    clip_learning_rate: float = 2e-4
    clip_share: float = 0.25
    answer: tuple[float, float, float] = (1.0, 0.0, 0.0)
    prior_shares: tuple[float, float] = (0.2, 0.9)
    disgust_offset: float = -0.35
    seed: int = 0


@dataclass(frozen=True)
class VoiceChoices:
    """How the voice branches are trained.

    Attributes:
        validation_fraction: share of the speakers of each set of voices that is not trained on.
        n_variants: augmented windows of each clip.
        whisper_blocks, whisper_pooled: see ``whisper_cnn_3d.default_config``.
        whisper, light: of the two branches. The light one learns from Whisper's.
        seed: of everything drawn.
    """

    validation_fraction: float = 0.2
    n_variants: int = 6
    whisper_blocks: int = 3
    whisper_pooled: tuple[int, ...] = (1, 2, 3)
    whisper: WhisperChoices = field(default_factory=WhisperChoices)
    light: LightChoices = field(default_factory=LightChoices)
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """All choices of a recipe: its architecture, how its branches are trained, and its name."""

    architecture: str
    faces: FaceChoices = field(default_factory=FaceChoices)
    voices: VoiceChoices = field(default_factory=VoiceChoices)
    name: str = ""

    def config(self) -> RunConfig:
        """The settings of the model."""
        model: dict[str, Any] = {"video_filters": list(self.faces.filters), "fusion_units": 0, "fusion_still": True}
        if self.architecture == WHISPER:
            model |= {
                "whisper_blocks": self.voices.whisper_blocks,
                "whisper_pooled": list(self.voices.whisper_pooled),
            }
        return RunConfig(
            architecture=self.architecture,
            class_names=SEVEN_EMOTIONS,
            audio=find_design(self.architecture).audio,
            window=WindowConfig(face_share=FACE_SHARE),
            training=TrainConfig(seed=self.faces.seed),
            model=model,
        )


RECIPES = {"default": Recipe("mfcc_cnn_3d", name="default"), "accurate": Recipe(WHISPER, name="accurate")}
