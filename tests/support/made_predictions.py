"""Predictions over time, as plots and pages show them."""

import marked_predictions
import numpy as np
from marked_predictions import make_track

from emotion.results import EmotionSummary, WindowPrediction

CLASS_NAMES = ("happy", "sad", "angry")
HAPPY, SAD, TORN = np.array([0.9, 0.06, 0.04]), np.array([0.06, 0.9, 0.04]), np.array([0.48, 0.48, 0.04])


def make_prediction(faces=(), voice=(), *, unsure_below=0.5, duration=9.0, path="clip.mp4"):
    """Faces, each (probabilities of windows of 3 s, a second apart, first and last sight), and a voice's windows."""
    tracks, windows, by_face = [], [], {}
    for face_id, (rows, first, last) in enumerate(faces, start=1):
        tracks.append(make_track(face_id, times=np.arange(first, last + 1e-6, 0.25)))
        windows += [WindowPrediction(float(i), i + 3.0, face_id, "face", row) for i, row in enumerate(rows)]
        by_face[face_id] = summarize(rows[0] if len(rows) else None, unsure_below)
    windows += [WindowPrediction(float(i), i + 3.0, None, "voice", row) for i, row in enumerate(voice)]
    return marked_predictions.make_prediction(
        tracks, windows, path=path, class_names=CLASS_NAMES, duration=duration, has_audio=bool(voice), by_face=by_face,
        overall=by_face.get(1, summarize(None, unsure_below)), unsure_below=unsure_below,
    )  # fmt: skip


def summarize(probabilities, unsure_below=0.0, evidence="face"):
    evidence = "none" if probabilities is None else evidence
    return EmotionSummary.of(probabilities, CLASS_NAMES, evidence=evidence, unsure_below=unsure_below)
