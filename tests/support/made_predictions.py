"""Predictions over time, as plots and pages show them."""

import numpy as np

from emotion.results import EmotionSummary, FaceTrack, MediaPrediction, WindowPrediction

CLASS_NAMES = ("happy", "sad", "angry")


HAPPY, SAD, TORN = np.array([0.9, 0.06, 0.04]), np.array([0.06, 0.9, 0.04]), np.array([0.48, 0.48, 0.04])


def make_prediction(faces=(), voice=(), *, unsure_below=0.5, duration=9.0, path="clip.mp4"):
    """Faces, each (probabilities of windows of 3 s, a second apart, first and last sight), and a voice's windows."""
    tracks, windows, by_face = [], [], {}
    for face_id, (rows, first, last) in enumerate(faces, start=1):
        times = tuple(np.arange(first, last + 1e-6, 0.25))
        tracks.append(FaceTrack(face_id, times, ((0, 0, 9, 9),) * len(times)))
        windows += [WindowPrediction(float(i), i + 3.0, face_id, "face", row) for i, row in enumerate(rows)]
        by_face[face_id] = summarize(rows[0] if len(rows) else None, unsure_below)
    windows += [WindowPrediction(float(i), i + 3.0, None, "voice", row) for i, row in enumerate(voice)]
    overall = by_face.get(1, summarize(None, unsure_below))
    return MediaPrediction(
        path, CLASS_NAMES, duration, True, bool(voice), tuple(tracks), tuple(windows), overall, by_face,
        unsure_below=unsure_below,
    )  # fmt: skip


def summarize(probabilities, unsure_below):
    evidence = "none" if probabilities is None else "face"
    return EmotionSummary.of(probabilities, CLASS_NAMES, evidence=evidence, unsure_below=unsure_below)
