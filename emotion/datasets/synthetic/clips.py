"""Makes a small data set of drawn faces and synthetic voices, named and laid out like RAVDESS.

It replaces real recordings in ``python train_model.py --demo`` and in the tests: every speaker has a face and a voice
of their own, and every emotion moves mouth, brows, pitch and rhythm its own way. A model learns it in minutes, which
shows that the program works, and nothing about how well that model recognises people's emotions.
"""

import itertools
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

from emotion.console import SILENT, Reporter
from emotion.datasets.synthetic.faces import draw_face
from emotion.datasets.synthetic.voices import compute_mouth_opening, synthesize_voice
from emotion.errors import ConfigError
from emotion.files import make_folder
from emotion.labels import EIGHT_EMOTIONS, RAVDESS_EMOTIONS, canonical_emotion

LAYOUTS = ("paired", "downloaded")
MAX_SPEAKERS = 24
# RAVDESS has two statements, each spoken twice.
TAKES = ((1, 1), (2, 1), (1, 2), (2, 2))

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Take:
    """One recording to make, and its files; None if no such file is wanted."""

    emotion: str
    speaker_seed: int
    statement: int
    seed: int
    video_path: Path | None
    audio_path: Path | None


def write_synthetic_dataset(
    root: str | os.PathLike,
    *,
    emotions: Sequence[str] = EIGHT_EMOTIONS,
    n_speakers: int = 6,
    n_repetitions: int = 2,
    duration_seconds: float = 2.0,
    frame_rate: float = 15.0,
    image_size: int = 240,
    sample_rate: int = 22050,
    layout: str = "paired",
    seed: int = 0,
    with_audio: bool = True,
    with_video: bool = True,
    reporter: Reporter = SILENT,
) -> Path:
    """Writes a data set of ``len(emotions) * n_speakers * n_repetitions`` recordings.

    A recording is an MP4 file with picture and sound (modality 01 in its name; 02 and no sound if ``with_audio`` is
    False) and a WAV file with the same sound (03). Files of the same names are overwritten.

    Args:
        emotions: some of ``EIGHT_EMOTIONS``.
        n_speakers: 1 to 24, odd ones men and even ones women.
        n_repetitions: recordings of every speaker and emotion, 1 to 4.
        image_size: side of the square picture in pixels, even; the face is about 0.7 of it high.
        sample_rate: samples a second, one of the rates that AAC knows (for example 16000, 22050, 44100).
        layout: ``paired`` for ``videos/Actor_01`` and ``audios/Actor_01``, ``downloaded`` for the folders in RAVDESS's
            zip files.
        seed: 0 or above; other seeds give other recordings of other speakers.

    Returns:
        ``root`` as a path.
    """
    emotions = tuple(canonical_emotion(name) for name in emotions)
    if not emotions or len(set(emotions)) != len(emotions):
        raise ConfigError(f"emotions needs one or more different emotions, got {list(emotions)}.")
    if layout not in LAYOUTS:
        raise ConfigError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}.")
    if not 1 <= n_speakers <= MAX_SPEAKERS:
        raise ConfigError(f"n_speakers must lie in 1 to {MAX_SPEAKERS}, as in RAVDESS, got {n_speakers}.")
    if not 1 <= n_repetitions <= len(TAKES):
        raise ConfigError(f"n_repetitions must lie in 1 to {len(TAKES)}, as in RAVDESS, got {n_repetitions}.")
    if not (with_audio or with_video):
        raise ConfigError("with_audio and with_video are both False; one of them must be True.")
    if image_size < 64 or image_size % 2:
        raise ConfigError(f"image_size must be even, as H.264 asks for, and at least 64, got {image_size}.")
    if not frame_rate > 0:
        raise ConfigError(f"frame_rate must be above 0, got {frame_rate}.")

    root = Path(root)
    speakers = range(1, n_speakers + 1)
    takes = [
        _plan_take(root, emotion, actor, TAKES[index], layout, seed, with_audio, with_video)
        for actor, emotion, index in itertools.product(speakers, emotions, range(n_repetitions))
    ]
    for folder in {path.parent for take in takes for path in (take.video_path, take.audio_path) if path}:
        make_folder(folder)

    def write(take: _Take) -> None:
        voice = synthesize_voice(
            take.emotion,
            speaker_seed=take.speaker_seed,
            duration_seconds=duration_seconds,
            sample_rate=sample_rate,
            seed=take.seed,
            statement=take.statement,
        )
        if take.audio_path:
            soundfile.write(take.audio_path, voice, sample_rate, subtype="PCM_16")
        if take.video_path:
            n_frames = max(1, round(duration_seconds * frame_rate))
            times = np.arange(n_frames) / frame_rate
            mouth = compute_mouth_opening(voice, sample_rate, times)
            frames = draw_clip(
                take.emotion, times, mouth, speaker_seed=take.speaker_seed, size=image_size, seed=take.seed
            )
            sound = voice if with_audio else None
            write_clip(take.video_path, frames, frame_rate, waveform=sound, sample_rate=sample_rate)

    # Drawing, filtering and encoding leave Python's lock free, so threads share the work.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        bar = reporter.bar("Drawing", "clips")
        for n_done, _ in enumerate(pool.map(write, takes), start=1):
            bar(n_done, len(takes))
    logger.info("Wrote %d synthetic recordings of %d speakers to %s", len(takes), n_speakers, root)
    return root


def draw_clip(
    emotion: str, times: np.ndarray, mouth: np.ndarray, *, speaker_seed: int, size: int = 240, seed: int = 0
) -> np.ndarray:
    """Draws a speaker whose face goes from rest to an emotion while the head sways and the eyes blink.

    Args:
        times: seconds of the pictures, rising from about 0, shape (n_frames,).
        mouth: how far speech opens the mouth at those times, 0 to 1, shape (n_frames,).
        speaker_seed: which speaker; odd is a man, even a woman.
        size: side of the picture in pixels.
        seed: varies the course of the clip.

    Returns:
        RGB pictures, uint8, shape (n_frames, size, size, 3).
    """
    emotion = canonical_emotion(emotion)
    rng = np.random.default_rng([seed, speaker_seed, EIGHT_EMOTIONS.index(emotion), 127])
    onset_seconds, sway_hertz, sway_start = rng.uniform(0.35, 0.65), rng.uniform(0.2, 0.5), rng.uniform(0, 2 * np.pi)
    blink_seconds = rng.uniform(0.4, 1.0) + 3.0 * np.arange(1 + int(times[-1] / 3))
    frames = np.empty((len(times), size, size, 3), np.uint8)
    for i, time in enumerate(times):
        rise = min(time / onset_seconds, 1.0)
        strength = rise * rise * (3 - 2 * rise) * (0.9 + 0.1 * np.sin(5.0 * time + sway_start))
        blink = max(0.0, 1 - float(np.abs(time - blink_seconds).min()) / 0.1)
        frames[i] = draw_face(
            emotion,
            speaker_seed=speaker_seed,
            strength=strength,
            mouth=float(mouth[i]),
            phase=2 * np.pi * sway_hertz * time + sway_start,
            blink=blink,
            size=size,
            seed=seed,
        )
    return frames


def write_clip(
    path: str | os.PathLike,
    frames: Sequence[np.ndarray] | np.ndarray,
    frame_rate: float,
    *,
    waveform: np.ndarray | None = None,
    sample_rate: int = 22050,
    crf: int = 23,
    preset: str = "ultrafast",
) -> None:
    """Writes an MP4 file that browsers play: H.264 in yuv420p, AAC, and its index at the front.

    Args:
        frames: RGB pictures, uint8, shape (n_frames, height, width, 3), with even sides.
        waveform: mono float32 in [-1, 1], shape (n_samples,), or None for a silent clip.
        crf: x264's quality, lower is better.
        preset: x264's speed, from ``ultrafast`` to ``veryslow``.
    """
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=Fraction(frame_rate).limit_denominator(1001))
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        # Clips are written several at a time, so that each keeps to one thread; one thread is also repeatable.
        video.options = {"preset": preset, "crf": str(crf), "threads": "1"}
        if waveform is not None:
            audio = container.add_stream("aac", rate=sample_rate, layout="mono")
            audio.bit_rate = 64_000
        for picture in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(video.encode(None))
        if waveform is not None:
            sound = av.AudioFrame.from_ndarray(waveform[None].astype(np.float32), format="fltp", layout="mono")
            sound.sample_rate = sample_rate
            # Otherwise the encoder's lead-in, 1/20 s at 22050 Hz, would count as sound and delay the rest.
            sound.pts, sound.time_base = 0, Fraction(1, sample_rate)
            container.mux(audio.encode(sound))
            container.mux(audio.encode(None))


def _plan_take(
    root: Path,
    emotion: str,
    actor: int,
    statement_and_repetition: tuple[int, int],
    layout: str,
    seed: int,
    with_audio: bool,
    with_video: bool,
) -> _Take:
    statement, repetition = statement_and_repetition
    code = next(code for code, name in RAVDESS_EMOTIONS.items() if name == emotion)
    recording = f"01-{code}-01-{statement:02d}-{repetition:02d}-{actor:02d}"
    if layout == "paired":
        video_folder, audio_folder = root / "videos", root / "audios"
    else:
        video_folder, audio_folder = root / f"Video_Speech_Actor_{actor:02d}", root / "Audio_Speech_Actors_01-24"
    person = f"Actor_{actor:02d}"
    return _Take(
        emotion=emotion,
        # Other data set seeds bring other speakers; 24 is even, so odd actors remain men.
        speaker_seed=actor + MAX_SPEAKERS * seed,
        statement=statement,
        seed=int(np.random.SeedSequence([seed, statement, repetition]).generate_state(1)[0]),
        video_path=video_folder / person / f"{'01' if with_audio else '02'}-{recording}.mp4" if with_video else None,
        audio_path=audio_folder / person / f"03-{recording}.wav" if with_audio else None,
    )
