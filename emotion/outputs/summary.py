"""A result in a few lines of text, for the console."""

from emotion.outputs.story import tell_story, write_headline
from emotion.results import UNSURE, EmotionSummary, FaceTrack, MediaPrediction, in_percent

MAX_FACES = 20  # listed; the tables hold all
MIN_SHARE = 0.005
SHORTEST_SECONDS = 0.1  # a shorter file is a still picture, without times and shares


def format_report(prediction: MediaPrediction) -> str:
    """Returns the clip's story and answer with its evidence, then each face's, with the share of its time by emotion.

    A probability over several windows is their mean, and called that: how sure the answer was at a moment says more.
    """
    lines = _answer(prediction)
    for track in prediction.tracks[:MAX_FACES]:
        shares = _shares(prediction, track.face_id)
        lines.append(f"{track.name}: {_in_short(prediction.by_face[track.face_id])}{_sight(track)}{shares}")
    if len(prediction.tracks) > MAX_FACES:
        lines.append(f"and {len(prediction.tracks) - MAX_FACES} further faces")
    if prediction.voice is not None and prediction.tracks:
        lines.append(f"voice by itself: {_in_short(prediction.voice)}{_shares(prediction, None)}")
    judged = [face for face, summary in prediction.by_face.items() if summary.emotion is not None]
    if len(judged) > 1:
        lines.append("the emotion above is that of the face that fills most of the picture for most of the time")
    lines += [f"note: {note}" for note in prediction.notes]
    return "\n".join(lines)


def _answer(prediction: MediaPrediction) -> list[str]:
    summary = prediction.overall
    if summary.emotion is None:
        return ["emotion: no evidence"]
    guess = f" (most probable: {summary.most_probable})" if summary.emotion == UNSURE else ""
    moments = {(window.start_seconds, window.end_seconds) for window in prediction.windows}
    kind = "confidence" if len(moments) < 2 else "mean probability"
    probability = f"{kind}: {in_percent(summary.confidence)}"
    evidence = f"evidence: {summary.evidence}"
    headline = write_headline(prediction, tell_story(prediction))
    if headline:
        return [f"emotion: {headline}", f"on the whole: {summary.emotion}{guess}", probability, evidence]
    return [f"emotion: {summary.emotion}{guess}", probability, evidence]


def _in_short(summary: EmotionSummary) -> str:
    if summary.emotion is None:
        return "no evidence"
    if summary.emotion == UNSURE:
        return (
            f"{UNSURE} (most probable: {summary.most_probable}, {in_percent(summary.confidence)}, {summary.evidence})"
        )
    return f"{summary.emotion} ({in_percent(summary.confidence)}, {summary.evidence})"


def _sight(track: FaceTrack) -> str:
    """Says when a face was in sight; nothing for a still picture."""
    first, last = track.times_seconds[0], track.times_seconds[-1]
    if last - first < SHORTEST_SECONDS:
        return ""
    if last - first - track.seconds_in_sight < SHORTEST_SECONDS:
        return f", from {first:.1f} s to {last:.1f} s"
    return f", for {track.seconds_in_sight:.1f} s between {first:.1f} s and {last:.1f} s"


def _shares(prediction: MediaPrediction, face_id: int | None) -> str:
    shares = {name: share for name, share in prediction.time_shares(face_id).items() if share >= MIN_SHARE}
    if not shares or prediction.duration_seconds < SHORTEST_SECONDS:
        return ""
    return "; of the time " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
