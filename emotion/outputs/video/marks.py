"""Draws the box of a face, and blurs a face beyond recognition."""

import cv2
import numpy as np

from emotion.media.pictures import Canvas
from emotion.outputs.palette import DARK, Colour
from emotion.outputs.video.layout import Scale, area
from emotion.results import Box

CORNER_SHARE = 0.08  # of the box's shorter side
MOSAIC_CELLS = 7  # per side: enough to see a face, too few to recognise it
# Of the box's size, on every side: of the ellipse that is blurred, and of the largest rectangle in it.
BLUR_MARGIN, CORNER_MARGIN = 0.25, 0.03


def draw_box(canvas: Canvas, box: Box, colour: Colour, scale: Scale) -> None:
    """Draws a box as a line with round corners, centred on the box's outermost pixels and kept inside the frame."""
    rim = max(1, scale.line // 2)
    inset = rim + scale.line // 2 + 1  # OpenCV's smooth lines are a pixel wider on each side
    x1, x2 = (max(inset, min(x, scale.width - 1 - inset)) for x in (box[0], box[2] - 1))
    y1, y2 = (max(inset, min(y, scale.height - 1 - inset)) for y in (box[1], box[3] - 1))
    radius = max(0, min(round(min(x2 - x1, y2 - y1) * CORNER_SHARE), 6 * scale.line))
    right, bottom, left, top = x2 - radius, y2 - radius, x1 + radius, y1 + radius
    corners = [
        cv2.ellipse2Poly(centre, (radius, radius), 0, 90 * quarter, 90 * (quarter + 1), 10)
        for quarter, centre in enumerate(((right, bottom), (left, bottom), (left, top), (right, top)))
    ]
    outline = np.concatenate(corners)
    for part in _frame_around((x1, y1, x2, y2), radius, inset, scale):
        with canvas.region(part) as region:
            moved = [outline - np.array(part[:2], outline.dtype)]
            cv2.polylines(region, moved, True, DARK, scale.line + 2 * rim, cv2.LINE_AA)
            cv2.polylines(region, moved, True, colour, scale.line, cv2.LINE_AA)


def _frame_around(outline: Box, radius: int, reach: int, scale: Scale) -> list[Box]:
    """Returns the parts of the frame that hold a line's pixels: above, below and beside the face.

    ``radius`` is that of the line's corners, ``reach`` the pixels it covers on each side of its middle.
    """
    x1, y1, x2, y2 = outline
    left, right = max(0, x1 - reach), min(scale.width, x2 + reach + 1)
    top, bottom = max(0, y1 - reach), min(scale.height, y2 + reach + 1)
    upper = min(bottom, y1 + radius + reach)
    lower = max(upper, y2 - radius - reach)
    if x2 - x1 < 8 * reach or y2 - y1 < 8 * reach:  # OpenCV draws lines less smoothly at the edge of a part
        return [(left, top, right, bottom)] if left < right and top < bottom else []
    inner_left = min(right, x1 + reach + 1)
    inner_right = max(inner_left, x2 - reach)
    parts = [
        (left, top, right, upper),
        (left, lower, right, bottom),
        (left, upper, inner_left, lower),
        (inner_right, upper, right, lower),
    ]
    return [part for part in parts if area(part)]


def widen(box: Box) -> Box:
    """Returns a box that is blurred together with one: as much larger as the corners of its patch allow."""
    x1, y1, x2, y2 = box
    across, down = (round(CORNER_MARGIN * side) for side in (x2 - x1, y2 - y1))
    return x1 - across, y1 - down, x2 + across, y2 + down


def blur_face(canvas: Canvas, box: Box) -> None:
    """Blurs a face in place to a few smooth patches."""
    height, width = canvas.shape[:2]
    x1, y1, x2, y2 = box
    margin_x, margin_y = BLUR_MARGIN * (x2 - x1), BLUR_MARGIN * (y2 - y1)
    left, right = max(0, round(x1 - margin_x)), min(width, round(x2 + margin_x))
    top, bottom = max(0, round(y1 - margin_y)), min(height, round(y2 + margin_y))
    if left >= right or top >= bottom:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    centre = (round((x1 + x2) / 2) - left, round((y1 + y2) / 2) - top)
    radii = max(1, round((x2 - x1) / 2 + margin_x)), max(1, round((y2 - y1) / 2 + margin_y))
    cv2.ellipse(mask, centre, radii, 0, 0, 360, 255, -1)
    with canvas.region((left, top, right, bottom)) as region:
        cells = cv2.resize(region, (MOSAIC_CELLS, MOSAIC_CELLS), interpolation=cv2.INTER_AREA)
        patches = cv2.resize(cells, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        region[mask > 0] = patches[mask > 0]
