"""The timeline along the bottom of an annotated video, which fills with the emotions' colours as it plays."""

import numpy as np

from emotion.media.pictures import Canvas
from emotion.outputs.palette import DARK, WHITE, emotion_colour
from emotion.outputs.timeline import TimelineRow
from emotion.outputs.video.text import Tile, blend_tile, render_mark
from emotion.results import MediaPrediction

ROW_SHARE, MIN_ROW_PIXELS = 1 / 72, 4  # of the picture's shorter side
MAX_ROWS = 4  # faces
MIN_LABEL_PIXELS = 9  # a lower row has no label
BACK_OPACITY, AHEAD_OPACITY = 0.75, 0.3  # of the strip, and of the colours still to come
SHORTEST_SECONDS = 0.5  # a shorter file has no timeline


class TimelineStrip:
    """A row of colour for each of the largest faces, and one for the voice where it is judged by itself.

    ``width`` and ``height`` are the frame's, in pixels.
    """

    def __init__(self, prediction: MediaPrediction, width: int, height: int):
        self._start = prediction.start_seconds
        self._seconds = prediction.duration_seconds
        rows = _rows(prediction) if self._seconds >= SHORTEST_SECONDS else []
        smallest = MIN_LABEL_PIXELS if len(rows) > 1 else MIN_ROW_PIXELS
        row_pixels = max(smallest, round(min(width, height) * ROW_SHARE))
        gap = max(1, row_pixels // 6)
        self.height = len(rows) * (row_pixels + gap) + gap if rows else 0
        if self.height > height:  # a frame lower than its timeline has none
            rows, self.height = [], 0
        self._top = height - self.height
        self._tiles = self._draw(rows, width, row_pixels, gap) if rows else None

    def draw(self, canvas: Canvas, time_seconds: float) -> None:
        """Draws the strip, filled up to a moment, in place."""
        if self._tiles is None:
            return
        played, ahead = self._tiles
        width = played.size[0]
        now = int(np.clip(round((time_seconds - self._start) / self._seconds * width), 0, width))
        head = max(2, width // 400)  # wide enough to be seen on a phone
        with canvas.region((0, self._top, *reversed(canvas.shape[:2]))) as region:
            blend_tile(region, _columns(played, 0, now), left=0, top=0)
            blend_tile(region, _columns(ahead, now, width), left=now, top=0)
            region[:, max(0, now - head) : max(head, now)] = WHITE

    def _draw(self, rows: list[TimelineRow], width: int, row_pixels: int, gap: int) -> tuple[Tile, Tile]:
        colours = np.full((self.height, width, 3), DARK, np.float32)
        filled = np.zeros((self.height, width, 1), bool)
        moments = self._start + (np.arange(width) + 0.5) / width * self._seconds
        for index, row in enumerate(rows):
            top = gap + index * (row_pixels + gap)
            for column, time in enumerate(moments.tolist()):
                answer = row.answer_at(time)
                if answer is not None:
                    colours[top : top + row_pixels, column] = emotion_colour(answer.emotion, row.class_names)
                    filled[top : top + row_pixels, column] = True
        played = _tile(colours, np.where(filled, 1.0, BACK_OPACITY))
        dim = np.where(filled, AHEAD_OPACITY * colours + (1 - AHEAD_OPACITY) * np.array(DARK), colours)
        ahead = _tile(dim, np.full(filled.shape, BACK_OPACITY))
        if len(rows) > 1 and row_pixels >= MIN_LABEL_PIXELS:
            for tile in (played, ahead):
                for index, row in enumerate(rows):
                    label = str(row.track.face_id) if row.track else "v"
                    _mark(tile, label, gap, gap + index * (row_pixels + gap), row_pixels)
        return played, ahead


def _rows(prediction: MediaPrediction) -> list[TimelineRow]:
    largest = sorted(prediction.tracks, key=lambda track: -track.total_area)[:MAX_ROWS]
    rows = [TimelineRow.of_face(prediction, track) for track in sorted(largest, key=lambda track: track.face_id)]
    voice = TimelineRow.of_voice(prediction)
    return [row for row in rows if row.is_judged] + [voice] * bool(voice.spans)


def _tile(colours: np.ndarray, opacity: np.ndarray) -> Tile:
    see_through = np.round(255 * (1 - opacity)).astype(np.uint8)
    return Tile(np.round(colours * opacity).astype(np.uint8), np.repeat(see_through, 3, axis=2))


def _mark(tile: Tile, label: str, left: int, top: int, row_pixels: int) -> None:
    """Draws a row's label on a dark background, in place."""
    mark = render_mark(label, row_pixels)
    width, height = mark.size
    place = np.s_[top : top + height, left : left + width]
    tile.colours[place] = mark.colours
    tile.see_through[place] = mark.see_through


def _columns(tile: Tile, left: int, right: int) -> Tile:
    return Tile(tile.colours[:, left:right], tile.see_through[:, left:right])
