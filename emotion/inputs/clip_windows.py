"""Cuts windows of decoded clips for training: one anywhere, or all that slide over a clip.

``emotion.inputs.window_cutter`` cuts the windows that evaluation and inference judge, and says what both share.
"""

from dataclasses import dataclass

import numpy as np

from emotion.inputs.preprocessing import ClipMedia, Preprocessor, cut_samples
from emotion.inputs.voice.speech import count_speech_seconds, holds_enough_speech
from emotion.windows import sliding_windows


@dataclass(frozen=True)
class ClipWindow:
    """One window of a decoded clip before augmentation.

    Attributes:
        samples: ``(n_samples,)`` float32 of the window's length; zeros where nobody speaks.
        frames: ``(n_frames, size, size, 3)`` uint8; zeros where no face is in sight.
    """

    samples: np.ndarray
    frames: np.ndarray


def cut_clip_window(
    media: ClipMedia, start_seconds: float, preprocessor: Preprocessor, *, rate: float = 1.0,
    n_moments: int | None = None,
) -> ClipWindow:  # fmt: skip
    """Cuts one window out of a clip.

    Args:
        rate: how many times as fast it will be played, picture and sound alike.
        n_moments: frames to show, if fewer than the model takes.
    """
    config = preprocessor.config
    seconds = rate * config.window.window_seconds
    sample_rate = config.audio.sample_rate
    samples = cut_samples(media.samples, round(start_seconds * sample_rate), round(seconds * sample_rate))
    spoken = count_speech_seconds(media.speech, start_seconds, start_seconds + seconds)
    if not holds_enough_speech(spoken, seconds):
        samples = np.zeros_like(samples)
    return ClipWindow(samples, _clip_frames(media, start_seconds, preprocessor, rate, n_moments))


def cut_clip(media: ClipMedia, preprocessor: Preprocessor) -> list[dict[str, np.ndarray]]:
    """Returns the inputs of a clip's sliding windows that hold any evidence.

    As in inference, windows last ``face_window_seconds`` where there is no voice.
    """
    config = preprocessor.config
    window, seconds, n_moments = config.window, config.window.window_seconds, None
    if config.looks_for_faces and window.face_share < 1 and not ("audio" in config.modalities and media.holds_voice):
        seconds = window.face_window_seconds
        n_moments = max(1, round(window.face_share * config.video.n_frames))
    spans = sliding_windows(media.duration_seconds, seconds, window.step_seconds)
    cut = [cut_clip_window(media, start, preprocessor, n_moments=n_moments) for start, _ in spans]
    inputs = [compute_inputs(each, preprocessor) for each in cut]
    return [each for each in inputs if any(array.any() for array in each.values())]


def compute_inputs(window: ClipWindow, preprocessor: Preprocessor) -> dict[str, np.ndarray]:
    """Returns a window as the model takes it, by the names of its inputs."""
    config = preprocessor.config
    made = {
        "audio": lambda: preprocessor.audio_input(cut_samples(window.samples, 0, config.window_samples)),
        "video": lambda: window.frames,
    }
    return {name: made[name]() for name in config.modalities}


def _clip_frames(
    media: ClipMedia, start_seconds: float, preprocessor: Preprocessor, rate: float, n_moments: int | None
) -> np.ndarray:
    first = preprocessor.first_moment(start_seconds)
    if len(media.shown) == 1:
        # A still has no place in time that a window could miss, however long the sound beside it is.
        return preprocessor.video_input({first: media.crops[0]} if len(media.crops) else {}, first)
    crops, shown = media.crops_by_moment(), set(media.shown.tolist())
    if rate != 1.0:
        source = {first + i: first + round(i * rate) for i in range(preprocessor.config.video.n_frames)}
        crops = {moment: crops[at] for moment, at in source.items() if at in crops}
        shown = {moment for moment, at in source.items() if at in shown}
    return preprocessor.video_input(crops, first, shown, n_moments)
