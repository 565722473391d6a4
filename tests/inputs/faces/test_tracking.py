"""Faces keep their numbers through crossings, losses and cuts, by where they are and by what they look like."""

import cv2
import numpy as np
import pytest

from emotion.datasets.synthetic.faces import draw_face
from emotion.inputs.faces.appearance import Shot, describe_face
from emotion.inputs.faces.crops import TEMPLATE
from emotion.inputs.faces.detection import Face
from emotion.inputs.faces.tracking import MAX_DOUBT_SECONDS, MAX_LOST_SECONDS, SAME_PERSON, FaceTracker
from emotion.media.pictures import VideoFrame

SIZE = 160
STEP = 0.08  # seconds between detections


def make_scene(seed: int = 0, width: int = 900, height: int = 300) -> np.ndarray:
    """A background of soft colours, another for each seed."""
    patches = np.random.default_rng(seed).integers(40, 216, (5, 12, 3)).astype(np.uint8)
    return cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)


def put(scene: np.ndarray, speaker: int, x: float, y: float = 150.0, *, mouth: float = 0.0) -> Face:
    """Draws a speaker into a scene, in place, and returns the face as a detector would find it."""
    picture = draw_face("neutral", speaker_seed=speaker, size=SIZE, mouth=mouth)
    left, top = round(x - SIZE / 2), round(y - SIZE / 2)
    rows, columns = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    mask = np.hypot(rows, columns) < SIZE / 2 - 2
    # What would lie outside is cut off.
    x1, x2 = max(0, left), min(scene.shape[1], left + SIZE)
    part = np.s_[top : top + SIZE, x1:x2]
    inside = np.s_[:, x1 - left : x2 - left]
    scene[part][mask[inside]] = picture[inside][mask[inside]]
    landmarks = TEMPLATE * 0.6 * SIZE + (left + 0.2 * SIZE, top + 0.2 * SIZE)
    box = tuple(round(value) for value in (x - 0.32 * SIZE, y - 0.4 * SIZE, x + 0.32 * SIZE, y + 0.4 * SIZE))
    return Face(box, landmarks.astype(np.float32), 0.9)


class Film:
    """Shows a tracker one moment after the other and gathers who was given which number."""

    def __init__(self):
        self.tracker = FaceTracker()
        self.time = 0.0
        self._numbers: dict[int, list[int]] = {}
        self._shot = None

    def show(self, speakers: dict[int, float], *, scene_seed: int = 0, hidden: set[int] = frozenset()) -> None:
        """Shows speakers at their places, the later ones in front; hidden ones are drawn and not detected."""
        scene = make_scene(scene_seed)
        faces = {speaker: put(scene, speaker, x) for speaker, x in speakers.items()}
        shot = Shot.of(VideoFrame(0.0, scene))
        if self._shot is not None and shot.is_other(self._shot):
            self.tracker.cut(self.time)
        self._shot = shot
        faces = {speaker: face for speaker, face in faces.items() if speaker not in hidden}
        numbers = self.tracker.update(self.time, list(faces.values()), scene)
        for speaker, number in zip(faces, numbers, strict=True):
            self._numbers.setdefault(speaker, []).append(number)
        self.time += STEP

    def ids(self, speaker: int) -> set[int]:
        """The ids under which a speaker stands in the result."""
        tracks = self.tracker.tracks()
        numbers = {self.tracker.resolve(number) for number in self._numbers[speaker]}
        return {tracks[number].face_id for number in numbers if number in tracks}


@pytest.mark.parametrize("n_steps", [12, 25, 50])
def test_faces_that_cross_on_one_height_keep_their_ids_while_one_hides_the_other(n_steps):
    film = Film()
    for i in range(n_steps + 1):
        first, second = 120 + 660 * i / n_steps, 780 - 660 * i / n_steps
        film.show({1: first, 2: second}, hidden={1} if abs(first - second) < 0.7 * SIZE else set())
    assert len(film.ids(1)) == len(film.ids(2)) == 1
    assert film.ids(1) != film.ids(2)
    assert len(film.tracker.tracks()) == 2


@pytest.mark.parametrize("beside", [120, 180])
def test_a_face_that_comes_out_beside_another_is_known_though_what_was_seen_of_it_first_was_half_a_face(beside):
    film = Film()
    for i in range(12):
        film.show({1: 300.0 - 5 * i, 2: 700.0 - 20 * i})
    for _ in range(10):
        film.show({1: 300.0, 2: 450.0}, hidden={1})
    for i in range(25):
        # At first the other one covers half of it.
        film.show({1: 450.0 - min(beside, 60 + 12 * i), 2: 450.0})
    assert film.ids(1) == {1} and film.ids(2) == {2}
    assert len(film.tracker.tracks()) == 2


def test_faces_that_meet_and_turn_back_keep_their_ids():
    film = Film()
    for i in range(41):
        near = 330 * (1 - abs(i - 20) / 20)
        film.show({1: 120 + near, 2: 780 - near}, hidden={1} if 14 <= i <= 26 else set())
    assert film.ids(1) == {1} and film.ids(2) == {2}


def test_a_face_that_was_long_out_of_sight_comes_back_as_itself_wherever_it_is():
    film = Film()
    for i in range(60):
        film.show({1: 200.0} if i < 15 else {1: 600.0} if i >= 45 else {})
    assert 30 * STEP > MAX_LOST_SECONDS
    assert film.ids(1) == {1}


def test_another_person_in_the_same_place_gets_another_id():
    film = Film()
    for i in range(40):
        film.show({1 if i < 20 else 2: 300.0})
    assert film.ids(1) == {1} and film.ids(2) == {2}


def test_after_a_cut_there_and_back_both_faces_are_known_again():
    film = Film()
    for i in range(60):
        is_first = (i // 15) % 2 == 0
        film.show({1 if is_first else 2: 300.0}, scene_seed=0 if is_first else 7)
    assert film.ids(1) == {1} and film.ids(2) == {2}
    assert len(film.tracker.tracks()) == 2


def test_a_face_that_jumps_between_pictures_far_apart_is_known_by_its_looks():
    film = Film()
    for i in range(8):
        film.show({1: 150.0 + 600 * (i % 2)})
        film.time += 0.5
    assert film.ids(1) == {1}


def test_what_was_taken_for_a_new_face_and_is_an_old_one_is_joined_with_it():
    film = Film()
    for _ in range(15):
        film.show({1: 200.0, 2: 700.0})
    for _ in range(25):
        film.show({2: 700.0})
    # It comes out from before the other one, whose hair and clothes are around it, so that it cannot be known at once.
    for i in range(20):
        film.show({2: 700.0, 1: 660.0 - 25 * i}, hidden={2} if i < 3 else set())
    assert film.ids(1) == {1} and film.ids(2) == {2}
    times = film.tracker.tracks()[film.tracker.resolve(1)].times_seconds
    assert list(times) == sorted(times)
    assert 20 * STEP < MAX_DOUBT_SECONDS


def test_two_faces_of_one_moment_never_share_a_number():
    film = Film()
    for _ in range(10):
        film.show({1: 200.0})
    scene = make_scene()
    twins = [put(scene, 1, 200.0), put(scene, 1, 600.0)]
    assert len(set(film.tracker.update(film.time, twins, scene))) == 2


def test_a_copy_of_a_face_that_appears_beside_it_is_another_face():
    film = Film()
    for i in range(30):
        scene = make_scene()
        faces = [put(scene, 1, 200.0)] + ([put(scene, 1, 600.0)] if i >= 10 else [])
        # The larger one is found first.
        numbers = film.tracker.update(film.time, faces[::-1], scene)
        film.time += STEP
        assert len(set(numbers)) == len(numbers)
        assert len({film.tracker.resolve(number) for number in numbers}) == len(numbers)


def test_where_pictures_are_far_apart_a_face_stays_in_sight_from_one_to_the_next():
    for seconds, is_seen in ((1.0, True), (0.1, False)):
        tracker, scene = FaceTracker(), make_scene()
        face = put(scene, 1, 300.0)
        for number in range(12):
            found = [] if number in range(5, 10) and seconds < 1 else [face]
            tracker.update(number * seconds, found, scene)
        (track,) = tracker.tracks().values()
        assert (track.box_at(7.5 * seconds) is not None) == is_seen
        assert track.seconds_in_sight == pytest.approx(11.0 if is_seen else 0.5)


def test_recent_sightings_can_be_had_by_themselves():
    film = Film()
    for i in range(20):
        film.show({1: 200.0} if i < 10 else {2: 700.0})
    recent = film.tracker.tracks(since_seconds=1.0)
    (track,) = recent.values()
    assert track.face_id == 2 and track.times_seconds[0] >= 1.0
    assert set(film.tracker.tracks()) == {1, 2}


# ---- Looks ----


def describe(speaker: int, *, scene_seed: int = 0, mouth: float = 0.0, x: float = 300.0):
    scene = make_scene(scene_seed)
    face = put(scene, speaker, x, mouth=mouth)
    return describe_face(scene, face.landmarks)


def test_a_face_looks_like_itself_and_unlike_others():
    assert describe(1).distance(describe(1)) == 0
    assert describe(1).distance(describe(1, mouth=0.6, x=320.0)) < SAME_PERSON
    for other in (2, 3, 4):
        assert describe(1).distance(describe(other)) > SAME_PERSON


def test_a_face_in_grey_looks_like_itself_too():
    def grey(speaker, **options):
        scene = make_scene()
        face = put(scene, speaker, 300.0, **options)
        shades = cv2.cvtColor(cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return describe_face(shades, face.landmarks)

    assert grey(1).distance(grey(1, mouth=0.6)) < SAME_PERSON
    assert grey(1).distance(grey(2)) > SAME_PERSON


def test_a_cut_is_told_from_what_moves_within_a_shot():
    def shot(scene_seed, x):
        scene = make_scene(scene_seed)
        put(scene, 1, x)
        return Shot.of(VideoFrame(0.0, scene))

    assert shot(1, 300.0).is_other(shot(0, 300.0))
    assert not shot(0, 330.0).is_other(shot(0, 300.0))


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 700, 3), (2160, 3840, 3)])
def test_shots_of_any_size_are_described(shape):
    image = np.full(shape, 90, np.uint8)
    assert not Shot.of(VideoFrame(0.0, image)).is_other(Shot.of(VideoFrame(0.04, image)))
