"""Every setting of a model and of its training, with its unit, in frozen records; ``emotion.config_files`` saves them.

``RunConfig`` is what a model folder's ``config.json`` holds. It is the only home of the class order and of all sizes:
preprocessing, models and inference derive theirs from it.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from emotion.errors import ConfigError
from emotion.labels import EIGHT_EMOTIONS, canonical_emotion

FORMAT_VERSION = 5
MAX_WINDOW_SECONDS = 60
SPECTRUM_WINDOW_SECONDS = 0.025
SPECTRUM_HOP_SECONDS = 0.01
MODALITIES = ("audio", "video")
CROPS = ("face", "frame")
AUDIO_FEATURES = ("mfcc", "log_mel", "fbank")
FILLS = ("nearest", "none")
PROTOCOLS = ("speaker", "random", "official", "kfold", "loso")
FUSION_METHODS = ("average", "product", "stacking")
CROSS_VALIDATED = ("kfold", "loso")  # protocols that train several models, so they have a folder of run folders
RECIPE_NAMES = ("default", "accurate")
DEFAULT_ARCHITECTURE = "mfcc_cnn_3d"
DEFAULT_FOLDS = 5


def _check_positive(record, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        if not 0 < value < math.inf:
            raise ConfigError(f"{type(record).__name__}: {name} must be above 0 and finite, got {value}.")


@dataclass(frozen=True)
class AudioConfig:
    """How a window of sound becomes a picture.

    Attributes:
        features: ``mfcc`` for cepstral coefficients, ``log_mel`` for the logarithmic mel spectrum that Whisper takes,
            ``fbank`` for Kaldi's filter banks as the Audio Spectrogram Transformer takes them.
        sample_rate: samples a second, after resampling.
        n_mfcc: MFCCs only: coefficients kept, the height of the picture.
        n_steps: MFCCs only: columns of the picture; the hop is derived so that they span the whole window. The others'
            steps are 10 ms apart however long the window is.
        n_mels: mel bands: those under the cepstrum, or the height of the other pictures.
        min_frequency_hz, max_frequency_hz: the bands' limits. Telephones, 16 kHz recordings and lossy codecs end at
            about the upper one: what lies above tells the recorder, not the emotion.
        top_db: decibels below the window's loudest band at which the spectrum is floored; filter banks are not.
        silence_dbfs: a window without a twentieth of a second louder than this, in decibels below full scale, holds no
            sound to speak of. The dither of 16-bit sound lies at -96, a quiet room at -60.
        noise_dbfs, noise_range_db: nor does a window below this level that varies by less than this: speech rises and
            falls, the noise of a room or a microphone does not. Speech as quiet varies by 30 dB and more.
    """

    features: str = "mfcc"
    sample_rate: int = 22050
    n_mfcc: int = 40
    n_steps: int = 44
    n_mels: int = 128
    min_frequency_hz: float = 50.0
    max_frequency_hz: float = 7600.0
    top_db: float = 80.0
    silence_dbfs: float = -60.0
    noise_dbfs: float = -40.0
    noise_range_db: float = 20.0

    def __post_init__(self):
        if self.features not in AUDIO_FEATURES:
            raise ConfigError(f"audio.features must be one of {', '.join(AUDIO_FEATURES)}, got {self.features!r}.")
        _check_positive(self, "sample_rate", "n_mfcc", "n_mels", "top_db")
        if self.n_steps < 2:
            raise ConfigError(f"audio.n_steps must be at least 2, got {self.n_steps}.")
        if self.features == "mfcc" and self.n_mfcc > self.n_mels:
            raise ConfigError(f"audio.n_mfcc must not exceed audio.n_mels ({self.n_mels}), got {self.n_mfcc}.")


# What Whisper's encoder was trained on (Radford et al. 2022): 80 bands over all of 16 kHz sound, 80 dB deep.
WHISPER_AUDIO = AudioConfig(
    features="log_mel", sample_rate=16000, n_mels=80, min_frequency_hz=0.0, max_frequency_hz=8000.0, top_db=80.0
)
# What the Audio Spectrogram Transformer was trained on (Gong et al. 2021).
AST_AUDIO = AudioConfig(features="fbank", sample_rate=16000, n_mels=128, min_frequency_hz=20.0, max_frequency_hz=8000.0)
# For networks that learn their own filters from a spectrum: what speech holds, in as many bands as tell vowels apart.
LOG_MEL_AUDIO = AudioConfig(features="log_mel", sample_rate=16000, n_mels=64, max_frequency_hz=7600.0)


@dataclass(frozen=True)
class VideoConfig:
    """How a window of pictures becomes the frames a model sees.

    Attributes:
        n_frames: frames a window, evenly spaced over it.
        image_size: side of each square frame, in pixels.
        crop: ``face`` for the aligned face, ``frame`` for the whole picture.
        min_sight: share of a window's moments for which a face must be in sight to count as evidence.
        fill: what a model sees at a moment without a face: the ``nearest`` one of the window, or ``none``, a frame of
            zeros, for models that pass over such frames and so take clips of any length.
    """

    n_frames: int = 20
    image_size: int = 112
    crop: str = "face"
    min_sight: float = 0.25
    fill: str = "nearest"

    def __post_init__(self):
        _check_positive(self, "n_frames", "image_size")
        if self.crop not in CROPS:
            raise ConfigError(f"video.crop must be one of {', '.join(CROPS)}, got {self.crop!r}.")
        if self.fill not in FILLS:
            raise ConfigError(f"video.fill must be one of {', '.join(FILLS)}, got {self.fill!r}.")


@dataclass(frozen=True)
class WindowConfig:
    """The stretches of time that a model judges.

    Attributes:
        window_seconds: the stretch it judges at once.
        step_seconds: from one to the next.
        face_share: the share of a window, above 0 and at most 1, that tells as much where a face is the only evidence.
            A voice takes a sentence to show its emotion, an expression changes within one. Below 1 for models that
            were found to judge faces as well by so little.
    """

    window_seconds: float = 3.0
    step_seconds: float = 0.5
    face_share: float = 1.0

    def __post_init__(self):
        _check_positive(self, "window_seconds", "step_seconds", "face_share")
        if self.face_share > 1:
            raise ConfigError(f"window.face_share must be at most 1, got {self.face_share}.")
        if self.window_seconds > MAX_WINDOW_SECONDS:
            raise ConfigError(f"window.window_seconds must be at most {MAX_WINDOW_SECONDS}, got {self.window_seconds}.")

    @property
    def face_window_seconds(self) -> float:
        """The stretch judged at once where a face is the only evidence."""
        return self.window_seconds * self.face_share


PRECISIONS = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained.

    Attributes:
        epochs: passes over the training clips, at most.
        batch_size: clips a step.
        learning_rate: Adam's first step size.
        weight_decay: share of the kernels that a step of learning rate 1 takes away (AdamW); 0 for plain Adam.
        clip_norm: gradients are scaled down to this norm.
        patience_epochs: epochs without a better validation loss before training stops.
        reduce_patience_epochs: the same before the learning rate is halved.
        modality_dropout: chance that a training clip with face and voice is shown with only one of them.
        pretrained: weights to begin with, by their names in ``emotion.weights``; they must be here.
        frozen_epochs: for how many epochs such weights stay as they are, while the layers behind them settle.
        layer_decay: factor by which each layer of a pretrained network learns slower than the one after it.
        precision: in which the network computes while it learns: ``float32``, or ``mixed_bfloat16``, which takes less
            time on processors and GPUs that know it. The weights, and the finished model, are float32 either way.
        augment: whether training clips are varied on the fly.
        balance: whether rare emotions weigh more in the loss.
        test_fraction, validation_fraction: share of the speakers (or clips) set apart.
        protocol: how clips are split. ``speaker``, ``kfold`` and ``loso`` keep every speaker on one side, ``random``
            does not, ``official`` does as the data set's authors did.
        seed: of the split, the weights and the augmentation.
    """

    epochs: int = 60
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    patience_epochs: int = 12
    reduce_patience_epochs: int = 5
    modality_dropout: float = 0.2
    pretrained: tuple[str, ...] = ()
    frozen_epochs: int = 0
    layer_decay: float = 1.0
    precision: str = "float32"
    augment: bool = True
    balance: bool = True
    test_fraction: float = 0.15
    validation_fraction: float = 0.15
    protocol: str = "speaker"
    seed: int = 0

    def __post_init__(self):
        _check_positive(self, "epochs", "batch_size", "learning_rate", "clip_norm", "layer_decay")
        for name in ("patience_epochs", "reduce_patience_epochs", "weight_decay", "frozen_epochs"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"training.{name} must not be negative, got {getattr(self, name)}.")
        if self.layer_decay > 1:
            raise ConfigError(f"training.layer_decay must be at most 1, got {self.layer_decay}.")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"training.seed must lie in 0 to 2**32 - 1, got {self.seed}.")
        for name in ("test_fraction", "validation_fraction", "modality_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"training.{name} must lie in [0, 1), got {getattr(self, name)}.")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ConfigError("training.validation_fraction and test_fraction must leave something to train on.")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"training.precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}.")
        if self.protocol not in PROTOCOLS:
            raise ConfigError(f"training.protocol must be one of {', '.join(PROTOCOLS)}, got {self.protocol!r}.")
        if self.validation_fraction == 0:
            raise ConfigError("training.validation_fraction must be above 0: the best epoch is chosen by it.")


@dataclass(frozen=True)
class CalibrationConfig:
    """What makes a trained network's confidence mean what it says, and when an answer is withheld.

    Attributes:
        both, face, voice: temperature of the probabilities of a window with a face and a voice, with a face alone, and
            with a voice alone. Above 1 the network was too sure, below 1 too modest; 1 leaves its answer as it is. For
            a model of whole frames ``face`` stands for the frame.
        unsure_below: the confidence, 0 to 1, under which the answer is "unsure". 0 always gives the emotion.
    """

    both: float = 1.0
    face: float = 1.0
    voice: float = 1.0
    unsure_below: float = 0.0

    def __post_init__(self):
        _check_positive(self, "both", "face", "voice")
        if not 0 <= self.unsure_below <= 1:
            raise ConfigError(f"calibration.unsure_below must lie in 0 to 1, got {self.unsure_below}.")


@dataclass(frozen=True)
class DataSource:
    """A data set a model has seen: its name, its licence and the number of clips or pictures."""

    name: str
    licence: str
    n_clips: int


@dataclass(frozen=True)
class RunConfig:
    """Everything needed to rebuild a model and to feed it. Saved as ``config.json``.

    Attributes:
        architecture: a key of ``emotion.models.ARCHITECTURES``.
        class_names: the emotions, in the order of the model's outputs.
        modalities: the evidence the model takes: ``audio``, ``video`` or both.
        calibration: of the trained network; a new training starts without.
        model: settings of the architecture; empty for its defaults.
        data: what the model was trained on.
    """

    architecture: str = DEFAULT_ARCHITECTURE
    class_names: tuple[str, ...] = EIGHT_EMOTIONS
    modalities: tuple[str, ...] = MODALITIES
    audio: AudioConfig = field(default_factory=AudioConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    model: dict[str, Any] = field(default_factory=dict)
    data: tuple[DataSource, ...] = ()
    format_version: int = FORMAT_VERSION

    def __post_init__(self):
        if self.format_version != FORMAT_VERSION:
            raise ConfigError(
                f"format_version {self.format_version} is not understood; this program reads {FORMAT_VERSION}. "
                "Update the program, or train the model again."
            )
        if len(self.class_names) < 2 or len(set(self.class_names)) != len(self.class_names):
            raise ConfigError(f"class_names needs two or more different emotions, got {list(self.class_names)}.")
        for name in self.class_names:
            if canonical_emotion(name) != name:
                raise ConfigError(f"class_names holds {name!r}; its canonical name is {canonical_emotion(name)!r}.")
        if not self.modalities or any(m not in MODALITIES for m in self.modalities):
            raise ConfigError(f"modalities must be some of {', '.join(MODALITIES)}, got {list(self.modalities)}.")
        if len(set(self.modalities)) != len(self.modalities):
            raise ConfigError(f"modalities must not hold one of them twice, got {list(self.modalities)}.")
        if self.audio.features != "mfcc":
            if self.window_samples < self.win_length:
                raise ConfigError(
                    f"window.window_seconds must be at least {SPECTRUM_WINDOW_SECONDS}, the length of one spectrum, "
                    f"got {self.window.window_seconds}."
                )
        elif self.window.window_seconds * self.audio.sample_rate < self.audio.n_steps:
            raise ConfigError(
                f"window.window_seconds must be long enough to hold {self.audio.n_steps} audio.n_steps at "
                f"{self.audio.sample_rate} samples a second, got {self.window.window_seconds}."
            )

    @property
    def looks_for_faces(self) -> bool:
        """Whether the model sees faces that are cut out of the pictures, not whole pictures or none."""
        return "video" in self.modalities and self.video.crop == "face"

    @property
    def window_samples(self) -> int:
        """Audio samples in a window."""
        return round(self.window.window_seconds * self.audio.sample_rate)

    @property
    def audio_shape(self) -> tuple[int, int, int]:
        """Shape of a window of sound as a model takes it: bands or coefficients, steps, and one channel."""
        audio = self.audio
        if audio.features == "log_mel":
            return (audio.n_mels, self.window_samples // self.hop_length, 1)
        if audio.features == "fbank":
            return (audio.n_mels, 1 + (self.window_samples - self.win_length) // self.hop_length, 1)
        return (audio.n_mfcc, audio.n_steps, 1)

    @property
    def video_shape(self) -> tuple[int, int, int, int]:
        """Shape of a window of pictures as a model takes it: frames, height, width and RGB."""
        return (self.video.n_frames, self.video.image_size, self.video.image_size, 3)

    @property
    def hop_length(self) -> int:
        """Samples between two steps: for MFCCs such that ``n_steps`` centred steps span the window."""
        if self.audio.features != "mfcc":
            return max(1, round(SPECTRUM_HOP_SECONDS * self.audio.sample_rate))
        return max(1, self.window_samples // (self.audio.n_steps - 1))

    @property
    def n_fft(self) -> int:
        """Length of the spectrum's transform in samples.

        For MFCCs it is a power of two, above the hop by a quarter of it at least: the window's ends count for nothing,
        so windows that merely touch would leave the samples between them unseen. Filter banks take the power of two
        that holds their window.
        """
        if self.audio.features == "log_mel":
            return self.win_length
        needed = self.win_length if self.audio.features == "fbank" else math.ceil(1.25 * self.hop_length)
        return 1 << (needed - 1).bit_length()

    @property
    def win_length(self) -> int:
        """Length of the spectrum's window in samples."""
        if self.audio.features == "mfcc":
            return self.n_fft
        return max(2, round(SPECTRUM_WINDOW_SECONDS * self.audio.sample_rate))

    @property
    def frame_interval_seconds(self) -> float:
        """Time between two of a window's frames."""
        return self.window.window_seconds / self.video.n_frames
