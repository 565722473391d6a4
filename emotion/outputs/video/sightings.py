"""Tells which faces are in sight at a moment, and where."""

import math
from collections.abc import Sequence

from emotion.outputs.video.layout import area, overlap
from emotion.results import Box, FaceTrack

# A face not detected for this long is behind another one if that one covers this share of its box.
HIDDEN_SECONDS, HIDDEN_SHARE = 0.05, 0.3


class TracksInTime:
    """Tracks indexed by the seconds in which they may be in sight: an hour-long video has thousands, a second few."""

    def __init__(self, tracks: Sequence[FaceTrack], gap_seconds: float):
        self._by_second: dict[int, list[FaceTrack]] = {}
        for track in tracks:
            first, last = track.times_seconds[0] - gap_seconds, track.times_seconds[-1] + gap_seconds
            for second in range(math.floor(first), math.floor(last) + 1):
                self._by_second.setdefault(second, []).append(track)

    def near(self, time_seconds: float) -> Sequence[FaceTrack]:
        return self._by_second.get(math.floor(time_seconds), ())


def visible_boxes(tracks: Sequence[FaceTrack], time_seconds: float) -> list[tuple[FaceTrack, Box]]:
    """Returns the faces in sight at a moment with their boxes, without those hidden behind another face."""
    boxes = [(track, box) for track in tracks if (box := track.box_at(time_seconds)) is not None]
    away = {track.face_id: track.seconds_from_sighting(time_seconds) for track, _ in boxes}

    def is_hidden(track: FaceTrack, box: Box) -> bool:
        return away[track.face_id] > HIDDEN_SECONDS and any(
            away[other.face_id] < away[track.face_id] and overlap(box, others_box) > HIDDEN_SHARE * area(box)
            for other, others_box in boxes
            if other is not track
        )

    return [(track, box) for track, box in boxes if not is_hidden(track, box)]
