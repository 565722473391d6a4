"""Synthesises babbling voices whose pitch, rhythm, loudness and timbre show an emotion, for demonstration and tests.

A source-filter model (Fant 1960): glottal pulses (Rosenberg 1971) and breath noise pass the resonances of a vowel
sequence (Peterson & Barney 1952). How an emotion sounds follows the reviews of Scherer (2003) and Juslin & Laukka
(2003): anger loud, bright and fast; sadness slow, low, quiet and breathy. Everything is drawn from a seed.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import signal

from emotion.errors import ConfigError
from emotion.labels import EIGHT_EMOTIONS, canonical_emotion

# First four resonances in Hz of a man's vowels; a shorter vocal tract raises them all.
VOWELS = {
    "a": (730, 1090, 2440, 3400),
    "e": (530, 1840, 2480, 3500),
    "i": (290, 2250, 3000, 3600),
    "o": (500, 900, 2410, 3300),
    "u": (310, 870, 2240, 3250),
    "uh": (620, 1190, 2390, 3350),
}
_BANDWIDTHS = (80.0, 95.0, 130.0, 180.0)  # Hz
_CONTROL_RATE = 200  # values a second of pitch, loudness and resonances


@dataclass(frozen=True)
class Manner:
    """How a voice speaks.

    Attributes:
        pitch: mean pitch, as a factor of the speaker's own.
        range_semitones: how far the melody of a phrase reaches.
        contour: melody of a phrase: ``fall``, ``rise``, ``hat`` or ``flat``.
        syllables_per_second: rate within a phrase.
        level_db: loudness of the voiced parts, root mean square below full scale.
        tilt_hz: above this frequency the source loses 6 dB an octave more; low is dull, high is shrill.
        breath: share of noise in the source.
        tremor: trembling of the pitch in semitones.
        attack_seconds: rise of a syllable.
    """

    pitch: float
    range_semitones: float
    contour: str
    syllables_per_second: float
    level_db: float
    tilt_hz: float
    breath: float
    tremor: float
    attack_seconds: float


MANNERS = {
    "neutral": Manner(1.00, 2.5, "fall", 4.2, -24, 1400, 0.04, 0.05, 0.05),
    "calm": Manner(0.94, 2.0, "flat", 3.3, -27, 900, 0.10, 0.05, 0.09),
    "happy": Manner(1.38, 7.0, "hat", 5.0, -20, 2200, 0.05, 0.10, 0.04),
    "sad": Manner(0.86, 1.5, "fall", 2.5, -32, 600, 0.22, 0.25, 0.12),
    "angry": Manner(1.28, 5.0, "fall", 5.4, -14, 3600, 0.02, 0.15, 0.015),
    "fearful": Manner(1.65, 3.0, "flat", 5.8, -22, 2000, 0.18, 0.80, 0.04),
    "disgust": Manner(0.90, 4.5, "fall", 3.0, -22, 1700, 0.12, 0.35, 0.07),
    "surprised": Manner(1.50, 9.0, "rise", 4.0, -18, 2400, 0.08, 0.10, 0.03),
}


@dataclass(frozen=True)
class _Plan:
    """The course of an utterance at ``_CONTROL_RATE``: arrays of shape (n_points,), resonances (n_points, 4)."""

    semitones: np.ndarray
    loudness: np.ndarray
    hiss: np.ndarray
    resonances: np.ndarray


def synthesize_voice(
    emotion: str,
    *,
    speaker_seed: int,
    duration_seconds: float = 2.0,
    sample_rate: int = 22050,
    seed: int = 0,
    statement: int = 1,
) -> np.ndarray:
    """Returns a babbling utterance with the melody, rhythm and timbre of an emotion.

    Args:
        speaker_seed: which speaker; odd is a man, even a woman.
        duration_seconds: length with the silence at both ends, at least 0.5 s. Long utterances have pauses.
        sample_rate: samples a second, at least 8,000.
        seed: varies the utterance from clip to clip.
        statement: which sequence of vowels is spoken.

    Returns:
        Mono waveform, float32 in [-1, 1], shape (round(duration_seconds * sample_rate),).

    Raises:
        ConfigError: if the emotion is unknown, the utterance too short or the sample rate too low.
    """
    emotion = canonical_emotion(emotion)
    if duration_seconds < 0.5:
        raise ConfigError(f"duration_seconds must be at least 0.5 for a syllable to fit, got {duration_seconds}.")
    if sample_rate < 8000:
        raise ConfigError(f"sample_rate must be at least 8000 Hz to hold a voice, got {sample_rate}.")
    rng = np.random.default_rng([seed, speaker_seed, EIGHT_EMOTIONS.index(emotion), 107])
    manner = MANNERS[emotion]
    person = np.random.default_rng([speaker_seed, 109])
    male = speaker_seed % 2 == 1
    own_pitch = person.uniform(98, 135) if male else person.uniform(180, 225)  # Hz
    tract = person.uniform(0.95, 1.03) if male else person.uniform(1.12, 1.20)  # factor on the resonances
    own_level = person.uniform(-2, 2)  # dB

    n_samples = round(duration_seconds * sample_rate)
    plan = _plan_utterance(manner, duration_seconds, statement, rng)
    time = np.arange(n_samples) / sample_rate
    control_time = np.arange(len(plan.semitones)) / _CONTROL_RATE

    pitch = own_pitch * manner.pitch * rng.uniform(0.95, 1.05) * 2 ** (plan.semitones / 12)
    loudness = np.interp(time, control_time, plan.loudness)
    source = _glottal_source(np.interp(time, control_time, pitch), sample_rate, manner, rng) * loudness
    voice = _resonate(source, plan.resonances * tract, sample_rate)
    voice *= 1 / (np.sqrt(np.mean(voice[loudness > 0.3] ** 2)) + 1e-9)

    hiss = signal.sosfilt(signal.butter(2, 0.6, "high", output="sos"), rng.standard_normal(n_samples))
    voice += 0.35 * hiss * np.interp(time, control_time, plan.hiss)
    level = 10 ** ((manner.level_db + own_level + rng.uniform(-1.5, 1.5)) / 20)
    room = 10 ** (-66 / 20) * rng.standard_normal(n_samples)
    return (0.98 * np.tanh((level * voice + room) / 0.98)).astype(np.float32)


def compute_mouth_opening(waveform: np.ndarray, sample_rate: int, times: np.ndarray) -> np.ndarray:
    """Returns how far a voice opens the mouth, from 0 for silence to 1 for the loudest parts, shape (n_times,).

    ``waveform`` is mono, shape (n_samples,); ``times`` are seconds from its start, shape (n_times,).
    """
    length = max(1, round(0.06 * sample_rate))
    power = np.convolve(waveform.astype(np.float64) ** 2, np.full(length, 1 / length), "same")
    envelope = np.sqrt(np.maximum(power, 0))
    peak = max(float(np.percentile(envelope, 95)), 1e-3)
    at_times = np.interp(times, np.arange(len(envelope)) / sample_rate, envelope)
    return np.clip(at_times / peak, 0, 1) ** 0.7


def _plan_utterance(manner: Manner, duration_seconds: float, statement: int, rng: np.random.Generator) -> _Plan:
    """Lays out phrases of syllables between silences, and draws their melody, loudness and vowels."""
    n_points = round(duration_seconds * _CONTROL_RATE) + 1
    time = np.arange(n_points) / _CONTROL_RATE
    plan = _Plan(np.zeros(n_points), np.zeros(n_points), np.zeros(n_points), np.zeros((n_points, 4)))
    # Words depend on the statement alone, so that different emotions and speakers say the same thing.
    words = np.random.default_rng([statement, 113])
    vowel_times, vowels = [], []
    margin = min(0.15, 0.1 * duration_seconds)
    start, end = margin * rng.uniform(0.6, 1.2), duration_seconds - margin * rng.uniform(0.6, 1.2)
    while end - start > 0.2:
        n_syllables = int(words.integers(6, 10))
        lengths = rng.uniform(0.75, 1.25, n_syllables) / (manner.syllables_per_second * rng.uniform(0.95, 1.05))
        lengths[-1] *= 1.5  # the last syllable of a phrase is drawn out
        bounds = start + np.concatenate([[0], np.cumsum(lengths)])
        bounds = bounds[bounds < end - 0.12]
        phrase_end = min(start + lengths.sum(), end)
        bounds = np.append(bounds if bounds[-1] < phrase_end - 0.05 else bounds[:-1], phrase_end)
        place = np.clip((time - start) / (phrase_end - start), 0, 1)
        spoken = (time >= start) & (time <= phrase_end)
        melody = manner.range_semitones * _contour(manner.contour, place)
        plan.semitones[spoken] = melody[spoken]
        for first, last in itertools.pairwise(bounds):
            vowel_times.append(0.5 * (first + last))
            vowels.append(VOWELS[tuple(VOWELS)[words.integers(len(VOWELS))]])
            accent = rng.uniform(0.6, 1.0)
            rise = np.clip((time - first) / manner.attack_seconds, 0, 1)
            fall = np.clip((last - time) / (0.4 * (last - first)), 0, 1)
            plan.loudness[:] = np.maximum(plan.loudness, accent * np.sin(0.5 * np.pi * np.minimum(rise, fall)))
            hump = np.exp(-0.5 * ((time - 0.5 * (first + last)) / (0.22 * (last - first))) ** 2)
            plan.semitones[:] += 1.5 * manner.range_semitones * (accent - 0.8) * hump * spoken
            if words.random() < 0.4:
                plan.hiss[:] += np.exp(-0.5 * ((time - first) / 0.022) ** 2)
        start = phrase_end + rng.uniform(0.25, 0.5)
    for i in range(4):
        plan.resonances[:, i] = np.interp(time, vowel_times, [vowel[i] for vowel in vowels])
    unrest = np.convolve(rng.standard_normal(n_points + 8), np.full(9, 1 / 3), "valid")
    tremble = np.sin(2 * np.pi * rng.uniform(6, 8) * time)
    plan.semitones[:] += manner.tremor * tremble + (0.08 + 0.2 * manner.tremor) * unrest
    return plan


def _contour(kind: str, place: np.ndarray) -> np.ndarray:
    """Returns the melody over a phrase as a share of its range, from its start (0) to its end (1)."""
    shapes = {
        "fall": 0.5 - place,
        "flat": 0.1 - 0.2 * place,
        "hat": np.sin(np.pi * place) - 0.5 - 0.1 * place,
        "rise": place**2 - 0.35,
    }
    return shapes[kind]


def _glottal_source(pitch: np.ndarray, sample_rate: int, manner: Manner, rng: np.random.Generator) -> np.ndarray:
    """Returns the derivative of the flow through the glottis with breath noise, shape of ``pitch`` (Hz a sample)."""
    turns = np.cumsum(pitch) / sample_rate
    place = turns % 1.0
    # Rosenberg's pulse: the glottis opens along a cosine, closes faster, and stays shut. Breathy voices hardly shut.
    opening, closing = 0.40 + 0.5 * manner.breath, 0.16 + 0.3 * manner.breath
    rising = 0.5 * (1 - np.cos(np.pi * place / opening))
    falling = np.cos(0.5 * np.pi * (place - opening) / closing)
    flow = np.where(place < opening, rising, np.where(place < opening + closing, falling, 0.0))
    shimmer = 1 + 0.06 * rng.standard_normal(int(turns[-1]) + 1)
    flow = flow * shimmer[turns.astype(int)]
    pulses = np.diff(flow, prepend=flow[0]) * sample_rate / pitch
    noise = rng.standard_normal(len(pitch)) * (0.3 + 0.7 * (place < opening + closing))
    source = pulses / pulses.std() + 2.0 * manner.breath * noise
    smoothing = np.exp(-2 * np.pi * min(manner.tilt_hz, 0.45 * sample_rate) / sample_rate)
    return signal.lfilter([1 - smoothing], [1, -smoothing], source)


def _resonate(source: np.ndarray, resonances: np.ndarray, sample_rate: int) -> np.ndarray:
    """Passes a source, shape (n_samples,), through moving resonances in Hz, shape (n_points, 4)."""
    length = 1 << round(np.log2(0.023 * sample_rate))
    grid = {"fs": sample_rate, "nperseg": length, "noverlap": length * 3 // 4, "nfft": 2 * length}
    frequencies, times, spectrum = signal.stft(source, **grid)
    control_time = np.arange(len(resonances)) / _CONTROL_RATE
    f = frequencies[:, None]
    gain = np.ones(spectrum.shape)
    for i, bandwidth in enumerate(_BANDWIDTHS):
        centre = np.interp(times, control_time, resonances[:, i])[None]
        half = 0.5 * bandwidth
        gain *= (centre**2 + half**2) / np.sqrt(((f - centre) ** 2 + half**2) * ((f + centre) ** 2 + half**2))
    _, voice = signal.istft(spectrum * gain, **grid)
    return voice[: len(source)]
