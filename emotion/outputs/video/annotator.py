"""Draws a result onto a video's frames: each face's box, emotion and confidence, the voice, and a timeline.

Sizes follow the frame's shorter side, so that labels look alike at 240p and at 4K.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from emotion.media.pictures import Canvas, RgbPicture
from emotion.outputs.palette import DARK, Colour, emotion_colour
from emotion.outputs.timeline import TimelineRow
from emotion.outputs.video.layout import (
    MIN_BOX_HEIGHT_PER_PANEL,
    N_PLACES_BESIDE,
    Scale,
    area,
    is_free_beside,
    overlap,
    place_bars,
    place_plate,
)
from emotion.outputs.video.marks import blur_face, draw_box
from emotion.outputs.video.text import (
    TextRun,
    Tile,
    draw_tile,
    names_width,
    panel_size,
    plate_that_fits,
    render_bars,
)
from emotion.outputs.video.timeline_strip import TimelineStrip
from emotion.results import UNSURE, Box, EmotionSummary, FaceTrack, MediaPrediction, in_percent

N_BARS = 3
NOTICE = "Emotions recognised by AI"
BARS_HIDDEN_SECONDS = 1.0  # how long bars that had to make room stay away
LOOK_AHEAD_STEP, N_LOOKS_AHEAD = 0.25, 12  # seconds; used to find a place where bars can stay
MAX_SAMPLES = 500  # boxes of a track that are looked at
NO_EVIDENCE = EmotionSummary.of(None, (), evidence="none")
# A face not detected for this long is behind another one if that one covers this share of its box.
HIDDEN_SECONDS, HIDDEN_SHARE = 0.05, 0.3
BLUR_GAP_SECONDS = 2.0  # a face lost for up to this long stays blurred; before and after its track, a quarter of it


class Annotator:
    """Draws the results for one media file on its frames.

    Args:
        prediction: the results.
        notice: whether to state on every frame that an emotion recognition system is in use, as the EU's AI Act
            requires of its users (Regulation 2024/1689, Article 50).
        blur_faces: whether to make all faces unrecognisable, including those without a result.
        timeline: whether to draw the timeline along the bottom.
    """

    def __init__(
        self, prediction: MediaPrediction, *, notice: bool = False, blur_faces: bool = False, timeline: bool = True
    ):
        self._notice = notice
        self.blur_faces = blur_faces
        self._has_timeline = timeline
        self._notice_corner: tuple[int, int] | None = None
        self._bar_places: dict[str, int] = {}
        self._bars_hidden_until: dict[str, float] = {}
        self.show(prediction)

    def show(self, prediction: MediaPrediction) -> None:
        """Replaces the results while a camera is watched; labels keep their places."""
        self._prediction = prediction
        self._blurred = _TracksInTime((*prediction.tracks, *prediction.passed_over) if self.blur_faces else ())
        self._passed_over = _TracksInTime(prediction.passed_over if self.blur_faces else ())
        self._heights: dict[int, float] = {}
        self._strip: tuple[tuple[int, int], TimelineStrip] | None = None
        self._class_names = prediction.class_names
        self._tracks = prediction.tracks
        self._rows = {track.face_id: TimelineRow.of_face(prediction, track) for track in prediction.tracks}
        self._voice = TimelineRow.of_voice(prediction)

    def annotate(self, image: np.ndarray, time_seconds: float) -> np.ndarray:
        """Returns a copy of a frame with the results for its moment drawn on it.

        Each face in sight gets a box, a plate with its name, emotion, confidence and evidence, and bars for the most
        probable emotions where there is room. If the model is unsure, box and plate are grey, and the plate says
        "unsure" before the most probable emotion. A voice that is judged apart from the faces gets a plate in the lower
        left corner while it is heard. A timeline along the bottom fills as the video plays.

        Args:
            image: ``(height, width, 3)``, RGB uint8.
            time_seconds: when the frame is shown, on the file's own clock.

        Raises:
            ValueError: if the image has another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"image must be uint8 of shape (height, width, 3), got {image.dtype} of {image.shape}.")
        drawn = RgbPicture(np.array(image, order="C"))
        self.draw(drawn, time_seconds)
        return drawn.image

    def draw(self, canvas: Canvas, time_seconds: float) -> None:
        """Draws the same as ``annotate``, but in place."""
        height, width = canvas.shape[:2]
        for track in self._blurred.near(time_seconds):
            box = track.box_at(time_seconds, BLUR_GAP_SECONDS)
            if box is not None:
                blur_face(canvas, box)
        strip = self._strip_for(width, height)
        scale = Scale.of(width=width, height=height, kept_free=strip.height if strip else 0)
        faces = self._faces_in_sight(time_seconds, scale)
        for face in faces:
            draw_box(canvas, face.box, face.colour, scale)
        for tile, place in self._tiles(faces, time_seconds, scale):
            draw_tile(canvas, tile, left=place[0], top=place[1])
        if strip:
            strip.draw(canvas, time_seconds)

    def _strip_for(self, width: int, height: int) -> TimelineStrip | None:
        if not self._has_timeline:
            return None
        if self._strip is None or self._strip[0] != (width, height):
            self._strip = (width, height), TimelineStrip(self._prediction, width, height)
        return self._strip[1]

    def _faces_in_sight(self, time_seconds: float, scale: Scale) -> list["_Subject"]:
        # Large faces come first: viewers look at them, so their labels choose their places first.
        faces = []
        for track, box in visible_boxes(self._tracks, time_seconds):
            seen = overlap(box, (0, 0, scale.width, scale.height))
            if seen:
                answer = self._rows[track.face_id].answer_at(time_seconds) or NO_EVIDENCE
                faces.append((-seen, _Subject(track.name, answer, self._class_names, box, track)))
        return [face for _, face in sorted(faces, key=lambda pair: pair[0])]

    def _tiles(self, faces: Sequence["_Subject"], time_seconds: float, scale: Scale) -> Iterator[tuple[Tile, Box]]:
        """Yields plates and bars, with the rectangle of each."""
        boxes = [face.box for face in faces]
        unmarked = [
            box for track in self._passed_over.near(time_seconds) if (box := track.box_at(time_seconds)) is not None
        ]
        taken = []
        if self._notice:
            tile = plate_that_fits((TextRun(NOTICE),), DARK, scale)
            taken.append(self._place_notice(tile.size, scale))
            yield tile, taken[-1]
        corner = self._corner_text(time_seconds)
        if corner is not None:
            tile = plate_that_fits(*corner, scale)
            taken.append(scale.moved_inside(scale.margin, scale.height - scale.margin - tile.size[1], tile.size))
            yield tile, taken[-1]
        for face in faces:
            tile = plate_that_fits(face.runs, face.colour, scale)
            taken.append(place_plate(tile.size, face.box, scale, boxes=boxes, taken=taken))
            yield tile, taken[-1]
        names_pixels = names_width(self._class_names, scale.font_size)
        for face in faces:
            bars = face.bars(N_BARS)
            size = panel_size(len(bars), scale.font_size, names_pixels)
            others = [other.box for other in faces if other is not face] + unmarked
            choice = None
            may_have = bars and self._usual_height(face.track) >= MIN_BOX_HEIGHT_PER_PANEL * size[1]
            if may_have and time_seconds >= self._bars_hidden_until.get(face.name, -1.0):
                before = self._bar_places.get(face.name)
                if before is None or before >= N_PLACES_BESIDE:
                    # Bars leave a corner of the frame only for a place where they can stay.
                    n_free, place = self._lasting_place(face.track, size, time_seconds, scale)
                    before = place if before is None or n_free == N_LOOKS_AHEAD else before
                choice = place_bars(size, face.box, scale, taken=others + taken, is_alone=not others, before=before)
            if choice is not None:
                self._bar_places[face.name] = choice[0]
                taken.append(choice[1])
                yield render_bars(bars, scale.font_size, names_pixels), choice[1]
            elif time_seconds >= self._bars_hidden_until.get(face.name, -1.0):
                # Bars that lost their place wait, so that they do not flicker.
                self._bars_hidden_until[face.name] = time_seconds + BARS_HIDDEN_SECONDS

    def _usual_height(self, track: FaceTrack) -> float:
        """Returns a face's median height: whether it gets bars must not change from frame to frame."""
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

    def _place_notice(self, size: tuple[int, int], scale: Scale) -> Box:
        """Returns the corner in which the notice covers the least of all faces; the same in every frame."""
        if self._notice_corner is None:
            right, bottom = scale.width - scale.margin - size[0], scale.height - scale.margin - size[1]
            corners = [(left, top) for top in (scale.margin, bottom) for left in (scale.margin, right)]
            boxes = [box for track in self._tracks for box in track.boxes[:: 1 + len(track.boxes) // MAX_SAMPLES]]
            covered = [sum(overlap(scale.moved_inside(*corner, size), box) for box in boxes) for corner in corners]
            self._notice_corner = corners[int(np.argmin(covered))]
        return scale.moved_inside(*self._notice_corner, size)

    def _corner_text(self, time_seconds: float) -> tuple[tuple[TextRun, ...], Colour] | None:
        if not self._tracks and not self._voice.is_judged:
            return (TextRun("no face, no voice: no evidence"),), emotion_colour(None)
        answer = self._voice.answer_at(time_seconds)
        if answer is None:
            return None
        voice = _Subject(self._voice.name, answer, self._class_names)
        return voice.runs, voice.colour


class _TracksInTime:
    """Tracks indexed by the seconds in which they may be in sight: an hour-long video has thousands, a second few."""

    def __init__(self, tracks: Sequence[FaceTrack]):
        self._by_second: dict[int, list[FaceTrack]] = {}
        for track in tracks:
            first, last = track.times_seconds[0] - BLUR_GAP_SECONDS, track.times_seconds[-1] + BLUR_GAP_SECONDS
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


@dataclass(frozen=True)
class _Subject:
    """A face in sight, or the voice, and the text of its labels."""

    name: str
    answer: EmotionSummary
    class_names: tuple[str, ...]
    box: Box | None = None
    track: FaceTrack | None = None

    @property
    def colour(self) -> Colour:
        return emotion_colour(self.answer.emotion)

    @property
    def runs(self) -> tuple[TextRun, ...]:
        if self.answer.emotion is None:
            return TextRun(self.name), TextRun("no evidence")
        percent = in_percent(self.answer.confidence).replace("%", " %")
        if self.answer.emotion == UNSURE:
            percent = f"{self.answer.most_probable} {percent}"
        # The name "voice" already says what the evidence is.
        evidence = (TextRun(self.answer.evidence),) if self.box is not None else ()
        return TextRun(self.name), TextRun(self.answer.emotion, is_bold=True), TextRun(percent), *evidence

    def bars(self, n_bars: int) -> tuple[tuple[str, int, Colour], ...]:
        """Returns name, percent and colour of the most probable emotions, the highest first; none without evidence."""
        probabilities = self.answer.probabilities
        if probabilities is None:
            return ()
        indices = np.argsort(-probabilities, kind="stable")[:n_bars]
        names_and_percents = [(self.class_names[i], round(100 * float(probabilities[i]))) for i in indices]
        return tuple((name, percent, emotion_colour(name)) for name, percent in names_and_percents)
