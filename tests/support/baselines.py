"""Small baselines, and judged windows with made answers."""

import numpy as np

from emotion.inference.clip_result import JudgedWindow
from emotion.models.baseline_head import BaselineHead, FaceHead, VoiceHead
from emotion.models.trained_model import WindowParts

CLASSES = ("neutral", "happy", "sad")
N_VALUES = 4


def make_head(*, n_values=N_VALUES, face=True, voice=True, **numbers) -> BaselineHead:
    """A baseline head for ``CLASSES``: a voice above its baseline in value 0, 1 or 2 has that class."""
    values = {
        **{"own_seconds": 5.0, "shrink_seconds": 4.0, "full_variety": 0.3, "neutral_index": 0},
        **{"temperature_both": 1.0, "temperature_face": 1.0, "temperature_voice": 1.0, **numbers},
    }
    eye = np.eye(n_values)
    return BaselineHead(
        **values,
        face=FaceHead(np.array([0.8, 0.1, 0.1]), np.array([0.4, 0.3, 0.3]), 0.5, 0.05, 0.85, 0.02) if face else None,
        voice=VoiceHead(eye[:, :3] * 5, np.zeros(3)) if voice else None,
    )


def make_windows(answers, *, voices=(), vectors=(), track=1, seconds=1.0, step=0.5) -> list[JudgedWindow]:
    """Windows of a face with these answers, and with the voices at the same places, if there are any."""
    windows = []
    for number in range(max(len(answers), len(voices))):
        face = np.array(answers[number]) if len(answers) else None
        voice = np.array(voices[number]) if len(voices) else None
        joint = face if voice is None else voice if face is None else face * voice / (face @ voice)
        evidence = "+".join(["face"] * (face is not None) + ["voice"] * (voice is not None))
        vector = np.array(vectors[number], float) if len(vectors) else None
        parts = WindowParts(joint, face, voice, vector)
        start = number * step
        windows.append(JudgedWindow(start, start + seconds, track if len(answers) else None, evidence, joint, parts))
    return windows
