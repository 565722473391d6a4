"""The thin timeline along the bottom of an annotated video: which emotion prevailed when, filling as it plays."""

import numpy as np

from emotion.media.pictures import Canvas
from emotion.outputs.palette import DARK, WHITE, Colour, emotion_colour
from emotion.outputs.timeline import Judgement, is_shown
from emotion.outputs.video.text import Tile, blend_tile, render_mark
from emotion.results import FaceTrack, MediaPrediction

ROW_SHARE, MIN_ROW_PIXELS = 1 / 72, 4  # of the picture's shorter side
MAX_ROWS = 4  # of faces; the others have none
MIN_LABEL_PIXELS = 9  # a row less high has no number
BACK_OPACITY, AHEAD_OPACITY = 0.75, 0.3  # of the strip, and of the colours of what is still to come
SHORTEST_SECONDS = 0.5  # a shorter file has no timeline


class TimelineStrip:
    """Rows of colour over the whole width, one for each of the faces most in sight, and one for a voice by itself.

    Args:
        prediction: what was found.
        width, height: of the picture in pixels.
    """

    def __init__(self, prediction: MediaPrediction, width: int, height: int):
        self._start = prediction.start_seconds
        self._seconds = prediction.duration_seconds
        rows = _rows(prediction) if self._seconds >= SHORTEST_SECONDS else []
        smallest = MIN_LABEL_PIXELS if len(rows) > 1 else MIN_ROW_PIXELS
        row_pixels = max(smallest, round(min(width, height) * ROW_SHARE))
        gap = max(1, row_pixels // 6)
        self.height = len(rows) * (row_pixels + gap) + gap if rows else 0
        if self.height > height:  # a picture less high than its timeline has none
            rows, self.height = [], 0
        self._top = height - self.height
        self._tiles = self._draw(rows, width, row_pixels, gap) if rows else None

    def draw(self, canvas: Canvas, time_seconds: float) -> None:
        """Draws the strip as it is at a moment into a picture, in place."""
        if self._tiles is None:
            return
        played, ahead = self._tiles
        width = played.size[0]
        now = int(np.clip(round((time_seconds - self._start) / self._seconds * width), 0, width))
        # The head is as wide as the gap between rows is high, and never less than can be seen on a telephone.
        head = max(2, width // 400)
        with canvas.region((0, self._top, *reversed(canvas.shape[:2]))) as region:
            blend_tile(region, _columns(played, 0, now), left=0, top=0)
            blend_tile(region, _columns(ahead, now, width), left=now, top=0)
            region[:, max(0, now - head) : max(head, now)] = WHITE

    def _draw(self, rows, width: int, row_pixels: int, gap: int) -> tuple[Tile, Tile]:
        colours = np.full((self.height, width, 3), DARK, np.float32)
        filled = np.zeros((self.height, width, 1), bool)
        moments = self._start + (np.arange(width) + 0.5) / width * self._seconds
        for index, (_, judgement, track) in enumerate(rows):
            top = gap + index * (row_pixels + gap)
            line = [_colour_at(judgement, track, time) for time in moments.tolist()]
            for column, colour in enumerate(line):
                if colour is not None:
                    colours[top : top + row_pixels, column] = colour
                    filled[top : top + row_pixels, column] = True
        played = _tile(colours, np.where(filled, 1.0, BACK_OPACITY))
        dim = np.where(filled, AHEAD_OPACITY * colours + (1 - AHEAD_OPACITY) * np.array(DARK), colours)
        ahead = _tile(dim, np.full(filled.shape, BACK_OPACITY))
        if len(rows) > 1 and row_pixels >= MIN_LABEL_PIXELS:
            for tile in (played, ahead):
                for index, (label, _, _) in enumerate(rows):
                    _mark(tile, label, gap, gap + index * (row_pixels + gap), row_pixels)
        return played, ahead


def _rows(prediction: MediaPrediction) -> list[tuple[str, Judgement, FaceTrack | None]]:
    main = sorted(prediction.tracks, key=lambda track: -track.total_area)[:MAX_ROWS]
    rows = [
        (str(track.face_id), Judgement.of(prediction, track.face_id), track)
        for track in sorted(main, key=lambda track: track.face_id)
    ]
    rows.append(("v", Judgement.of(prediction, None), None))
    # A voice may have been judged in windows that nowhere are the nearest.
    return [row for row in rows if row[1].is_judged and row[1].spans]


def _colour_at(judgement: Judgement, track: FaceTrack | None, time_seconds: float) -> Colour | None:
    if not is_shown(judgement, track, time_seconds):
        return None
    return emotion_colour(judgement.answer_at(time_seconds).emotion)


def _tile(colours: np.ndarray, opacity: np.ndarray) -> Tile:
    see_through = np.round(255 * (1 - opacity)).astype(np.uint8)
    return Tile(np.round(colours * opacity).astype(np.uint8), np.repeat(see_through, 3, axis=2))


def _mark(tile: Tile, label: str, left: int, top: int, row_pixels: int) -> None:
    """Sets a row's label on a dark ground, in place."""
    mark = render_mark(label, row_pixels)
    width, height = mark.size
    place = np.s_[top : top + height, left : left + width]
    tile.colours[place] = mark.colours
    tile.see_through[place] = mark.see_through


def _columns(tile: Tile, left: int, right: int) -> Tile:
    return Tile(tile.colours[:, left:right], tile.see_through[:, left:right])
