"""The answer in a few lines of text, for the console."""

from emotion.results import EmotionSummary, MediaPrediction
from emotion.windows import merge_probabilities


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
    if len(prediction.tracks) > 1:
        heard = [window.probabilities for window in prediction.windows if window.evidence == "voice"]
        if heard:
            voice = merge_probabilities(heard)
            lines.append(f"voice: {prediction.class_names[voice.argmax()]} ({voice.max():.0%}), whosever it is")
        lines.append("the emotion above is that of the face most in sight, and of the voice, together")
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
