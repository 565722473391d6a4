"""Draws a result onto a video's frames: each face's box, emotion and confidence, the voice, and a timeline.

Sizes follow the frame's shorter side, so that labels look alike at 240p and at 4K.
"""

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emotion.media.pictures import Canvas, RgbPicture
from emotion.outputs.palette import DARK, Colour, emotion_colour
from emotion.outputs.timeline import TimelineRow
from emotion.outputs.video.bars import MAX_SAMPLES, BarPlaces
from emotion.outputs.video.layout import Scale, area, overlap, place_plate
from emotion.outputs.video.marks import blur_face, draw_box, widen
from emotion.outputs.video.sightings import TracksInTime, visible_boxes
from emotion.outputs.video.text import (
    TextRun,
    Tile,
    draw_tile,
    face_plates,
    names_width,
    panel_size,
    plate_that_fits,
    render_bars,
)
from emotion.outputs.video.timeline_strip import TimelineStrip
from emotion.results import UNSURE, Box, EmotionSummary, FaceTrack, MediaPrediction, in_percent

N_BARS = 3
NOTICE = "Emotions recognised by AI"
SHRUNK_SECONDS = 1.0  # how long a plate that had to make room stays small
MIN_PLATES_PER_FACE = 4  # heights of a plate in that of a face that it may lie on
NO_EVIDENCE = EmotionSummary.of(None, (), evidence="none")
BLUR_GAP_SECONDS = 2.0  # a face lost for up to this long stays blurred; before and after its track, a quarter of it


class Annotator:
    """Draws the results for one media file on its frames.

    Args:
        notice: whether to state on every frame that an emotion recognition system is in use, as the EU's AI Act
            requires of its users (Regulation 2024/1689, Article 50).
        blur_faces: whether to make all faces unrecognisable, including those without a result.
        hidden: what else to blur: boxes by the time of the picture.
        timeline: whether to draw the timeline along the bottom.
    """

    def __init__(
        self,
        prediction: MediaPrediction,
        *,
        notice: bool = False,
        blur_faces: bool = False,
        hidden: Mapping[float, Sequence[Box]] | None = None,
        timeline: bool = True,
    ):
        self._notice = notice
        self.blur_faces = blur_faces
        self._hidden, self._hidden_times = hidden or {}, sorted(hidden or {})
        self._has_timeline = timeline
        self._notice_corner: tuple[int, int] | None = None
        self.bar_places = BarPlaces()
        self._shrunk: dict[int, tuple[int, float]] = {}  # by ``face_id``: which plate fitted, and since when
        self.show(prediction)

    def show(self, prediction: MediaPrediction) -> None:
        """Replaces the results while a camera is watched; labels keep their places."""
        self._prediction = prediction
        self._blurred = TracksInTime(
            (*prediction.tracks, *prediction.passed_over) if self.blur_faces else (), BLUR_GAP_SECONDS
        )
        self._passed_over = TracksInTime(prediction.passed_over if self.blur_faces else (), BLUR_GAP_SECONDS)
        self.bar_places.follow(prediction.tracks)
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

    def _hidden_near(self, time_seconds: float) -> list[Box]:
        """Returns where to blur. A damaged file may show other pictures when it is read again: then both neighbours."""
        if time_seconds in self._hidden:
            return self._hidden[time_seconds]
        place = bisect.bisect(self._hidden_times, time_seconds)
        return [box for time in self._hidden_times[max(0, place - 1) : place + 1] for box in self._hidden[time]]

    def draw(self, canvas: Canvas, time_seconds: float) -> None:
        """Draws the same as ``annotate``, but in place."""
        height, width = canvas.shape[:2]
        followed = [track.box_at(time_seconds, BLUR_GAP_SECONDS) for track in self._blurred.near(time_seconds)]
        blurred: list[Box] = []
        for box in (*self._hidden_near(time_seconds), *followed):
            if box is not None and not any(overlap(box, widen(other)) == area(box) for other in blurred):
                blur_face(canvas, box)
                blurred.append(box)
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
            tile, place = self._choose_plate(face, time_seconds, scale, boxes=boxes, taken=taken)
            taken.append(place)
            yield tile, place
        names_pixels = names_width(self._class_names, scale.font_size)
        for face in faces:
            bars = face.bars(N_BARS)
            size = panel_size(len(bars), scale.font_size, names_pixels)
            others = [other.box for other in faces if other is not face] + unmarked
            place = self.bar_places.choose(
                face.track, face.box, size if bars else None, time_seconds, scale, others=others, taken=taken
            )
            if place is not None:
                taken.append(place)
                yield render_bars(bars, scale.font_size, names_pixels), place

    def _choose_plate(
        self, face: "_Subject", time_seconds: float, scale: Scale, *, boxes: Sequence[Box], taken: Sequence[Box]
    ) -> tuple[Tile, Box]:
        """Returns the largest plate that hides least, and its place. A plate that shrank stays small for a while."""
        height = self.bar_places.usual_height(face.track)
        tiles = face_plates(face.runs, face.colour, scale, height)
        # A label on a large face hides little of it.
        faces = [box for box in boxes if box != face.box or height < MIN_PLATES_PER_FACE * tiles[0].size[1]]
        smallest, since = self._shrunk.get(face.track.face_id, (0, -SHRUNK_SECONDS))
        if not 0 <= time_seconds - since < SHRUNK_SECONDS:
            smallest = 0
        best, lowest = None, float("inf")
        for size in range(min(smallest, len(tiles) - 1), len(tiles)):
            place = place_plate(tiles[size].size, face.box, scale, boxes=boxes, taken=taken)
            hidden = sum(overlap(place, other) for other in (*faces, *taken))
            if hidden < lowest:
                best, lowest = (size, place), hidden
            if not hidden:
                break
        if best[0] != smallest or not best[0]:
            self._shrunk[face.track.face_id] = best[0], time_seconds
        return tiles[best[0]], best[1]

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
        return emotion_colour(self.answer.emotion, self.class_names)

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
        return tuple((name, percent, emotion_colour(name, self.class_names)) for name, percent in names_and_percents)
