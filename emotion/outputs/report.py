"""The answer in a few lines of text, for the console."""

from emotion.results import EmotionSummary, MediaPrediction


def format_report(prediction: MediaPrediction) -> str:
    """Returns the clip's emotion, its confidence and the evidence, then each face's where there are several."""
    lines = [*_answer(prediction.overall)]
    if len(prediction.tracks) > 1:
        for track in prediction.tracks:
            summary = prediction.by_face[track.face_id]
            answer = f"{summary.emotion} ({summary.confidence:.0%})" if summary.emotion else "no evidence"
            lines.append(
                f"{track.name}: {answer}, from {track.times_seconds[0]:.1f} s to {track.times_seconds[-1]:.1f} s"
            )
    lines += [f"note: {note}" for note in prediction.notes]
    return "\n".join(lines)


def _answer(summary: EmotionSummary) -> list[str]:
    if summary.emotion is None:
        return ["emotion: no evidence"]
    return [
        f"emotion: {summary.emotion}",
        f"confidence: {summary.confidence:.0%}",
        f"evidence: {summary.evidence}",
    ]
