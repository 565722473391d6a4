"""The answer in a few lines of text, for the console."""

from emotion.results import UNSURE, EmotionSummary, MediaPrediction, in_percent
from emotion.windows import merge_probabilities


def format_report(prediction: MediaPrediction) -> str:
    """Returns the clip's emotion, its confidence and the evidence, then each face's where there are several."""
    lines = [*_answer(prediction.overall)]
    if len(prediction.tracks) > 1:
        for track in prediction.tracks:
            seen = f"from {track.times_seconds[0]:.1f} s to {track.times_seconds[-1]:.1f} s"
            lines.append(f"{track.name}: {_in_short(prediction.by_face[track.face_id])}, {seen}")
    if len(prediction.tracks) > 1:
        heard = [window.probabilities for window in prediction.windows if window.evidence == "voice"]
        if heard:
            voice = EmotionSummary.of(
                merge_probabilities(heard),
                prediction.class_names,
                evidence="voice",
                unsure_below=prediction.unsure_below,
            )
            lines.append(f"voice: {_in_short(voice)}, whosever it is")
        voiced = ", and of the voice, together" if heard else ""
        lines.append(f"the emotion above is that of the face most in sight{voiced}")
    lines += [f"note: {note}" for note in prediction.notes]
    return "\n".join(lines)


def _answer(summary: EmotionSummary) -> list[str]:
    if summary.emotion is None:
        return ["emotion: no evidence"]
    guess = f" (most probable: {summary.most_probable})" if summary.emotion == UNSURE else ""
    return [
        f"emotion: {summary.emotion}{guess}",
        f"confidence: {in_percent(summary.confidence)}",
        f"evidence: {summary.evidence}",
    ]


def _in_short(summary: EmotionSummary) -> str:
    if summary.emotion is None:
        return "no evidence"
    if summary.emotion == UNSURE:
        return f"{UNSURE} (most probable: {summary.most_probable}, {in_percent(summary.confidence)})"
    return f"{summary.emotion} ({in_percent(summary.confidence)})"
