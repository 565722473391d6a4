"""Label plates and bar panels: each is drawn once, cached, and blended into frames.

OpenCV's own font is hard to read at small sizes, so Pillow sets the text in DejaVu Sans, which matplotlib brings along
on every system.
"""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from emotion.media.pictures import Canvas
from emotion.outputs.palette import DARK, WHITE, Colour, text_colour
from emotion.outputs.video.layout import MIN_FONT_PIXELS, Scale

READABLE_FONT_PIXELS = MIN_FONT_PIXELS - 2
FONT_OF_FACE = 0.4  # letters that suit a face, in heights of it
SMALLEST_FONT_PIXELS = 5  # in a frame too narrow for its label
RIM_OPACITY = 0.8  # of the dark rim that separates a plate from a background of its own colour
PANEL_OPACITY = 0.72
TRACK_OPACITY = 0.22  # of the full length behind a bar
PANEL_TEXT_SCALE = 0.8  # of the plate's font size
MIN_PANEL_FONT_PIXELS = 9
BAR_LENGTH = 5.5  # font sizes
OVERSAMPLING = 4  # for smooth round corners
MAX_TILES = 128  # cached; a plate at 4K takes 0.3 MB


@dataclass(frozen=True)
class Tile:
    """A small picture with transparency.

    Attributes:
        colours: ``(height, width, 3)`` uint8, RGB already multiplied by the opacity.
        see_through: ``(height, width, 3)`` uint8, from 0 (opaque) to 255 (transparent), the same in all three channels.
    """

    colours: np.ndarray
    see_through: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.colours.shape[1], self.colours.shape[0]


@dataclass(frozen=True)
class TextRun:
    """A stretch of text in one weight."""

    text: str
    is_bold: bool = False


def blend_tile(image: np.ndarray, tile: Tile, left: int, top: int) -> None:
    """Draws a tile into an RGB image ``(height, width, 3)`` uint8 in place; parts outside the image are cut off."""
    width, height = tile.size
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + width, image.shape[1]), min(top + height, image.shape[0])
    if x1 >= x2 or y1 >= y2:
        return
    part = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
    region = image[y1:y2, x1:x2]
    region[:] = cv2.add(cv2.multiply(region, tile.see_through[part], scale=1 / 255), tile.colours[part])


def draw_tile(canvas: Canvas, tile: Tile, left: int, top: int) -> None:
    """Draws a tile into a canvas in place; parts outside it are cut off."""
    height, width, _ = canvas.shape
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + tile.size[0], width), min(top + tile.size[1], height)
    if x1 < x2 and y1 < y2:
        with canvas.region((x1, y1, x2, y2)) as region:
            blend_tile(region, tile, left - x1, top - y1)


def plate_size(runs: tuple[TextRun, ...], font_size: int) -> tuple[int, int]:
    """Returns width and height in pixels of the plate that ``render_plate`` draws."""
    gap, padding, rim = _spacing(font_size)
    text_width = sum(_text_mask(run.text, font_size, run.is_bold).width for run in runs) + gap * (len(runs) - 1)
    return text_width + 2 * (padding + rim), _line_height(font_size) + 2 * (max(1, font_size // 10) + rim)


@functools.lru_cache(maxsize=MAX_TILES)
def render_plate(runs: tuple[TextRun, ...], font_size: int, background: Colour) -> Tile:
    """Draws text, dark or white, on a rounded plate with a dark rim."""
    gap, padding, rim = _spacing(font_size)
    width, height = plate_size(runs, font_size)
    canvas = _Canvas(width, height)
    radius = max(2, font_size // 4)
    canvas.add(_rounded_mask(width, height, radius + rim, RIM_OPACITY), DARK, 0, 0)
    canvas.add(_rounded_mask(width - 2 * rim, height - 2 * rim, radius), background, rim, rim)
    left = rim + padding
    for run in runs:
        mask = _text_mask(run.text, font_size, run.is_bold)
        canvas.add(mask, text_colour(background), left, (height - mask.height) // 2)
        left += mask.width + gap
    return canvas.tile()


def plate_that_fits(runs: tuple[TextRun, ...], colour: Colour, scale: Scale) -> Tile:
    """Draws a plate no larger than the frame.

    If the label is too wide, the letters shrink to the smallest readable size, then the evidence goes, then all of the
    name but its last word ("1 happy 87 %"), then the letters shrink as far as they must.
    """
    shortened = _shorten(runs)
    choices = ((runs, READABLE_FONT_PIXELS), (runs[:3], READABLE_FONT_PIXELS), (shortened, SMALLEST_FONT_PIXELS))
    for text, smallest in choices:
        for font_size in range(scale.font_size, smallest - 1, -1):
            width, height = plate_size(text, font_size)
            if width <= scale.width and height <= scale.height:
                return render_plate(text, font_size, colour)
    return render_plate(shortened, SMALLEST_FONT_PIXELS, colour)


def face_plates(runs: tuple[TextRun, ...], colour: Colour, scale: Scale, face_height: float) -> list[Tile]:
    """Draws a face's plate in letters that suit its height in pixels, then ever smaller ones for where room is short.

    Further ones lose the evidence, then all of the name but its last word, and then a quarter of the letters' size.
    """
    large = min(scale.font_size, max(READABLE_FONT_PIXELS, round(face_height * FONT_OF_FACE)))
    small = min(large, max(READABLE_FONT_PIXELS, round(0.75 * large)))
    suited = dataclasses.replace(scale, font_size=large)
    shorter = [(text, font) for font in (large, small) for text in (runs[:3], _shorten(runs))]
    choices = dict.fromkeys((text, font) for text, font in shorter if text != runs or font != large)
    return [plate_that_fits(runs, colour, suited), *(render_plate(*choice, colour) for choice in choices)]


def _shorten(runs: tuple[TextRun, ...]) -> tuple[TextRun, ...]:
    return (TextRun(runs[0].text.split()[-1]), *runs[1:3]) if len(runs) > 1 else runs


@functools.lru_cache(maxsize=MAX_TILES)
def render_bars(rows: tuple[tuple[str, int, Colour], ...], font_size: int, names_pixels: int) -> Tile:
    """Draws horizontal bars, each (name, percent, colour), on a dark translucent panel.

    ``font_size`` is that of the plate beside it, ``names_pixels`` the width kept for names.
    """
    size = _panel_font_size(font_size)
    width, height = panel_size(len(rows), font_size, names_pixels)
    gap, padding, _ = _spacing(size)
    canvas = _Canvas(width, height)
    canvas.add(_rounded_mask(width, height, max(2, font_size // 4), PANEL_OPACITY), DARK, 0, 0)
    bar_left = padding + names_pixels + gap
    bar_width, bar_height = width - padding - bar_left, max(3, size // 2)
    radius = max(1, bar_height // 4)
    for row, (name, percent, colour) in enumerate(rows):
        mask = _text_mask(name, size, False)
        top = padding // 2 + row * _row_height(size)
        canvas.add(mask, WHITE, padding, top + (_row_height(size) - mask.height) // 2)
        bar_top = top + (_row_height(size) - bar_height) // 2
        canvas.add(_rounded_mask(bar_width, bar_height, radius, TRACK_OPACITY), WHITE, bar_left, bar_top)
        length = max(2, round(bar_width * percent / 100))
        canvas.add(_rounded_mask(length, bar_height, radius), colour, bar_left, bar_top)
    return canvas.tile()


@functools.lru_cache(maxsize=MAX_TILES)
def render_mark(text: str, height: int) -> Tile:
    """Draws a short white text on an opaque dark rectangle ``height`` pixels high."""
    mask = _text_mask(text, max(5, round(height * 0.9)), True)
    width = mask.width + max(2, height // 3)
    canvas = _Canvas(width, height)
    canvas.add(Image.new("L", (width, height), 255), DARK, 0, 0)
    canvas.add(mask, WHITE, (width - mask.width) // 2, (height - mask.height) // 2)
    return canvas.tile()


def panel_size(n_rows: int, font_size: int, names_pixels: int) -> tuple[int, int]:
    """Returns width and height in pixels of the panel that ``render_bars`` draws."""
    size = _panel_font_size(font_size)
    gap, padding, _ = _spacing(size)
    return 2 * padding + names_pixels + gap + round(BAR_LENGTH * size), n_rows * _row_height(size) + 2 * (padding // 2)


@functools.lru_cache(maxsize=32)
def names_width(names: tuple[str, ...], font_size: int) -> int:
    """Returns the width in pixels of the longest name on a panel beside a plate of this font size."""
    return max(_text_mask(name, _panel_font_size(font_size), False).width for name in names)


def _panel_font_size(font_size: int) -> int:
    return max(MIN_PANEL_FONT_PIXELS, round(font_size * PANEL_TEXT_SCALE))


def _spacing(font_size: int) -> tuple[int, int, int]:
    """Returns the gap between runs, the padding left and right, and the rim of a plate, in pixels."""
    return max(2, round(font_size * 0.45)), max(2, round(font_size * 0.4)), max(1, round(font_size / 18))


def _row_height(font_size: int) -> int:
    return round(font_size * 1.3)


@functools.lru_cache(maxsize=32)
def _font(font_size: int, is_bold: bool) -> ImageFont.FreeTypeFont:
    import matplotlib  # costs 0.2 s, so only where text is drawn

    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    # The basic layout gives the same pixels whether or not the system has Raqm.
    return ImageFont.truetype(str(path), font_size, layout_engine=ImageFont.Layout.BASIC)


def _line_height(font_size: int) -> int:
    return sum(_font(font_size, False).getmetrics())


@functools.lru_cache(maxsize=512)
def _text_mask(text: str, font_size: int, is_bold: bool) -> Image.Image:
    """Returns the opacity (an 8-bit picture) of a text; height and baseline depend on the font size alone."""
    font = _font(font_size, is_bold)
    picture = Image.new("L", (max(1, int(np.ceil(font.getlength(text)))), _line_height(font_size)))
    ImageDraw.Draw(picture).text((0, font.getmetrics()[0]), text, fill=255, font=font, anchor="ls")
    return picture


@functools.lru_cache(maxsize=512)
def _rounded_mask(width: int, height: int, radius: int, opacity: float = 1.0) -> Image.Image:
    """Returns the opacity (an 8-bit picture) of a rectangle with round corners."""
    scale = OVERSAMPLING
    picture = Image.new("L", (width * scale, height * scale))
    corner = (width * scale - 1, height * scale - 1)
    ImageDraw.Draw(picture).rounded_rectangle((0, 0, *corner), radius=radius * scale, fill=round(255 * opacity))
    return picture.resize((width, height), Image.Resampling.BOX)


class _Canvas:
    """A transparent picture on which masks are painted one over another."""

    def __init__(self, width: int, height: int):
        self._colours = Image.new("RGB", (width, height))
        self._see_through = Image.new("L", (width, height), 255)

    def add(self, mask: Image.Image, colour: Colour, left: int, top: int) -> None:
        self._colours.paste(colour, (left, top), mask)
        self._see_through.paste(0, (left, top), mask)

    def tile(self) -> Tile:
        return Tile(np.asarray(self._colours), np.repeat(np.asarray(self._see_through)[..., None], 3, axis=2))
