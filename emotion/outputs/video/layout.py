"""Computes where plates and bars go on a frame, in pixels.

A rectangle is a box ``(x1, y1, x2, y2)``; its right and bottom edges are exclusive.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emotion.results import Box

Size = tuple[int, int]  # width and height

MIN_FONT_PIXELS = 11
FONT_SHARE = 1 / 34  # of the frame's shorter side
LINE_SHARE = 1 / 240
MIN_LINE_PIXELS = 2  # yuv420p halves the colour planes, so a line of one pixel would lose its colour
MARGIN_SHARE = 1 / 50  # between a plate that belongs to no face and the frame's edge
MIN_BOX_HEIGHT_PER_PANEL = 0.8  # a face much smaller than its bars gets no bars
N_PLACES_BESIDE = 3  # to the right of a face, to its left, and below
MAX_HIDDEN_SHARE = 0.1  # of a face that fills the frame: what its own bars in a corner may hide

# The cost of a plate's place per pixel covered: other plates are worst, then other faces, then its own face. Each later
# choice also costs a share of the plate's area, so that plates do not jump for little.
PLATE_OVERLAP_COST, OTHER_FACE_COST, OWN_FACE_COST, LATER_PLACE_COST = 20.0, 1.0, 0.5, 0.02


@dataclass(frozen=True)
class Scale:
    """A frame's size, and the sizes of letters, lines and margins that follow from it.

    ``height`` is that of the part where labels may go, above the timeline.
    """

    width: int
    height: int
    font_size: int
    line: int
    margin: int

    @classmethod
    def of(cls, width: int, height: int, *, kept_free: int = 0) -> "Scale":
        """Returns the sizes for a frame whose lowest ``kept_free`` pixels take no labels."""
        short = min(height, width)
        return cls(
            width=width,
            height=height - kept_free,
            font_size=max(MIN_FONT_PIXELS, round(short * FONT_SHARE)),
            line=max(MIN_LINE_PIXELS, round(short * LINE_SHARE)),
            margin=round(short * MARGIN_SHARE),
        )

    def moved_inside(self, left: int, top: int, size: Size) -> Box:
        """Returns a rectangle inside the frame, as near to this upper left corner as possible."""
        left = max(0, min(left, self.width - size[0]))
        top = max(0, min(top, self.height - size[1]))
        return rectangle(left, top, size)

    def holds(self, box: Box) -> bool:
        return box[0] >= 0 and box[1] >= 0 and box[2] <= self.width and box[3] <= self.height


def rectangle(left: int, top: int, size: Size) -> Box:
    return left, top, left + size[0], top + size[1]


def area(box: Box) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def overlap(first: Box, second: Box) -> int:
    """Returns the number of pixels that two rectangles share."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return width * height if width > 0 and height > 0 else 0


def place_plate(size: Size, box: Box, scale: Scale, *, boxes: Sequence[Box], taken: Sequence[Box]) -> Box:
    """Returns the rectangle where a face's plate hides least: above its box, below, beside, inside, or further off.

    ``boxes`` are all faces in the frame, this one included; ``taken`` are the plates placed before.
    """
    best, lowest = None, float("inf")
    for index, (left, top) in enumerate(_corners_by_preference(size, box, scale.line)):
        cost = LATER_PLACE_COST * index * size[0] * size[1]
        if cost >= lowest:
            break
        place = scale.moved_inside(left, top, size)
        cost += PLATE_OVERLAP_COST * sum(overlap(place, other) for other in taken)
        cost += sum(overlap(place, face) * (OWN_FACE_COST if face == box else OTHER_FACE_COST) for face in boxes)
        if cost < lowest:
            best, lowest = place, cost
    return best


def _corners_by_preference(size: Size, box: Box, gap: int) -> Iterator[tuple[int, int]]:
    x1, y1, x2, y2 = box
    width, height = size
    lefts = x1 - gap, x2 + gap - width  # flush with the outer edges of the line
    above, below = y1 - gap - height, y2 + gap
    beside = (x2 + 2 * gap, y1), (x1 - 2 * gap - width, y1)
    yield from ((left, top) for top in (above, below) for left in lefts)
    yield from beside
    yield from ((left, top) for top in (y1 + gap, y2 - gap - height) for left in lefts)
    for step in (1, 2, 3):
        yield from ((left, top) for top in (above - step * height, below + step * height) for left in lefts)


def place_bars(
    size: Size, box: Box, scale: Scale, *, taken: Sequence[Box], is_alone: bool = False, before: int | None = None
) -> tuple[int, Box] | None:
    """Chooses a free place for a face's bars: to its right, to its left, or below.

    Args:
        size: of the panel.
        box: the face.
        scale: of the frame.
        taken: other faces, plates and panels, none of which may be covered.
        is_alone: whether no other face is in sight. Then the panel may also go into a corner of the frame, where it may
            cover a little of the face.
        before: the choice to keep if it is free, so that panels do not jump.

    Returns:
        The number of the choice and the panel's rectangle, or None if there is no room.
    """
    gap = 2 * scale.line
    beside = _places_beside(size, box, scale)
    right, bottom = scale.width - gap - size[0], scale.height - gap - size[1]
    corners = [rectangle(left, top, size) for top in (bottom, gap) for left in (right, gap)]
    free = []
    for index, place in enumerate(beside + corners * is_alone):
        hidden = overlap(place, box)
        may_hide = MAX_HIDDEN_SHARE * area(box) if index >= len(beside) else 0
        if scale.holds(place) and hidden <= may_hide and not any(overlap(place, other) for other in taken):
            free.append((index, place, hidden))
    for index, place, _ in free:
        if index == before:
            return index, place
    index, place, _ = min(free, key=lambda choice: (choice[2] > 0, choice[2], choice[0]), default=(None, None, 0))
    return None if place is None else (index, place)


def is_free_beside(index: int, size: Size, box: Box, scale: Scale, *, taken: Sequence[Box]) -> bool:
    """Whether one of the first ``N_PLACES_BESIDE`` choices of ``place_bars`` is in the frame and covers nothing."""
    place = _places_beside(size, box, scale)[index]
    return scale.holds(place) and not any(overlap(place, other) for other in taken)


def _places_beside(size: Size, box: Box, scale: Scale) -> list[Box]:
    x1, y1, x2, y2 = box
    gap = 2 * scale.line
    return [rectangle(left, top, size) for left, top in ((x2 + gap, y1), (x1 - gap - size[0], y1), (x1, y2 + gap))]
