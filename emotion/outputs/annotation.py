"""Draws a result onto the pictures it belongs to: each face's box, its emotion and how sure the model is of it.

Sizes follow the picture's shorter side, so that a label reads alike at 240p and at 4K.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from emotion.outputs.judgements import Judgement, covers, join_spans
from emotion.outputs.layout import MIN_FONT_PIXELS, Scale, overlap, place_bars, place_plate
from emotion.outputs.palette import DARK, Colour, emotion_colour
from emotion.outputs.text import (
    TextRun,
    Tile,
    blend_tile,
    names_width,
    panel_size,
    plate_size,
    render_bars,
    render_plate,
)
from emotion.results import UNSURE, Box, EmotionSummary, MediaPrediction, in_percent

SMALLEST_FONT_PIXELS = 5  # where a picture is too narrow for its label
CORNER_SHARE = 0.08  # of the box's shorter side
N_BARS = 3


class Annotator:
    """Marks the faces, and the voice, of one media file on its pictures.

    Args:
        prediction: what was found in the file.
    """

    def __init__(self, prediction: MediaPrediction):
        self._class_names = prediction.class_names
        self._tracks = prediction.tracks
        self._judgements = {track.face_id: Judgement.of(prediction, track.face_id) for track in prediction.tracks}
        self._voice = Judgement.of(prediction, None)
        # A model of whole frames judges pictures without faces, and the voice together with them.
        by_frame = any("frame" in window.evidence for window in prediction.windows)
        self._voice_name = "clip" if by_frame else "voice"
        judged = [window for window in prediction.windows if window.probabilities is not None]
        voice_spans = {(window.start_seconds, window.end_seconds) for window in judged if window.face_id is None}
        face_spans = {(window.start_seconds, window.end_seconds) for window in judged if window.face_id is not None}
        self._voice_spans = join_spans(voice_spans)
        self._spans_apart = join_spans(voice_spans & face_spans)

    def annotate(self, image: np.ndarray, time_seconds: float) -> np.ndarray:
        """Draws what was found at a moment.

        A face in sight gets a box, a plate with its name, emotion and confidence, and bars for the most probable
        emotions where there is room. Where the model is unsure, box and plate are grey and the plate says so before it
        names the most probable emotion; the bars keep their colours. The voice gets a plate in the lower left corner
        where no face is in sight, and where it was judged apart from the faces.

        Args:
            image: ``(height, width, 3)``, RGB uint8; left as it is.
            time_seconds: when it is shown, on the file's own clock.

        Returns:
            A new image of the same shape.

        Raises:
            ValueError: if the image has another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"image must be uint8 of shape (height, width, 3), got {image.dtype} of {image.shape}.")
        drawn = np.array(image, order="C")
        scale = Scale.of(width=image.shape[1], height=image.shape[0])
        faces = self._faces_in_sight(time_seconds, scale)
        for face in faces:
            _draw_box(drawn, face.box, face.colour, scale)
        for tile, place in self._tiles(faces, time_seconds, scale):
            blend_tile(drawn, tile, left=place[0], top=place[1])
        return drawn

    def _faces_in_sight(self, time_seconds: float, scale: Scale) -> list["_Subject"]:
        # Large faces come first, so theirs is the first choice of places: they are the ones looked at.
        faces = []
        for track in self._tracks:
            box = track.box_at(time_seconds)
            seen = 0 if box is None else overlap(box, (0, 0, scale.width, scale.height))
            if seen:
                answer = self._judgements[track.face_id].answer_at(time_seconds)
                faces.append((-seen, _Subject(track.name, answer, self._class_names, box)))
        return [face for _, face in sorted(faces, key=lambda pair: pair[0])]

    def _tiles(self, faces: Sequence["_Subject"], time_seconds: float, scale: Scale) -> Iterator[tuple[Tile, Box]]:
        """Everything to be blended into the picture, and where."""
        boxes = [face.box for face in faces]
        taken = []
        corner = self._corner_text(time_seconds, any_face=bool(faces))
        if corner is not None:
            tile = _plate_that_fits(*corner, scale)
            taken.append(scale.moved_inside(scale.margin, scale.height - scale.margin - tile.size[1], tile.size))
            yield tile, taken[-1]
        for face in faces:
            tile = _plate_that_fits(face.runs, face.colour, scale)
            taken.append(place_plate(tile.size, face.box, scale, boxes=boxes, taken=taken))
            yield tile, taken[-1]
        names_pixels = names_width(self._class_names, scale.font_size)
        for face in faces:
            bars = face.bars(N_BARS)
            size = panel_size(len(bars), scale.font_size, names_pixels)
            place = place_bars(size, face.box, scale, taken=boxes + taken) if bars else None
            if place is not None:
                taken.append(place)
                yield render_bars(bars, scale.font_size, names_pixels), place

    def _corner_text(self, time_seconds: float, any_face: bool) -> tuple[tuple[TextRun, ...], Colour] | None:
        if not self._tracks and not self._voice.is_judged:
            return (TextRun("no face, no voice: no evidence"),), emotion_colour(None)
        if covers(self._spans_apart if any_face else self._voice_spans, time_seconds):
            answer = self._voice.answer_at(time_seconds)
            voice = _Subject(self._voice_name, answer, self._class_names)
            return voice.runs, voice.colour
        return None


@dataclass(frozen=True)
class _Subject:
    """A face in sight, or the voice, and what is to be written of it."""

    name: str
    answer: EmotionSummary
    class_names: tuple[str, ...]
    box: Box | None = None

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
        return TextRun(self.name), TextRun(self.answer.emotion, is_bold=True), TextRun(percent)

    def bars(self, n_bars: int) -> tuple[tuple[str, int, Colour], ...]:
        """Name, percent and colour of the most probable emotions, falling; nothing without evidence."""
        probabilities = self.answer.probabilities
        if probabilities is None:
            return ()
        indices = np.argsort(-probabilities, kind="stable")[:n_bars]
        names_and_percents = [(self.class_names[i], round(100 * float(probabilities[i]))) for i in indices]
        return tuple((name, percent, emotion_colour(name)) for name, percent in names_and_percents)


def _plate_that_fits(runs: tuple[TextRun, ...], colour: Colour, scale: Scale) -> Tile:
    """Draws a plate no larger than the picture.

    A picture too narrow for the label gets smaller letters down to what can be read, then the name's last word alone
    ("1 happy 87 %"), then letters as small as it takes.
    """
    shortened = (TextRun(runs[0].text.split()[-1]), *runs[1:]) if len(runs) > 1 else runs
    for text, smallest in ((runs, MIN_FONT_PIXELS - 2), (shortened, SMALLEST_FONT_PIXELS)):
        for font_size in range(scale.font_size, smallest - 1, -1):
            width, height = plate_size(text, font_size)
            if width <= scale.width and height <= scale.height:
                return render_plate(text, font_size, colour)
    return render_plate(shortened, SMALLEST_FONT_PIXELS, colour)


def _draw_box(image: np.ndarray, box: Box, colour: Colour, scale: Scale) -> None:
    """Draws a closed line with round corners, its middle on the box's outermost pixels, all of it in the picture."""
    rim = max(1, scale.line // 2)
    inset = rim + scale.line // 2 + 1  # OpenCV's smooth lines come out a pixel wider on either side
    x1, x2 = (max(inset, min(x, scale.width - 1 - inset)) for x in (box[0], box[2] - 1))
    y1, y2 = (max(inset, min(y, scale.height - 1 - inset)) for y in (box[1], box[3] - 1))
    radius = max(0, min(round(min(x2 - x1, y2 - y1) * CORNER_SHARE), 6 * scale.line))
    right, bottom, left, top = x2 - radius, y2 - radius, x1 + radius, y1 + radius
    corners = [
        cv2.ellipse2Poly(centre, (radius, radius), 0, 90 * quarter, 90 * (quarter + 1), 10)
        for quarter, centre in enumerate(((right, bottom), (left, bottom), (left, top), (right, top)))
    ]
    outline = [np.concatenate(corners)]
    cv2.polylines(image, outline, True, DARK, scale.line + 2 * rim, cv2.LINE_AA)
    cv2.polylines(image, outline, True, colour, scale.line, cv2.LINE_AA)
