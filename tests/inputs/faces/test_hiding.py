"""A face to be blurred is blurred in every picture: lying, at the edge, before it is found and after it is lost."""

import cv2
import numpy as np
import pytest
from marked_predictions import make_prediction
from skimage import data

from emotion.inputs.faces.detection import YuNetDetector
from emotion.inputs.faces.hiding import HOLD_SECONDS, find_faces_to_hide, steady
from emotion.media.pictures import VideoFrame
from emotion.outputs.video.annotator import Annotator
from emotion.outputs.video.layout import area, overlap

SIDE, STEP, N = 400, 8, 6
SECONDS = 0.04


@pytest.fixture(scope="module")
def face():
    """A face of about 90 pixels, with its surroundings, 160 x 160."""
    return data.astronaut()[20:180, 145:305]


def make_frames(face, places, *, quarters=0) -> list[VideoFrame]:
    """A face moving over soft colours; what lies outside is cut off."""
    patches = np.random.default_rng(0).integers(60, 180, (5, 5, 3)).astype(np.uint8)
    background = cv2.resize(patches, (SIDE + 320, SIDE + 320), interpolation=cv2.INTER_CUBIC)
    frames = []
    for i, (x, y) in enumerate(places):
        image = background.copy()
        image[y + 160 : y + 320, x + 160 : x + 320] = np.rot90(face, quarters)
        frames.append(VideoFrame(i * SECONDS, np.ascontiguousarray(image[160:-160, 160:-160]), SECONDS))
    return frames


def blurred_shares(frames, places, hidden) -> list[float]:
    """How much of the detail of the face's middle is left in each picture, 0 to 1."""
    annotator = Annotator(make_prediction([]), blur_faces=True, hidden=hidden.boxes, timeline=False)
    shares = []
    for frame, (x, y) in zip(frames, places, strict=True):
        part = np.s_[max(0, y + 45) : y + 115, max(0, x + 45) : x + 115]
        drawn = annotator.annotate(frame.image, frame.time_seconds)
        before, after = (
            cv2.Laplacian(image[part].astype(np.float32), cv2.CV_32F).std() for image in (frame.image, drawn)
        )
        shares.append(float(after / before))
    return shares


@pytest.mark.parametrize("quarters", range(4))
def test_a_moving_face_is_blurred_in_every_picture_however_it_lies(face, quarters):
    places = [(60 + STEP * i, 120) for i in range(N)]
    frames = make_frames(face, places, quarters=quarters)
    assert max(blurred_shares(frames, places, find_faces_to_hide(frames))) < 0.15


@pytest.mark.parametrize("place", [(-65, 120), (305, 120), (120, -50)])
def test_a_face_cut_by_the_edge_is_blurred(face, place):
    frames = make_frames(face, [place])
    assert max(blurred_shares(frames, [place], find_faces_to_hide(frames))) < 0.15


@pytest.mark.parametrize("is_seen", [lambda i: i >= 3, lambda i: i < 3, lambda i: i in (0, 5)])
def test_a_face_is_blurred_where_the_detector_misses_it(face, monkeypatch, is_seen):
    places = [(60 + STEP * i, 120) for i in range(N)]
    frames, detect = make_frames(face, places), YuNetDetector.detect
    images = [frame.image for frame in frames]

    def miss_some(self, image):
        is_missed = any(image is each and not is_seen(i) for i, each in enumerate(images))
        return [] if is_missed or not any(image is each for each in images) else detect(self, image)

    monkeypatch.setattr(YuNetDetector, "detect", miss_some)
    assert max(blurred_shares(frames, places, find_faces_to_hide(frames))) < 0.15


def test_a_small_face_in_a_large_picture_is_found_in_full_size(face):
    picture = np.full((1440, 2560, 3), 120, np.uint8)
    picture[700:760, 1800:1860] = cv2.resize(face, (60, 60), interpolation=cv2.INTER_AREA)
    boxes = find_faces_to_hide([VideoFrame(0.0, picture, SECONDS)]).boxes[0.0]
    assert any(x1 < 1830 < x2 and y1 < 730 < y2 for x1, y1, x2, y2 in boxes)


def test_a_place_is_kept_for_a_while_and_the_note_names_the_moment(face):
    there = make_frames(face, [(120, 120)] * 3)
    away = make_frames(np.full_like(face, 120), [(120, 120)] * 20)
    frames = [frame.at(i * SECONDS, SECONDS) for i, frame in enumerate([*there, *away])]
    hidden = find_faces_to_hide(frames)
    covered = [time for time, boxes in hidden.boxes.items() if boxes]
    assert 2 * SECONDS + HOLD_SECONDS - 0.05 <= max(covered) <= 3 * SECONDS + HOLD_SECONDS + 0.05
    assert "0.1 s" in hidden.note


def test_the_note_says_if_nothing_was_found():
    assert "none was found" in find_faces_to_hide([VideoFrame(0.0, np.full((90, 90, 3), 90, np.uint8), 0.04)]).note


def test_where_a_damaged_file_shows_another_picture_the_boxes_of_both_neighbours_are_blurred(face):
    places = [(60, 120)] * 3
    frames = make_frames(face, places)
    found = find_faces_to_hide([frames[0], frames[2]])
    assert max(blurred_shares(frames, places, found)) < 0.15


def test_a_face_that_may_have_been_there_before_what_is_remembered_is_told(face, monkeypatch):
    monkeypatch.setattr("emotion.inputs.faces.hiding.FOLLOW_SECONDS", 2.5 * SECONDS)
    places = [(60, 120)] * N
    frames = make_frames(face, places)
    seen = YuNetDetector.detect
    early = {id(frame.image) for frame in frames[: N - 1]}
    monkeypatch.setattr(YuNetDetector, "detect", lambda self, image: [] if id(image) in early else seen(self, image))
    monkeypatch.setattr("emotion.inputs.faces.hiding.turn_picture", lambda image, turn: image)
    found = find_faces_to_hide(frames)
    assert found.lost_seconds and found.lost_seconds[0] > 0
    assert "came into or went out of sight at 0." in found.note


@pytest.mark.parametrize(("quarters", "n_looks"), [(0, 2), (1, 3)])
def test_a_picture_is_looked_at_as_it_is_as_its_faces_lie_and_in_one_turn_more(face, monkeypatch, quarters, n_looks):
    looks, detect = [], YuNetDetector.detect
    monkeypatch.setattr(YuNetDetector, "detect", lambda self, image: looks.append(self) or detect(self, image))
    find_faces_to_hide(make_frames(face, [(120, 120)] * 10, quarters=quarters))
    assert len(looks) <= 4 + 9 * n_looks
    assert len(set(looks)) == 1  # the network is loaded once


def test_a_trembling_box_is_blurred_steadily_and_wholly():
    rng = np.random.default_rng(0)
    boxes = {}
    for i in range(60):
        across, down = 90 + 2 * i + rng.normal(0, 2), 120 + rng.normal(0, 2)
        width, height = 60 * rng.uniform(0.75, 1.3), 80 * rng.uniform(0.75, 1.3)
        boxes[i * SECONDS] = [tuple(round(v) for v in (across, down, across + width, down + height))]
        boxes[i * SECONDS].append((400, 300, 450, 360))  # another face
        if i % 7 == 0:
            x1, y1, x2, y2 = boxes[i * SECONDS][0]
            boxes[i * SECONDS].append((x1 + 20, y1 + 5, x2 + 25, y2))
    blurred = steady(boxes)
    areas = []
    for time, found in boxes.items():
        assert len(blurred[time]) == 2
        assert all(any(overlap(box, each) == area(box) for each in blurred[time]) for box in found)
        areas.append(area(min(blurred[time])))
    jumps = np.abs(np.diff(np.log(areas)))
    assert jumps.max() < 0.1 and (400, 300, 450, 360) in blurred[0.0]
