"""Predictions about boxes, as they are drawn on pictures."""

import numpy as np

from emotion.labels import EIGHT_EMOTIONS
from emotion.results import EmotionSummary, FaceTrack, MediaPrediction, WindowPrediction

NOTHING = EmotionSummary.of(None, EIGHT_EMOTIONS, evidence="none")


def make_probabilities(emotion, confidence=0.8):
    probabilities = np.full(len(EIGHT_EMOTIONS), (1 - confidence) / (len(EIGHT_EMOTIONS) - 1))
    probabilities[EIGHT_EMOTIONS.index(emotion)] = confidence
    return probabilities


def make_track(face_id, box, times=(0.0, 0.4, 0.8)):
    return FaceTrack(face_id, times, (box,) * len(times))


def make_window(face_id, emotion, start=0.0, end=3.0, confidence=0.8):
    source = "voice" if face_id is None else "face"
    if emotion is None:
        return WindowPrediction(start, end, face_id, "none", None)
    return WindowPrediction(start, end, face_id, source, make_probabilities(emotion, confidence))


def make_prediction(tracks=(), windows=(), unsure_below=0.0):
    by_face = {track.face_id: NOTHING for track in tracks}
    return MediaPrediction(
        "clip.mp4", EIGHT_EMOTIONS, 3.0, True, True, tuple(tracks), tuple(windows), NOTHING, by_face,
        unsure_below=unsure_below,
    )  # fmt: skip
