"""The rows of a timeline: one for each face, and one for the voice where it was judged by itself."""

from dataclasses import dataclass

from emotion.outputs.judgements import Judgement, is_shown
from emotion.results import UNSURE, EmotionSummary, FaceTrack, MediaPrediction, in_percent


@dataclass(frozen=True)
class TimelineRow:
    """What one row of a timeline shows.

    Attributes:
        name: "face 1", "voice", or "clip" for a model of whole frames.
        judgement: the windows behind it.
        track: the face's, None for the voice.
        summary: the one answer for the whole row.
        words: that answer as it stands above the row.
    """

    name: str
    judgement: Judgement
    track: FaceTrack | None
    summary: EmotionSummary | None
    words: str

    def answer_at(self, time_seconds: float) -> EmotionSummary | None:
        """Returns the answer at a moment; None where the face is out of sight, or nothing was heard or judged."""
        if not self.judgement.is_judged or not is_shown(self.judgement, self.track, time_seconds):
            return None
        return self.judgement.answer_at(time_seconds)


def timeline_rows(prediction: MediaPrediction) -> list[TimelineRow]:
    """Returns the rows of a result: the faces in order of appearance, then the voice, if it was judged by itself."""
    rows = []
    for track in prediction.tracks:
        summary = prediction.by_face[track.face_id]
        words = "no evidence"
        if summary.emotion is not None:
            guess = f", most probably {summary.most_probable}" if summary.emotion == UNSURE else ""
            words = f"{summary.emotion}{guess}, {in_percent(summary.confidence)}, by {summary.evidence}"
        rows.append(TimelineRow(track.name, Judgement.of(prediction, track.face_id), track, summary, words))
    voice = Judgement.of(prediction, None)
    if voice.is_judged and voice.spans:
        by_frame = any("frame" in evidence for evidence in voice.evidence)
        name, words = ("clip", "by whole frames") if by_frame else ("voice", "by the sound alone")
        rows.append(TimelineRow(name, voice, None, prediction.voice, words))
    return rows
