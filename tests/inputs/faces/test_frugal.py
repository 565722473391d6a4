"""Large faces are followed in small pictures; anything new, small or lost is looked at in the whole picture."""

import numpy as np
import pytest

from emotion.config import RunConfig
from emotion.inputs.faces.detection import QUICK_SIDE, Face, YuNetDetector
from emotion.inputs.faces.frugal import MAX_QUICK_LOOKS, N_SEARCHED, FrugalDetector
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
