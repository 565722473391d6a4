"""Finds every place where a face may be, for ``--blur_faces``: missing a face is worse than blurring a headlight.

Every frame is searched at full size and smaller, upright and in one other rotation in turn, and doubtful faces count. A
face that is found is tracked backwards to before it was found, and forwards to after it was lost.
"""

import concurrent.futures
import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from emotion.inputs.faces.appearance import Shot
from emotion.inputs.faces.detection import MAX_SIDE, YuNetDetector, find_overlap, turn_back, turn_picture
from emotion.media.pictures import VideoFrame
from emotion.results import Box

MIN_SCORE = 0.5
SMALLEST = 20  # pixels; of 40 faces as small in a 4K picture one was overlooked, and none of 40 pixels or more
FULL_SIDE = 4096  # larger pictures are shrunk to this
SHRINKING = 3  # from one size that is looked at to the next; YuNet finds faces of 10 to 300 pixels
TURNS = (1, 2, 3)  # of 90 degrees
# Of the three turns each picture gets one, so a lying face waits for three pictures; all, where pictures are further
# apart than this.
MAX_TURN_SECONDS = 0.1
# A face is followed for the first, in grey pictures of the second, as long as it correlates with how it looked by the
# third; it may move by the fourth of its size from one picture to the next. Its last place is kept for the fifth.
FOLLOW_SECONDS, FOLLOW_SIDE, MIN_CORRELATION, MAX_MOVE, HOLD_SECONDS = 2.0, 640, 0.5, 0.5, 0.5
MIN_PATCH = 6  # pixels
SAME_PLACE = 0.2  # overlap of two boxes that are about one face
SAME_FACE = 0.6  # overlap of two boxes of which one will do
MAX_CHAINS = 200  # faces at a time
STEADY_SECONDS = 0.4  # before and after a moment; the largest box of that time is blurred
MAX_MOMENTS = 5  # that a note names


@dataclass(frozen=True)
class HiddenFaces:
    """Where to blur.

    Attributes:
        boxes: by the time of the picture, in seconds.
        lost_seconds: when a face was lost from sight though nothing covers its place, or first seen inside the frame.
        smallest: pixels; faces below this may have been overlooked.
    """

    boxes: dict[float, list[Box]]
    lost_seconds: tuple[float, ...]
    smallest: int

    @property
    def note(self) -> str:
        """What to tell whoever wants to pass the pictures on."""
        words = "every frame was searched for faces to blur"
        if not any(self.boxes.values()):
            words += ", and none was found"
        if self.lost_seconds:
            moments = [f"{second:.1f} s" for second in self.lost_seconds[:MAX_MOMENTS]]
            more = f" and {len(self.lost_seconds) - MAX_MOMENTS} more" * (len(self.lost_seconds) > MAX_MOMENTS)
            words += f"; faces came into or went out of sight at {', '.join(moments)}{more}"
        return (
            f"{words}; faces below {self.smallest} pixels, or hardly visible, may be clear: look before you pass it on"
        )


@dataclass
class _Followed:
    """A face that is followed: its box, its looks in grey, and when it was last found by the detector."""

    box: Box
    patch: np.ndarray
    found_seconds: float
    lost_since: float | None = None


@dataclass(frozen=True)
class _Picture:
    time_seconds: float
    grey: np.ndarray
    scale: float


def find_faces_to_hide(frames: Iterable[VideoFrame], *, progress: Callable[[float], None] | None = None) -> HiddenFaces:
    """Searches all pictures of a video, or a still, for faces.

    Args:
        frames: in order of time.
        progress: called with the seconds done.
    """
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        seeker = _Seeker(pool)
        for frame in frames:
            seeker.look(frame)
            if progress is not None:
                progress(frame.time_seconds)
    return seeker.result()


class _Seeker:
    def __init__(self, pool: concurrent.futures.Executor):
        self._pool = pool
        self._boxes: dict[float, list[Box]] = {}
        self._lost: list[float] = []
        self._before: deque[_Picture] = deque()  # of the last ``FOLLOW_SECONDS``
        self._followed: list[_Followed] = []
        self._shot: Shot | None = None
        self._first_seconds = 0.0  # of the shot
        self._turn = 0
        self._known_turns: dict[int, float] = {}  # when a face was last found in each
        self._smallest = 1.0

    def look(self, frame: VideoFrame) -> None:
        """Takes the next picture."""
        now, shot = frame.time_seconds, Shot(frame)
        if self._shot is None or shot.is_other(self._shot):
            self._first_seconds = now
            self._followed.clear()
            self._before.clear()
            self._known_turns.clear()
        self._shot = shot
        found = self._find(frame, self._choose_turns(now))
        scale = min(1.0, FOLLOW_SIDE / max(frame.height, frame.width))
        grey = frame.luma
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        picture = _Picture(now, grey, scale)
        boxes = self._boxes.setdefault(now, [])
        followed = []
        for face in self._followed:
            if any(_is_same_place(face.box, box) for box in found):
                continue
            if self._follow_on(face, picture):
                followed.append(face)
                boxes.append(face.box)
        for box in found:
            is_new = not any(_is_same_place(face.box, box) for face in self._followed)
            if is_new and self._before:
                self._follow_back(box, picture)
            boxes.append(box)
            followed.append(_Followed(box, _cut(picture, box), now))
        self._followed = followed
        self._before.append(picture)
        while now - self._before[0].time_seconds > FOLLOW_SECONDS:
            self._before.popleft()

    def result(self) -> HiddenFaces:
        return HiddenFaces(steady(self._boxes), tuple(sorted(set(self._lost))), round(SMALLEST * self._smallest))

    def _choose_turns(self, now: float) -> set[int]:
        before = self._before[-1].time_seconds if self._before else None
        if before is None or now - before > MAX_TURN_SECONDS:
            return {0, *TURNS}
        self._turn = self._turn % len(TURNS) + 1
        return {0, self._turn, *(turn for turn, seen in self._known_turns.items() if now - seen < FOLLOW_SECONDS)}

    def _find(self, frame: VideoFrame, turns: set[int]) -> list[Box]:
        longest = max(frame.height, frame.width)
        sides = [min(longest, FULL_SIDE)]
        while sides[-1] > MAX_SIDE:
            sides.append(max(MAX_SIDE, sides[-1] // SHRINKING))
        self._smallest = max(self._smallest, longest / sides[0])
        turned = {turn: turn_picture(frame.image, turn) for turn in turns}
        looks = [(turn, side) for turn in sorted(turns) for side in sides]
        apply = self._pool.map if longest <= FULL_SIDE else map  # two looks at once at 8K would take a GB more
        answers = apply(lambda look: _detector(look[1]).detect(turned[look[0]]), looks)
        faces = [
            turn_back(face, turn, frame.width, frame.height)
            for (turn, _), found in zip(looks, answers, strict=True)
            for face in found
        ]
        found: list[Box] = []
        for face in sorted(faces, key=lambda face: -face.score):
            if not any(_is_same_place(face.box, other) for other in found):
                self._known_turns[face.quarters] = frame.time_seconds
            if not any(find_overlap(face.box, other) > SAME_FACE for other in found):
                found.append(face.box)
        return found

    def _follow_on(self, face: _Followed, picture: _Picture) -> bool:
        """Moves a face that is no longer found to where it is now; returns whether to blur there."""
        now = picture.time_seconds
        if face.lost_since is None:
            place = _locate(face, picture) if now - face.found_seconds <= FOLLOW_SECONDS else None
            if place is not None:
                face.box = place
                return True
            face.lost_since = now
            if not _is_at_edge(face.box, picture):
                self._lost.append(now)
        return now - face.lost_since <= HOLD_SECONDS

    def _follow_back(self, box: Box, picture: _Picture) -> None:
        """Blurs a face where it was before it was found."""
        face = _Followed(box, _cut(picture, box), picture.time_seconds)
        for earlier in reversed(self._before):
            known = self._boxes[earlier.time_seconds]
            if face.lost_since is None:
                place = _locate(face, earlier)
                if place is None:
                    face.lost_since = earlier.time_seconds
                    if not _is_at_edge(face.box, earlier):
                        self._lost.append(earlier.time_seconds)
                else:
                    face.box = place
                    if any(_is_same_place(place, other) for other in known):
                        return
            if face.lost_since is not None and face.lost_since - earlier.time_seconds > HOLD_SECONDS:
                return
            known.append(face.box)
        if face.lost_since is None and self._before[0].time_seconds > self._first_seconds:
            self._lost.append(self._before[0].time_seconds)  # it may have been there before


def steady(boxes: Mapping[float, Sequence[Box]]) -> dict[float, list[Box]]:
    """Returns boxes whose sizes change slowly, each of which holds all boxes of its face at that time.

    A detector's boxes of a face seen from the side tremble. A face's size is the largest of ``STEADY_SECONDS`` around
    each moment, averaged over as long, so it never falls below the face's own.

    Args:
        boxes: of each picture, by its time in seconds, rising.
    """
    chains: list[list[tuple[float, Box]]] = []
    for time, found in boxes.items():
        free = [chain for chain in chains[-MAX_CHAINS:] if time - chain[-1][0] <= STEADY_SECONDS]
        for hull in _join_places(found):
            near = max(free, key=lambda chain: find_overlap(chain[-1][1], hull), default=None)
            if near is not None and _is_same_place(near[-1][1], hull):
                free.remove(near)
            else:
                near = []
                chains.append(near)
            near.append((time, hull))
    steadied: dict[float, list[Box]] = {time: [] for time in boxes}
    for chain in chains:
        times, hulls = np.array([time for time, _ in chain]), np.array([hull for _, hull in chain], float)
        around = zip(
            *(np.searchsorted(times, times + shift) for shift in (-STEADY_SECONDS, STEADY_SECONDS)), strict=True
        )
        spans = [slice(first, max(first + 1, last)) for first, last in around]
        sizes = hulls[:, 2:] - hulls[:, :2]
        largest = np.array([sizes[span].max(axis=0) for span in spans])
        halves = np.array([largest[span].mean(axis=0) for span in spans]) / 2
        middles = (hulls[:, :2] + hulls[:, 2:]) / 2
        corners = np.concatenate([np.floor(middles - halves), np.ceil(middles + halves)], axis=1).astype(int)
        for time, corner in zip(times.tolist(), corners.tolist(), strict=True):
            steadied[time].append(tuple(corner))
    return steadied


def _join_places(boxes: Sequence[Box]) -> list[Box]:
    """Returns one box around all that are about one face."""
    hulls: list[Box] = []
    for box in boxes:
        same = [hull for hull in hulls if _is_same_place(hull, box)]
        hulls = [hull for hull in hulls if hull not in same]
        lefts, tops, rights, bottoms = zip(*same, box, strict=True)
        hulls.append((min(lefts), min(tops), max(rights), max(bottoms)))
    return hulls


@functools.cache
def _detector(max_side: int) -> YuNetDetector:
    return YuNetDetector(min_score=MIN_SCORE, max_side=max_side)


def _is_same_place(box: Box, other: Box) -> bool:
    return find_overlap(box, other) > SAME_PLACE


def _is_at_edge(box: Box, picture: _Picture) -> bool:
    height, width = (side / picture.scale for side in picture.grey.shape)
    margin = 0.25 * max(box[2] - box[0], box[3] - box[1])
    return box[0] < margin or box[1] < margin or box[2] > width - margin or box[3] > height - margin


def _cut(picture: _Picture, box: Box) -> np.ndarray:
    x1, y1, x2, y2 = (round(value * picture.scale) for value in box)
    return picture.grey[max(0, y1) : max(y2, y1 + 1), max(0, x1) : max(x2, x1 + 1)]


def _locate(face: _Followed, picture: _Picture) -> Box | None:
    """Returns the place near a face's last one that looks most like it; None if nothing does."""
    height, width = face.patch.shape
    if min(height, width) < MIN_PATCH or face.patch.std() < 1:
        return None
    left, top = (round(value * picture.scale) for value in face.box[:2])
    reach_x, reach_y = round(MAX_MOVE * width) + 2, round(MAX_MOVE * height) + 2
    x1, y1 = max(0, left - reach_x), max(0, top - reach_y)
    part = picture.grey[y1 : top + height + reach_y, x1 : left + width + reach_x]
    if part.shape[0] < height or part.shape[1] < width:
        return None
    _, best, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(part, face.patch, cv2.TM_CCOEFF_NORMED))
    if best < MIN_CORRELATION:
        return None
    box_width, box_height = face.box[2] - face.box[0], face.box[3] - face.box[1]
    left, top = round((x1 + x) / picture.scale), round((y1 + y) / picture.scale)
    return left, top, left + box_width, top + box_height
