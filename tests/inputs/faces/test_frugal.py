"""Faces are looked for where something can have changed: near their places, in a small picture, or in the whole one."""

import numpy as np
import pytest

from emotion.config import RunConfig
from emotion.inputs.faces.crops import crop_face
from emotion.inputs.faces.detection import QUICK_SIDE, SURE_SCORE, Face, YuNetDetector, clip_box, find_overlap
from emotion.inputs.faces.frugal import MAX_NEAR_SECONDS, MAX_QUICK_LOOKS, N_SEARCHED, FrugalDetector
from emotion.inputs.frame_sampler import FrameSampler
from emotion.media.pictures import VideoFrame

PICTURE = np.zeros((360, 640, 3), np.uint8)


class Scripted:
    """Answers with faces of given sides, and counts how often it is asked."""

    def __init__(self, sides: list[int]):
        self.sides, self.n_asked = sides, 0

    def detect(self, image: np.ndarray) -> list[Face]:
        self.n_asked += 1
        return [Face((0, 0, side, side), np.zeros((5, 2), np.float32), 1.0) for side in self.sides]


class Pair(Scripted):
    def __init__(self, sides: list[int], quick_sides: list[int] | None = None):
        super().__init__(sides)
        self.quick = Scripted(sides if quick_sides is None else quick_sides)


def look(
    detector: FrugalDetector, n: int, picture: np.ndarray = PICTURE, start: float = 0.0, step: float = 0.075
) -> list[int]:
    return [len(detector.detect(picture, start + step * i)) for i in range(n)]


def test_between_two_thorough_looks_come_some_quick_ones():
    pair = Pair([120, 100])
    n_cycles = 3
    assert look(FrugalDetector(pair), n_cycles * (MAX_QUICK_LOOKS + 1)) == [2] * 12
    assert (pair.n_asked, pair.quick.n_asked) == (n_cycles, n_cycles * MAX_QUICK_LOOKS)


def test_small_faces_are_always_looked_at_thoroughly():
    pair = Pair([100, 90])  # 45 pixels of a picture half as large
    assert look(FrugalDetector(pair), 6) == [2] * 6
    assert (pair.n_asked, pair.quick.n_asked) == (6, 0)


@pytest.mark.parametrize("quick_sides", [[], [100, 100]])
def test_a_quick_look_that_finds_another_number_of_faces_is_not_trusted(quick_sides):
    pair = Pair([100], quick_sides)
    assert look(FrugalDetector(pair), 5) == [1] * 5
    assert pair.n_asked == 5


def test_a_new_shot_is_looked_at_thoroughly():
    pair = Pair([100])
    detector = FrugalDetector(pair)
    look(detector, 2)
    detector.forget()
    look(detector, 1, start=0.15)
    assert (pair.n_asked, pair.quick.n_asked) == (2, 1)


def test_quick_looks_do_not_outlast_what_a_new_face_may_wait():
    pair = Pair([100])
    look(FrugalDetector(pair), 6, step=0.3)
    assert (pair.n_asked, pair.quick.n_asked) == (3, 3)  # two of them lie 0.6 s apart
    pair = Pair([100])
    look(FrugalDetector(pair), 6, step=1.0)
    assert pair.quick.n_asked == 0


def test_a_lost_face_is_looked_for_thoroughly_for_a_while():
    pair = Pair([120, 100])
    detector = FrugalDetector(pair)
    look(detector, 1)
    pair.sides = pair.quick.sides = [120]
    look(detector, N_SEARCHED + 1, start=0.075)
    assert (pair.n_asked, pair.quick.n_asked) == (1 + 1 + N_SEARCHED, 1)  # the first quick look told of the loss
    look(detector, 3, start=0.75)
    assert pair.quick.n_asked == 4


def test_the_sampler_looks_thoroughly_after_a_cut(monkeypatch):
    forgotten = []
    monkeypatch.setattr(FrugalDetector, "forget", lambda self: forgotten.append(True))
    sampler = FrameSampler(RunConfig(), detector=Scripted([]))
    rng = np.random.default_rng(0)
    shots = [np.kron(rng.integers(0, 256, (9, 16, 3)), np.ones((20, 20, 1))).astype(np.uint8) for _ in range(2)]
    for i in range(10):
        sampler.add(VideoFrame(i / 25, shots[i // 5], 1 / 25))
    assert len(forgotten) == 1


def test_small_pictures_and_detectors_without_a_quick_look_are_as_ever():
    pair, alone = Pair([100]), Scripted([100])
    look(FrugalDetector(pair), 4, np.zeros((240, QUICK_SIDE, 3), np.uint8))
    look(FrugalDetector(alone), 4)
    assert (pair.n_asked, alone.n_asked) == (4, 4)


def test_both_looks_find_a_real_face_in_one_place():
    from skimage import data

    photograph = data.astronaut()  # 512 x 512, one face of 90 pixels
    detector = YuNetDetector()
    (thorough,), (quick,) = detector.detect(photograph), detector.quick.detect(photograph)
    side = min(thorough.size)
    assert np.abs(thorough.landmarks - quick.landmarks).max() < 0.08 * side
    assert np.abs(np.array(thorough.box) - quick.box).max() < 0.12 * side


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_lying_face_is_found_where_it_is_shown_and_cut_out_upright(quarters):
    from skimage import data

    photograph = data.astronaut()
    (upright,) = FrugalDetector(YuNetDetector()).detect(photograph, 0.0)
    turned = np.ascontiguousarray(np.rot90(photograph, quarters))
    (face,) = FrugalDetector(YuNetDetector()).detect(turned, 0.0)
    assert face.is_sure and (face.quarters + quarters) % 4 == 0
    crops = [crop_face(photograph, upright.landmarks, 64), crop_face(turned, face.landmarks, 64)]
    assert np.abs(crops[0].astype(int) - crops[1]).mean() < 12  # another turn differs by 50
    x1, y1, x2, y2 = face.box
    assert (face.landmarks > (x1, y1)).all() and (face.landmarks < (x2, y2)).all()


class Doubting(Scripted):
    """A detector that finds a face only in pictures turned so that their first row is white, and can confirm it."""

    def detect(self, image: np.ndarray) -> list[Face]:
        self.n_asked += 1
        score = 0.95 if image[0].min() == 255 else 0.0
        return [Face((10, 20, 60, 90), np.full((5, 2), 30, np.float32), score)] if score else []

    def confirm(self, image: np.ndarray, face: Face) -> bool:
        return True


def test_where_nothing_is_found_pictures_are_turned_once_a_second():
    detector = Doubting([])
    look(FrugalDetector(detector), 20, step=0.1)
    assert detector.n_asked == 20 + 2 * 3


def test_a_turn_that_shows_a_face_is_kept():
    picture = PICTURE.copy()
    picture[:, -1] = 255  # the first row after a quarter turn
    detector = Doubting([])
    frugal = FrugalDetector(detector)
    (face,) = frugal.detect(picture, 0.0)
    assert face.quarters == 1
    assert face.box == (640 - 90, 10, 640 - 20, 60)
    n_before = detector.n_asked
    assert look(frugal, 5, picture, start=0.1) == [1] * 5
    assert detector.n_asked == n_before + 5 * 2  # upright, and in the turn that is known


# ---- Looks near known faces ----

THUMB = np.full((18, 32, 3), 100.0, np.float32)


class Near(Scripted):
    """One that can be asked for a face near a place, too; ``gone`` says that it is not there."""

    def __init__(self, sides: list[int]):
        super().__init__(sides)
        self.gone, self.n_near = False, 0

    def find_near(self, image: np.ndarray, face: Face, place) -> Face | None:
        self.n_near += 1
        return None if self.gone else face


def changed(rows: slice, columns: slice, levels: float = 60.0) -> np.ndarray:
    thumb = THUMB.copy()
    thumb[rows, columns] += levels
    return thumb


@pytest.fixture
def near():
    """A detector that has looked at a picture with a face of 120 pixels in its corner."""
    near = Near([120])
    near.frugal = FrugalDetector(near)
    near.frugal.detect(PICTURE, 0.0, THUMB)
    near.n_asked = near.n_near = 0
    return near


def test_where_nothing_changes_only_the_places_of_faces_are_looked_at(near):
    for i in range(1, 10):
        assert len(near.frugal.detect(PICTURE, 0.1 * i, THUMB)) == 1 and near.frugal.knows_looks
    assert (near.n_asked, near.n_near) == (0, 9)
    near.frugal.detect(PICTURE, MAX_NEAR_SECONDS + 0.05, THUMB)
    assert near.n_asked == 1 and not near.frugal.knows_looks


def test_where_something_changes_beside_the_faces_the_whole_picture_is_looked_at(near):
    near.frugal.detect(PICTURE, 0.1, changed(slice(12, 14), slice(20, 22)))
    assert near.n_asked == 1


def test_what_changes_where_a_head_is_says_only_that_its_looks_changed(near):
    thumb = changed(slice(0, 6), slice(0, 6))
    assert near.frugal.have_moved(thumb, PICTURE.shape[:2])
    near.frugal.detect(PICTURE, 0.1, thumb)
    assert near.n_asked == 0 and not near.frugal.knows_looks
    assert not near.frugal.have_moved(thumb, PICTURE.shape[:2])
    near.frugal.detect(PICTURE, 0.2, thumb)
    assert near.n_asked == 0 and near.frugal.knows_looks


def test_a_face_that_is_gone_from_its_place_is_looked_for_everywhere_at_once(near):
    near.gone = True
    assert len(near.frugal.detect(PICTURE, 0.1, THUMB)) == 1 and near.n_asked == 1


def test_where_nobody_is_and_nothing_changes_nobody_is_looked_for():
    near = Near([])
    frugal = FrugalDetector(near)
    assert [len(frugal.detect(PICTURE, 0.1 * i, THUMB)) for i in range(9)] == [0] * 9 and near.n_asked == 1


@pytest.mark.parametrize("place", [(0, 130, 120, 250), (0, 60, 90, 180)])
def test_faces_side_by_side_are_not_taken_for_each_other(place, near):
    near.detect = lambda image: [Face(box, np.zeros((5, 2), np.float32), 1.0) for box in ((0, 0, 120, 120), place)]
    frugal = FrugalDetector(near)
    for i in range(4):
        frugal.detect(PICTURE, 0.1 * i, THUMB)
    assert near.n_near == 0 and not frugal.knows_looks


def swing(seconds: float) -> float:
    return 220 + 150 * np.sin(2 * np.pi * seconds)


def jump(seconds: float) -> float:
    return 100 + 60 * int(2.5 * seconds)


def enter(seconds: float) -> float:
    return min(300.0, 1100 * (seconds % 0.75) - 260)


@pytest.mark.parametrize("path", [swing, jump, enter])
def test_a_box_sits_on_a_face_that_moves_or_enters_fast_in_every_picture(path):
    from skimage import data

    head = data.astronaut()[0:260:2, 120:340:2]
    rng = np.random.default_rng(0)
    wall = np.kron(rng.integers(80, 170, (9, 28, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    sampler, detector, shown, margin = FrameSampler(RunConfig()), YuNetDetector(), [], 240
    for i in range(45):
        picture, left = wall.copy(), margin + max(-margin, round(path(i / 30)))
        picture[100 : 100 + head.shape[0], left : left + head.shape[1]] = head
        picture = np.ascontiguousarray(picture[:, margin:-margin])
        sampler.add(VideoFrame(i / 30, picture, 1 / 30))
        shown += [(i / 30, face.box) for face in detector.detect(picture) if face.score >= SURE_SCORE]
    (track,) = sampler.tracks().values()
    overlaps = [find_overlap(clip_box(*track.box_at(seconds), 640, 360), box) for seconds, box in shown]
    assert len(overlaps) > 30 and np.mean(overlaps) > 0.9 and min(overlaps) > 0.6
