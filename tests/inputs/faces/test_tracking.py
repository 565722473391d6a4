"""Faces keep their tracks through crossings, losses and cuts, by where they are and by what they look like."""

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
    """Shows a tracker one moment after the other and gathers who was given which track."""

    def __init__(self):
        self.tracker = FaceTracker()
        self.time = 0.0
        self._given: dict[int, list[int]] = {}
        self._shot = None

    def show(self, speakers: dict[int, float], *, scene_seed: int = 0, hidden: set[int] = frozenset()) -> None:
        """Shows speakers at their places, the later ones in front; hidden ones are drawn and not detected."""
        scene = make_scene(scene_seed)
        faces = {speaker: put(scene, speaker, x) for speaker, x in speakers.items()}
        shot = Shot(VideoFrame(0.0, scene))
        if self._shot is not None and shot.is_other(self._shot):
            self.tracker.cut(self.time)
        self._shot = shot
        faces = {speaker: face for speaker, face in faces.items() if speaker not in hidden}
        given = self.tracker.update(self.time, list(faces.values()), scene)
        for speaker, track in zip(faces, given, strict=True):
            self._given.setdefault(speaker, []).append(track)
        self.time += STEP

    def ids(self, speaker: int) -> set[int]:
        """The ids under which a speaker stands in the result."""
        tracks = self.tracker.tracks()
        given = {self.tracker.resolve(track) for track in self._given[speaker]}
        return {tracks[track].face_id for track in given if track in tracks}


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


def near_and_back(i: int) -> float:
    return 330 * (1 - abs(i - 20) / 20)


@pytest.mark.parametrize(
    ("n_pictures", "show", "n_faces"),
    [
        pytest.param(41, lambda i: ({1: 120 + near_and_back(i), 2: 780 - near_and_back(i)},
                                    {"hidden": {1} if 14 <= i <= 26 else set()}), 2, id="they meet and turn back"),
        pytest.param(60, lambda i: ({1: 200.0} if i < 15 else {1: 600.0} if i >= 45 else {}, {}), 1,
                     id="long out of sight and back elsewhere"),
        pytest.param(40, lambda i: ({1 if i < 20 else 2: 300.0}, {}), 2, id="another person in the same place"),
        pytest.param(60, lambda i: ({1 + i // 15 % 2: 300.0}, {"scene_seed": 7 * (i // 15 % 2)}), 2,
                     id="a cut there and back"),
    ],
)  # fmt: skip
def test_each_face_keeps_its_own_id(n_pictures, show, n_faces):
    film = Film()
    for i in range(n_pictures):
        speakers, options = show(i)
        film.show(speakers, **options)
    assert [film.ids(speaker) for speaker in range(1, n_faces + 1)] == [{1}, {2}][:n_faces]
    assert len(film.tracker.tracks()) == n_faces
    assert 30 * STEP > MAX_LOST_SECONDS  # for how long the one was out of sight


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


def test_two_faces_of_one_moment_never_share_a_track():
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
        given = film.tracker.update(film.time, faces[::-1], scene)
        film.time += STEP
        assert len(set(given)) == len(given)
        assert len({film.tracker.resolve(track) for track in given}) == len(given)


def test_where_pictures_are_far_apart_a_face_stays_in_sight_from_one_to_the_next():
    for seconds, is_seen in ((1.0, True), (0.1, False)):
        tracker, scene = FaceTracker(), make_scene()
        face = put(scene, 1, 300.0)
        for step in range(12):
            found = [] if step in range(5, 10) and seconds < 1 else [face]
            tracker.update(step * seconds, found, scene)
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


# ---- By place alone ----


def make_face(x: float, y: float = 100.0, size: float = 60.0) -> Face:
    box = (round(x - size / 2), round(y - size / 2), round(x + size / 2), round(y + size / 2))
    return Face(box, np.zeros((5, 2), np.float32), 0.9)


def follow(moments: dict[float, list[Face]]) -> tuple[FaceTracker, list[list[int]]]:
    tracker = FaceTracker()
    return tracker, [tracker.update(time, faces) for time, faces in moments.items()]


def test_a_moving_and_growing_face_keeps_its_track():
    moments = {i / 10: [make_face(100 + 15 * i, size=60 * 1.05**i)] for i in range(20)}
    tracker, given = follow(moments)
    assert given == [[1]] * 20
    (track,) = tracker.tracks().values()
    assert track.face_id == 1
    assert track.times_seconds == tuple(moments)
    assert track.boxes == tuple(faces[0].box for faces in moments.values())


def test_a_face_lost_for_a_short_while_comes_back_as_itself_and_later_as_another():
    for gap, expected in ((MAX_LOST_SECONDS - 0.1, 1), (MAX_LOST_SECONDS + 0.1, 2)):
        times = [0.0, 0.1, 0.2, 0.2 + gap, 0.3 + gap, 0.4 + gap]
        looked = {0.2 + i / 100: [] for i in range(1, round(100 * gap))}  # in vain, while it is gone
        moments = looked | {time: [make_face(100)] for time in times}
        _, given = follow(dict(sorted(moments.items())))
        assert [seen for seen in given if seen] == [[1]] * 3 + [[expected]] * 3


def passing(i: int) -> list[Face]:
    """Two faces, one above the other, that pass each other."""
    return [make_face(100 + 10 * i, y=100), make_face(300 - 10 * i, y=170)]


ELSEWHERE, MUCH_LARGER = [make_face(400)], [make_face(100, size=150)]


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        pytest.param({time: [make_face(100)] for time in (0.0, 4.0, 9.0)}, [[1], [1], [1]],
                     id="in pictures far apart it was never missed"),
        pytest.param({i / 10: [make_face(100), make_face(300)][:: (-1) ** i] for i in range(3)},
                     [[1, 2], [2, 1], [1, 2]], id="in another order"),
        pytest.param({i / 10: passing(i)[:: (-1) ** i] for i in range(21)}, ([[1, 2], [2, 1]] * 11)[:21],
                     id="they pass each other"),
        pytest.param({i / 10: [make_face(100 + 10 * i, size=120), make_face(300 - 10 * i, size=50)] for i in range(21)},
                     [[1, 2]] * 21, id="a near and a far one that cross are told apart by their size"),
        pytest.param({0.0: [make_face(100), make_face(160)], 0.1: [make_face(155)], 0.2: [make_face(150)]},
                     [[1, 2], [2], [2]], id="one of two leaves"),
        *(pytest.param({0.0: [make_face(100)], 0.1: [make_face(100)], 0.2: after, 0.3: after}, [[1], [1], [2], [2]],
                       id=f"after a cut, {what}")
          for what, after in (("elsewhere", ELSEWHERE), ("much larger", MUCH_LARGER))),
    ],
)  # fmt: skip
def test_a_face_is_known_by_its_place_and_size(moments, expected):
    assert follow(moments)[1] == expected


def test_false_alarms_are_dropped_and_the_faces_counted_without_them():
    moments = {i / 10: [make_face(300)] for i in range(10)}
    moments[0.0] = [make_face(50), make_face(300)]
    moments[0.5] = [make_face(300), make_face(600)]
    tracker, given = follow(moments)
    assert given[0] == [1, 2] and given[5] == [2, 3]
    tracks = tracker.tracks()
    assert list(tracks) == [2]
    assert tracks[2].face_id == 1


def test_faces_are_numbered_in_order_of_appearance():
    late = {i / 10: [make_face(300)] + ([make_face(100)] if i >= 3 else []) for i in range(10)}
    tracker, _ = follow(late)
    assert [(track.face_id, track.times_seconds[0]) for track in tracker.tracks().values()] == [(1, 0.0), (2, 0.3)]


def test_the_one_sighting_in_a_still_picture_is_kept():
    tracker, given = follow({0.0: [make_face(100), make_face(300)]})
    assert given == [[1, 2]]
    assert [track.times_seconds for track in tracker.tracks().values()] == [(0.0,), (0.0,)]


def test_without_faces_there_are_no_tracks():
    tracker, given = follow({0.0: [], 0.1: []})
    assert given == [[], []]
    assert tracker.tracks() == {} and FaceTracker().tracks() == {}


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
        return Shot(VideoFrame(0.0, scene))

    assert shot(1, 300.0).is_other(shot(0, 300.0))
    assert not shot(0, 330.0).is_other(shot(0, 300.0))


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 700, 3), (2160, 3840, 3)])
def test_shots_of_any_size_are_described(shape):
    image = np.full(shape, 90, np.uint8)
    assert not Shot(VideoFrame(0.0, image)).is_other(Shot(VideoFrame(0.04, image)))


@pytest.mark.parametrize(("sure", "is_real"), [([], False), ([4], False), ([4, 9], True), (range(20), True)])
def test_what_the_detector_was_never_sure_of_is_no_face(sure, is_real):
    tracker = FaceTracker()
    points = np.zeros((5, 2), np.float32)
    for i in range(10):
        tracker.update(i * STEP, [Face((10, 10, 60, 60), points, 0.7, is_sure=i in sure)])
    assert bool(tracker.tracks()) == is_real
    assert bool(tracker.doubtful_tracks()) != is_real


def test_a_face_held_in_place_is_not_seen_more_often():
    tracker = FaceTracker()
    face = Face((10, 10, 60, 60), np.zeros((5, 2), np.float32), 0.9)
    for i in range(2):
        tracker.update(float(i), [face])
        tracker.hold(i + 0.5)
    for i in range(9):
        tracker.update(1.55 + 0.05 * i, [])
    assert not tracker.is_real(1) and tracker.doubtful_tracks()[0].times_seconds == (0.0, 0.5, 1.0, 1.5)


def test_a_face_stays_in_sight_as_long_as_its_picture_is_shown():
    tracker = FaceTracker()
    face = Face((10, 10, 60, 60), np.zeros((5, 2), np.float32), 0.9)
    for time in (0.0, 0.1, 0.2):
        tracker.update(time, [face])
    tracker.hold(6.19)
    tracker.update(6.2, [face])
    (track,) = tracker.tracks(until_seconds=9.0).values()
    assert all(track.box_at(time) == face.box for time in (0.15, 1.0, 3.3, 6.1, 6.9, 8.9))
    assert track.box_at(9.5) is None
    assert track.seconds_in_sight == pytest.approx(9.0)
