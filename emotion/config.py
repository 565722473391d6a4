"""Every setting of a model and of its training, in frozen records with checked bounds.

``RunConfig`` is the content of a model folder's ``config.json``. The class order and all sizes are defined here and
nowhere else: preprocessing, models and inference derive theirs from it.
"""

import math
import reprlib
from dataclasses import dataclass, field
from typing import Any

from emotion.errors import ConfigError
from emotion.labels import EIGHT_EMOTIONS, check_class_name

FORMAT_VERSION = 5
MIN_STEP_SECONDS, MAX_WINDOW_SECONDS = 0.05, 60
MAX_PICTURE_BYTES = 2**28  # of a window's frames
MAX_FILTERS = 2**26  # weights of the mel bands
MAX_SHOWN = 200  # letters
MAX_CLASSES = 1000
TINY = 1e-9  # above 0
SPECTRUM_WINDOW_SECONDS = 0.025
SPECTRUM_HOP_SECONDS = 0.01
MODALITIES = ("audio", "video")
INPUT_DTYPES = {"audio": "float32", "video": "uint8"}
CROPS = ("face", "box", "frame")
AUDIO_FEATURES = ("mfcc", "log_mel", "fbank", "waveform")
FILLS = ("nearest", "none")
PRECISIONS = ("float32", "mixed_bfloat16")
PROTOCOLS = ("speaker", "random", "official", "kfold", "loso")
CROSS_VALIDATED = ("kfold", "loso")  # protocols that train one model per fold
FUSION_METHODS = ("average", "product", "stacking")
RECIPE_NAMES = ("default", "accurate")
DEFAULT_ARCHITECTURE = "mfcc_cnn_3d"
DEFAULT_FOLDS = 5


def shown(value: object) -> str:
    """Returns a setting's value for a message, cut if it is long."""
    text = reprlib.repr(value) if isinstance(value, int | str) else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _check(name: str, value: object, is_allowed: bool, rule: str) -> None:
    if not is_allowed:
        raise ConfigError(f"{name} must {rule}, got {shown(value)}.")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    _check(name, value, value in choices, f"be one of {', '.join(choices)}")


def _check_ranges(section: str, record: object, **ranges: tuple[float, float]) -> None:
    """Refuses what no model needs, and what would fill the memory or take for ever: the file may be a stranger's."""
    for name, (lowest, highest) in ranges.items():
        value = getattr(record, name)
        _check(f"{section}.{name}", value, lowest <= value <= highest, f"lie in {lowest:g} to {highest:g}")


@dataclass(frozen=True)
class AudioConfig:
    """How a window of sound becomes the features that a model gets.

    Attributes:
        features: ``mfcc``; ``log_mel``, the logarithmic mel spectrum that Whisper takes; ``fbank``, Kaldi's filter
            banks as the Audio Spectrogram Transformer takes them; or ``waveform``, the samples as wav2vec2 takes them.
        sample_rate: samples per second, after resampling.
        n_mfcc: coefficients for each step; MFCCs only.
        n_steps: steps, spread over the whole window; MFCCs only. Spectra have one every 10 ms.
        n_mels: mel bands; spectra have one value for each.
        min_frequency_hz, max_frequency_hz: limits of the bands. Above the upper one, telephones, 16 kHz recordings
            and lossy codecs hold nothing: a model would learn the recorder, not the emotion.
        top_db: dynamic range: decibels below the window's loudest band at which values are cut off. Not for ``fbank``.
            A waveform is taken whole: none of these four settings changes it.
        silence_dbfs: a window is silent if no 0.05 s of it are louder than this, in dB relative to full scale. 16-bit
            dither lies at -96, a quiet room at -60.
        noise_dbfs, noise_range_db: a window is noise, and treated as silent, if it is quieter than the first (dB
            relative to full scale) and its level varies by less than the second (dB). Quiet speech varies by 30 dB.
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

    def __post_init__(self) -> None:
        _check_choice("audio.features", self.features, AUDIO_FEATURES)
        _check_ranges(
            "audio", self, sample_rate=(1000, 192_000), n_mfcc=(1, 4096), n_steps=(2, 100_000), n_mels=(1, 4096),
            min_frequency_hz=(0, 96_000), max_frequency_hz=(1, 96_000), top_db=(TINY, 1000), silence_dbfs=(-1000, 1000),
            noise_dbfs=(-1000, 1000), noise_range_db=(-1000, 1000),
        )  # fmt: skip
        lowest, highest = self.min_frequency_hz, self.max_frequency_hz
        _check("audio.min_frequency_hz", lowest, lowest < highest, f"lie below audio.max_frequency_hz ({highest:g})")
        if self.features == "mfcc":
            _check("audio.n_mfcc", self.n_mfcc, self.n_mfcc <= self.n_mels, f"not exceed audio.n_mels ({self.n_mels})")


# As Whisper's encoder was trained (Radford et al. 2022): 80 bands over all of 16 kHz sound, 80 dB of range.
WHISPER_AUDIO = AudioConfig(
    features="log_mel", sample_rate=16000, n_mels=80, min_frequency_hz=0.0, max_frequency_hz=8000.0, top_db=80.0
)
# As the Audio Spectrogram Transformer was trained (Gong et al. 2021).
AST_AUDIO = AudioConfig(features="fbank", sample_rate=16000, n_mels=128, min_frequency_hz=20.0, max_frequency_hz=8000.0)
# As wav2vec2 was trained (Baevski et al. 2020).
WAVEFORM_AUDIO = AudioConfig(features="waveform", sample_rate=16000)
# For networks trained from scratch: the range of speech, in enough bands to tell vowels apart.
LOG_MEL_AUDIO = AudioConfig(features="log_mel", sample_rate=16000, n_mels=64, max_frequency_hz=7600.0)


@dataclass(frozen=True)
class VideoConfig:
    """How a window of video becomes the frames that a model gets.

    Attributes:
        n_frames: frames per window, evenly spaced.
        image_size: side of the square frames, in pixels.
        crop: ``face`` for the aligned face; ``box`` for the aligned face stretched so that it fills the square as a
            detector's box would, for networks trained on such boxes; ``frame`` for the whole frame.
        min_sight: share of a window's frames, 0 to 1, with a face in sight from which a face counts as evidence.
        fill: where a frame has no face: ``nearest`` repeats the nearest one of the window, ``none`` leaves zeros, for
            models that skip such frames.
    """

    n_frames: int = 20
    image_size: int = 112
    crop: str = "face"
    min_sight: float = 0.25
    fill: str = "nearest"

    def __post_init__(self) -> None:
        _check_ranges("video", self, n_frames=(1, 10_000), image_size=(1, 2048), min_sight=(0, 1))
        size, most = self.image_size, MAX_PICTURE_BYTES // (3 * self.image_size**2)
        _check("video.n_frames", self.n_frames, self.n_frames <= most, f"be at most {most} of {size} x {size} pixels")
        _check_choice("video.crop", self.crop, CROPS)
        _check_choice("video.fill", self.fill, FILLS)


@dataclass(frozen=True)
class WindowConfig:
    """The sliding windows that a model judges.

    Attributes:
        window_seconds: length of a window.
        step_seconds: from the start of one window to the start of the next.
        face_share: share of the window length, above 0 and at most 1, that is judged where a face is the only
            evidence: an expression may change within a sentence. Below 1 for models that judge faces as well by less.
    """

    window_seconds: float = 3.0
    step_seconds: float = 0.5
    face_share: float = 1.0

    def __post_init__(self) -> None:
        _check_ranges(
            "window", self, window_seconds=(0.001, MAX_WINDOW_SECONDS), face_share=(0.01, 1),
            step_seconds=(MIN_STEP_SECONDS, MAX_WINDOW_SECONDS),
        )  # fmt: skip

    @property
    def face_window_seconds(self) -> float:
        """Length of a window where a face is the only evidence."""
        return self.window_seconds * self.face_share


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained.

    Attributes:
        epochs: at most.
        batch_size: clips per step.
        learning_rate: Adam's, before it is reduced.
        weight_decay: AdamW's; 0 for plain Adam.
        clip_norm: the gradient norm is limited to this.
        patience_epochs: epochs without a better validation loss after which training stops.
        reduce_patience_epochs: epochs without a better validation loss after which the learning rate is halved.
        modality_dropout: chance, 0 to 1, that a training clip with face and voice loses one of them.
        pretrained: names of weights in ``emotion.weights`` to start from; fetch them first.
        frozen_epochs: epochs for which pretrained layers are not trained.
        layer_decay: each block of a pretrained encoder learns this much slower than the next, above 0 and at most 1.
        precision: of the computation in training: ``float32``, or ``mixed_bfloat16``, which is faster where the
            hardware supports it. Weights and the finished model are float32 either way.
        augment: whether training clips are varied at random.
        balance: whether rare emotions weigh more in the loss.
        test_fraction, validation_fraction: shares of the speakers (or clips), 0 to 1.
        protocol: how clips are split. ``speaker``, ``kfold`` and ``loso`` keep each speaker in one split, ``random``
            does not, ``official`` follows the data set's authors.
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

    def __post_init__(self) -> None:
        _check_ranges(
            "training", self, epochs=(1, 10**6), batch_size=(1, 10**6), learning_rate=(1e-12, 1000),
            weight_decay=(0, 1000), clip_norm=(TINY, 10**9), patience_epochs=(0, 10**6),
            reduce_patience_epochs=(0, 10**6), frozen_epochs=(0, 10**6), layer_decay=(TINY, 1),
        )  # fmt: skip
        _check("training.seed", self.seed, 0 <= self.seed < 2**32, "lie in 0 to 2**32 - 1")
        for name in ("test_fraction", "validation_fraction", "modality_dropout"):
            value = getattr(self, name)
            _check(f"training.{name}", value, 0 <= value < 1, "lie in [0, 1)")
        name, fraction = "training.validation_fraction", self.validation_fraction
        _check(name, fraction, fraction > 0, "be above 0, because validation selects the best epoch")
        _check(name, fraction, fraction + self.test_fraction < 1, f"be below 1 - test_fraction ({self.test_fraction})")
        _check_choice("training.precision", self.precision, PRECISIONS)
        _check_choice("training.protocol", self.protocol, PROTOCOLS)


@dataclass(frozen=True)
class CalibrationConfig:
    """Temperatures that correct a network's confidence, and the threshold of the answer "unsure".

    Attributes:
        both, face, voice: temperature for windows with a face and a voice, only a face (or whole frames), and only a
            voice. Above 1 lowers the confidence, below 1 raises it; 1 changes nothing.
        unsure_below: confidence, 0 to 1, below which the answer is "unsure"; 0 always gives the emotion.
    """

    both: float = 1.0
    face: float = 1.0
    voice: float = 1.0
    unsure_below: float = 0.0

    def __post_init__(self) -> None:
        _check_ranges("calibration", self, both=(0.01, 100), face=(0.01, 100), voice=(0.01, 100))
        _check("calibration.unsure_below", self.unsure_below, 0 <= self.unsure_below <= 1, "lie in 0 to 1")


@dataclass(frozen=True)
class DataSource:
    """A data set that a model was trained on; ``n_clips`` counts clips or pictures."""

    name: str
    licence: str
    n_clips: int

    def __post_init__(self) -> None:
        _check_ranges("data", self, n_clips=(0, 10**12))


@dataclass(frozen=True)
class RunConfig:
    """Everything needed to rebuild a model and its inputs; saved as ``config.json``.

    Attributes:
        architecture: a key of ``emotion.models.ARCHITECTURES``.
        class_names: the emotions, in the order of the model's outputs.
        modalities: ``audio``, ``video`` or both.
        calibration: of the trained network; none before training.
        model: the architecture's own settings; its defaults for those left out.
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

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ConfigError(
                f"format_version must be {FORMAT_VERSION}, got {self.format_version}. Update the program, or train the "
                "model again."
            )
        names, modalities = list(self.class_names), list(self.modalities)
        is_unique = len(set(names)) == len(names)
        holds = 2 <= len(names) <= MAX_CLASSES and is_unique
        _check("class_names", names, holds, f"hold 2 to {MAX_CLASSES} different emotions")
        for name in names:
            _check("class_names", name, check_class_name(name) == name, f"be canonical ({check_class_name(name)!r})")
        n_known = len(set(modalities) & set(MODALITIES))
        _check("modalities", modalities, 0 < n_known == len(modalities), f"be of {', '.join(MODALITIES)}, each once")
        seconds, audio = self.window.window_seconds, self.audio
        if audio.features == "mfcc":
            fits = seconds * audio.sample_rate >= audio.n_steps
            rule = f"hold at least audio.n_steps ({audio.n_steps}) samples at {audio.sample_rate} per second"
        else:
            fits = self.window_samples >= self.win_length
            rule = f"be at least {SPECTRUM_WINDOW_SECONDS}, the length of one spectrum"
        _check("window.window_seconds", seconds, fits, rule)
        if audio.n_mels * self.n_fft > MAX_FILTERS:
            raise ConfigError(
                f"audio.n_mels ({audio.n_mels}) times the {self.n_fft} points of a spectrum is "
                f"{audio.n_mels * self.n_fft:,}; at most {MAX_FILTERS:,} fit. Lower audio.n_mels, raise audio.n_steps, "
                f"or shorten window.window_seconds ({seconds:g})."
            )

    @property
    def looks_for_faces(self) -> bool:
        """Whether the model sees cropped faces, not whole pictures or none."""
        return "video" in self.modalities and self.video.crop != "frame"

    @property
    def window_samples(self) -> int:
        """Audio samples in a window."""
        return round(self.window.window_seconds * self.audio.sample_rate)

    @property
    def audio_shape(self) -> tuple[int, ...]:
        """Shape of the audio input: bands or coefficients, steps, one channel; of a waveform samples, one channel."""
        audio = self.audio
        if audio.features == "waveform":
            return (self.window_samples, 1)
        if audio.features == "log_mel":
            return (audio.n_mels, self.window_samples // self.hop_length, 1)
        if audio.features == "fbank":
            return (audio.n_mels, 1 + (self.window_samples - self.win_length) // self.hop_length, 1)
        return (audio.n_mfcc, audio.n_steps, 1)

    @property
    def video_shape(self) -> tuple[int, int, int, int]:
        """Shape of the video input: frames, height, width, RGB."""
        return (self.video.n_frames, self.video.image_size, self.video.image_size, 3)

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of a model's inputs, by modality, without the batch axis."""
        shapes = {"audio": self.audio_shape, "video": self.video_shape}
        return {name: shapes[name] for name in MODALITIES if name in self.modalities}

    @property
    def hop_length(self) -> int:
        """Samples between two steps; for MFCCs such that ``n_steps`` centred steps span the window."""
        if self.audio.features != "mfcc":
            return max(1, round(SPECTRUM_HOP_SECONDS * self.audio.sample_rate))
        return max(1, self.window_samples // (self.audio.n_steps - 1))

    @property
    def n_fft(self) -> int:
        """Length of the Fourier transform in samples.

        For MFCCs the next power of two from 1.25 hops: the Hann window fades out at its ends, so windows that merely
        touch would miss the samples between them. For filter banks the next power of two from ``win_length``.
        """
        if self.audio.features == "log_mel":
            return self.win_length
        needed = self.win_length if self.audio.features == "fbank" else math.ceil(1.25 * self.hop_length)
        return 1 << (needed - 1).bit_length()

    @property
    def win_length(self) -> int:
        """Length of the STFT window in samples."""
        if self.audio.features == "mfcc":
            return self.n_fft
        return max(2, round(SPECTRUM_WINDOW_SECONDS * self.audio.sample_rate))

    @property
    def frame_interval_seconds(self) -> float:
        """Time between two frames of a window."""
        return self.window.window_seconds / self.video.n_frames
