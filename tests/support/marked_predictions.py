"""Predictions about boxes, as they are drawn on pictures and written to files."""

import numpy as np

from emotion.labels import EIGHT_EMOTIONS
from emotion.results import EmotionSummary, FaceTrack, MediaPrediction, WindowPrediction


def make_probabilities(emotion, confidence=0.8):
    probabilities = np.full(len(EIGHT_EMOTIONS), (1 - confidence) / (len(EIGHT_EMOTIONS) - 1))
    probabilities[EIGHT_EMOTIONS.index(emotion)] = confidence
    return probabilities


def make_track(face_id, box=(0, 0, 9, 9), times=(0.0, 0.4, 0.8), **details):
    return FaceTrack(face_id, tuple(times), (box,) * len(times), **details)


def make_window(face_id, emotion, start=0.0, end=3.0, confidence=0.8):
    source = "voice" if face_id is None else "face"
    if emotion is None:
        return WindowPrediction(start, end, face_id, "none", None)
    return WindowPrediction(start, end, face_id, source, make_probabilities(emotion, confidence))


def make_prediction(
    tracks=(), windows=(), *, path="clip.mp4", class_names=EIGHT_EMOTIONS, duration=3.0, has_video=True, has_audio=True,
    **details,
):  # fmt: skip
    """A prediction in which no face and no clip has an answer of its own, unless the details give one."""
    nothing = EmotionSummary.of(None, class_names, evidence="none")
    details = {"overall": nothing, "by_face": {track.face_id: nothing for track in tracks}, **details}
    return MediaPrediction(
        path, class_names, duration, has_video, has_audio, tuple(tracks), tuple(windows), **details
    )  # fmt: skip
