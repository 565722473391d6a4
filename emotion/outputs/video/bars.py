"""Chooses which faces get bars, and where they can stay, so that they do not jump."""

from collections.abc import Sequence

import numpy as np

from emotion.outputs.video.layout import (
    MIN_BOX_HEIGHT_PER_PANEL,
    N_PLACES_BESIDE,
    Scale,
    Size,
    is_free_beside,
    place_bars,
)
from emotion.outputs.video.sightings import visible_boxes
from emotion.results import Box, FaceTrack

HIDDEN_SECONDS = 1.0  # how long bars that had to make room stay away
LOOK_AHEAD_STEP, N_LOOKS_AHEAD = 0.25, 12  # seconds; used to find a place where bars can stay
MAX_SAMPLES = 500  # boxes of a track that are looked at


class BarPlaces:
    """Remembers from frame to frame where each face's bars are.

    Attributes:
        chosen: the last choice of ``place_bars``, by ``face_id``.
    """

    def __init__(self):
        self.chosen: dict[int, int] = {}
        self._hidden_until: dict[int, float] = {}
        self.follow(())

    def follow(self, tracks: Sequence[FaceTrack]) -> None:
        """Takes the tracks of all faces, which grow while a camera is watched."""
        self._tracks = tracks
        self._heights: dict[int, float] = {}

    def choose(
        self,
        track: FaceTrack,
        box: Box,
        size: Size | None,
        time_seconds: float,
        scale: Scale,
        *,
        others: Sequence[Box],
        taken: Sequence[Box],
    ) -> Box | None:
        """Returns where a face's bars go at a moment; None if it gets none.

        ``size`` is the panel's, None without evidence; ``others`` are the other faces, ``taken`` the plates and panels.
        """
        if time_seconds < self._hidden_until.get(track.face_id, -1.0):
            return None
        choice = None
        if size is not None and self.usual_height(track) >= MIN_BOX_HEIGHT_PER_PANEL * size[1]:
            before = self.chosen.get(track.face_id)
            if before is None or before >= N_PLACES_BESIDE:
                # Bars leave a corner of the frame only for a place where they can stay.
                n_free, place = self._lasting_place(track, size, time_seconds, scale)
                before = place if before is None or n_free == N_LOOKS_AHEAD else before
            choice = place_bars(size, box, scale, taken=[*others, *taken], is_alone=not others, before=before)
        if choice is None:
            # Bars that lost their place wait, so that they do not flicker.
            self._hidden_until[track.face_id] = time_seconds + HIDDEN_SECONDS
            return None
        self.chosen[track.face_id] = choice[0]
        return choice[1]

    def usual_height(self, track: FaceTrack) -> float:
        """Returns a face's median height: bars and letters that depend on it must not change from frame to frame."""
        if track.face_id not in self._heights:
            boxes = track.boxes[:: 1 + len(track.boxes) // MAX_SAMPLES]
            self._heights[track.face_id] = float(np.median([box[3] - box[1] for box in boxes]))
        return self._heights[track.face_id]

    def _lasting_place(self, track: FaceTrack, size, time_seconds: float, scale: Scale) -> tuple[int, int | None]:
        """Returns the place beside a face where its bars can stay the longest, after the number of looks ahead."""
        longest, chosen = 0, None
        moments = time_seconds + LOOK_AHEAD_STEP * np.arange(N_LOOKS_AHEAD)
        shown = [visible_boxes(self._tracks, moment) for moment in moments]
        for index in range(N_PLACES_BESIDE):
            n_free = 0
            for boxes in shown:
                own = next((box for other, box in boxes if other is track), None)
                others = [box for other, box in boxes if other is not track]
                if own is None or not is_free_beside(index, size, own, scale, taken=others):
                    break
                n_free += 1
            if n_free > longest:
                longest, chosen = n_free, index
        return longest, chosen
