"""What is drawn stands where the face is, in the emotion's colour, inside the picture."""

import dataclasses
import itertools

import numpy as np
import pytest
from marked_predictions import make_prediction, make_track, make_window

from emotion.labels import EIGHT_EMOTIONS
from emotion.outputs.palette import DARK, EMOTION_COLOURS, NO_EVIDENCE_COLOUR, WHITE
from emotion.outputs.video.annotator import NOTICE, Annotator
from emotion.outputs.video.layout import N_PLACES_BESIDE, Scale, overlap, place_plate
from emotion.outputs.video.sightings import visible_boxes
from emotion.outputs.video.text import TextRun, blend_tile, render_bars, render_plate
from emotion.outputs.video.timeline_strip import TimelineStrip
from emotion.results import UNSURE, FaceTrack

GREY_LEVEL = 100  # of the pictures drawn on; none of the palette's colours has it in all three channels


def make_picture(width=640, height=360):
    return np.full((height, width, 3), GREY_LEVEL, np.uint8)


def plain_annotator(prediction):
    """Draws without the timeline, which has tests of its own."""
    return Annotator(prediction, timeline=False)


def annotate_faces(*boxes_and_emotions, width=640, height=360, time=0.4):
    tracks = [make_track(i, box) for i, (box, _) in enumerate(boxes_and_emotions, start=1)]
    windows = [make_window(i, emotion) for i, (_, emotion) in enumerate(boxes_and_emotions, start=1)]
    return plain_annotator(make_prediction(tracks, windows)).annotate(make_picture(width, height), time)


def is_colour(image, colour):
    return (image == np.array(colour, np.uint8)).all(axis=-1)


def changed_pixels(image):
    return ~is_colour(image, (GREY_LEVEL,) * 3)


def lower_left(image):
    return changed_pixels(image)[image.shape[0] * 3 // 4 :, : image.shape[1] // 2]


@pytest.mark.parametrize("emotion", EIGHT_EMOTIONS)
def test_the_box_has_the_emotions_colour_on_all_four_edges(emotion):
    x1, y1, x2, y2 = box = (250, 120, 350, 240)
    drawn = annotate_faces((box, emotion))
    for x, y in ((x1, 180), (x2 - 1, 180), (300, y1), (300, y2 - 1)):
        assert tuple(drawn[y, x]) == EMOTION_COLOURS[emotion]


def test_between_two_sightings_the_box_stands_between_them():
    track = FaceTrack(1, (1.0, 1.4), ((100, 100, 200, 200), (140, 120, 240, 220)))
    drawn = plain_annotator(make_prediction([track], [make_window(1, "happy")])).annotate(make_picture(), 1.2)
    assert tuple(drawn[160, 120]) == EMOTION_COLOURS["happy"]
    assert tuple(drawn[160, 219]) == EMOTION_COLOURS["happy"]
    assert not changed_pixels(drawn)[160, 100] and not changed_pixels(drawn)[190, 180]


def test_the_coloured_line_has_a_dark_rim_on_both_sides():
    drawn = annotate_faces(((250, 120, 350, 240), "neutral"))
    across = drawn[180, 240:260, 0]
    coloured = np.flatnonzero(across == EMOTION_COLOURS["neutral"][0])
    assert max(across[: coloured[0]].min(), across[coloured[-1] + 1 :].min()) < GREY_LEVEL - 30


def test_the_face_itself_stays_free():
    drawn = annotate_faces(((250, 120, 350, 240), "sad"))
    assert not changed_pixels(drawn)[130:230, 260:340].any()


def test_the_input_is_left_untouched_and_the_output_is_new():
    picture = make_picture()
    picture.flags.writeable = False
    annotator = plain_annotator(make_prediction([make_track(1, (250, 120, 350, 240))], [make_window(1, "sad")]))
    drawn = annotator.annotate(picture, 0.4)
    assert (picture == GREY_LEVEL).all()
    assert drawn.shape == picture.shape and drawn.dtype == np.uint8
    assert not np.shares_memory(drawn, picture) and (drawn != picture).any()


def test_a_picture_without_anything_to_draw_is_copied():
    picture = make_picture()
    annotator = plain_annotator(make_prediction([make_track(1, (250, 120, 350, 240))], [make_window(1, "sad")]))
    drawn = annotator.annotate(picture, 2.9)  # the face was seen last at 0.8 s
    assert (drawn == picture).all() and not np.shares_memory(drawn, picture)


def test_the_same_pixels_come_of_the_same_input_and_of_a_view_with_negative_strides():
    annotator = plain_annotator(make_prediction([make_track(1, (250, 120, 350, 240))], [make_window(1, "sad")]))
    drawn = annotator.annotate(make_picture(), 0.4)
    assert (annotator.annotate(make_picture(), 0.4) == drawn).all()
    assert (annotator.annotate(make_picture()[::-1, ::-1], 0.4) == drawn).all()


def test_the_emotion_follows_the_windows_of_that_face_and_is_grey_while_it_is_unsure():
    windows = [make_window(1, "sad", 0, 1), make_window(2, "happy", 0, 1), make_window(1, "angry", 4, 5),
               make_window(3, "sad", 0, 1, confidence=0.3), make_window(3, "calm", 4, 5)]  # fmt: skip
    tracks = [make_track(i, (x, 120, x + 100, 240), (0.0, 5.0)) for i, x in ((1, 50), (2, 250), (3, 450))]
    annotator = plain_annotator(make_prediction(tracks, windows, unsure_below=0.5))
    early, late = annotator.annotate(make_picture(), 0.0), annotator.annotate(make_picture(), 5.0)
    sad, happy, angry, calm = (EMOTION_COLOURS[name] for name in ("sad", "happy", "angry", "calm"))
    assert [tuple(early[180, x]) for x in (50, 250, 450)] == [sad, happy, NO_EVIDENCE_COLOUR]
    assert [tuple(late[180, x]) for x in (50, 250, 450)] == [angry, happy, calm]


def test_a_face_without_evidence_is_grey_though_another_has_some():
    drawn = annotate_faces(((100, 120, 200, 240), "sad"), ((400, 120, 500, 240), None))
    assert tuple(drawn[180, 400]) == NO_EVIDENCE_COLOUR
    assert tuple(drawn[180, 100]) == EMOTION_COLOURS["sad"]
    # Nor has it bars beside it.
    assert not changed_pixels(drawn)[:, 520:].any()


def test_the_plate_stands_above_the_box_where_there_is_room_and_else_below():
    drawn = annotate_faces(((250, 120, 350, 240), "happy"))
    assert is_colour(drawn, EMOTION_COLOURS["happy"])[90:112].sum() > 500
    assert not changed_pixels(drawn)[250:].any()
    at_the_top = annotate_faces(((250, 0, 350, 120), "happy"))
    assert is_colour(at_the_top, EMOTION_COLOURS["happy"])[126:150].sum() > 500


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (320, 240), (360, 640), (201, 133)])
@pytest.mark.parametrize("corner", [(-0.1, -0.1), (0.8, -0.1), (-0.1, 0.8), (0.8, 0.8), (0.35, 0.3)])
def test_a_plate_is_wholly_inside_the_picture_wherever_the_face_is(size, corner):
    width, height = size
    box = tuple(round(value) for value in (corner[0] * width, corner[1] * height,
                                           (corner[0] + 0.3) * width, (corner[1] + 0.3) * height))  # fmt: skip
    scale = Scale.of(width, height)
    runs = TextRun("face 1"), TextRun("surprised", is_bold=True), TextRun("80 %"), TextRun("face")
    plate = render_plate(runs, scale.font_size, EMOTION_COLOURS["surprised"])
    place = place_plate(plate.size, box, scale, boxes=[box], taken=[])
    assert scale.holds(place)
    # And that is where it is drawn, every pixel of it.
    expected = make_picture(width, height)
    blend_tile(expected, plate, place[0], place[1])
    drawn = annotate_faces((box, "surprised"), width=width, height=height)
    x1, y1, x2, y2 = place
    inner = np.s_[y1 + scale.line + 4 : y2 - scale.line - 4, x1 + 12 : x2 - 12]
    assert (drawn[inner] == expected[inner]).all()


def test_plates_of_neighbouring_faces_do_not_cover_one_another():
    scale = Scale.of(640, 360)
    size = (150, 22)
    boxes = [(200 + 45 * i, 150, 240 + 45 * i, 200) for i in range(4)]
    places = []
    for box in boxes:
        places.append(place_plate(size, box, scale, boxes=boxes, taken=places))
    assert all(overlap(first, second) == 0 for first, second in itertools.combinations(places, 2))
    assert all(overlap(place, box) == 0 for place in places for box in boxes)


def test_two_faces_are_marked_each_in_its_place_and_colour():
    drawn = annotate_faces(((60, 150, 160, 270), "calm"), ((420, 150, 520, 270), "disgust"))
    calm, disgust = is_colour(drawn, EMOTION_COLOURS["calm"]), is_colour(drawn, EMOTION_COLOURS["disgust"])
    # The bars name the runners-up, in their colours too; what is above the boxes are the plates.
    assert calm[:140, :320].sum() > 500 and not calm[:140, 320:].any()
    assert disgust[:140, 320:].sum() > 500 and not disgust[:140, :320].any()


def test_bars_stand_beside_a_tall_face_and_not_beside_a_small_one():
    assert changed_pixels(annotate_faces(((250, 120, 350, 240), "happy")))[120:160, 365:420].all()
    assert not changed_pixels(annotate_faces(((250, 120, 280, 150), "happy")))[:, 420:].any()


def test_the_bars_of_a_face_that_fills_the_picture_stand_in_a_corner_if_it_is_alone():
    head = (60, 50, 196, 226)
    alone = annotate_faces((head, "happy"), width=256, height=256)
    assert changed_pixels(alone)[210:250, 165:250].mean() > 0.9
    beside = annotate_faces((head, "happy"), ((2, 2, 40, 40), "sad"), width=256, height=256)
    assert changed_pixels(beside)[230:250, 200:250].mean() < 0.1


def test_the_longest_bar_is_the_most_probable_emotion():
    happy, sad = EMOTION_COLOURS["happy"], EMOTION_COLOURS["sad"]
    panel = render_bars((("happy", 80, happy), ("sad", 20, sad)), 24, 60)
    lengths = [int(is_colour(panel.colours, colour).any(axis=0).sum()) for colour in (happy, sad)]
    assert lengths[0] == pytest.approx(4 * lengths[1], rel=0.2)


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (120, 90), (320, 240), (3840, 2160), (333, 247), (8, 8), (1, 1)])
def test_pictures_of_any_size_are_annotated_with_or_without_a_notice(size):
    width, height = size
    box = (width // 4, height // 4, max(1, width * 3 // 4), max(1, height * 3 // 4))
    drawn = annotate_faces((box, "fearful"), width=width, height=height)
    assert drawn.shape == (height, width, 3)
    assert changed_pixels(drawn).any() or size == (1, 1)
    noticed = Annotator(make_prediction(), notice=True).annotate(make_picture(width, height), 0.0)
    assert noticed.shape == (height, width, 3)


def test_letters_grow_with_the_picture_and_never_fall_below_eleven_pixels():
    sizes = [Scale.of(round(height * 16 / 9), height).font_size for height in (48, 240, 480, 720, 1080, 2160)]
    assert sizes[:2] == [11, 11]
    assert sizes[2:] == sorted(set(sizes[2:]))
    assert sizes[-1] == pytest.approx(3 * sizes[-3], abs=3)
    # A portrait has those of the landscape it was turned from.
    assert Scale.of(1080, 1920).font_size == Scale.of(1920, 1080).font_size


def test_the_box_of_a_face_behind_another_is_not_drawn_on_that_one():
    moving = FaceTrack(1, (0.0, 0.4), ((100, 100, 200, 220), (300, 100, 400, 220)))
    still = FaceTrack(2, tuple(np.arange(0, 0.5, 0.08)), ((200, 100, 300, 220),) * 7)
    assert [track.face_id for track, _ in visible_boxes((moving, still), 0.2)] == [2]
    assert [track.face_id for track, _ in visible_boxes((moving, still), 0.0)] == [1, 2]
    assert [track.face_id for track, _ in visible_boxes((moving,), 0.2)] == [1]


def test_bars_keep_their_place_for_as_long_as_they_can_and_their_face_however_its_size_wavers():
    times = tuple(np.arange(0, 3.01, 0.08))
    # The face goes to the right, where there will be no room; its height wavers about the smallest that has bars.
    boxes = tuple((int(40 + 150 * t), 150, int(120 + 150 * t), 206 + 8 * (i % 2)) for i, t in enumerate(times))
    prediction = make_prediction([FaceTrack(1, times, boxes)], [make_window(1, "happy")])
    annotator, places = plain_annotator(prediction), []
    for time in np.arange(0, 3, 0.1):
        annotator.annotate(make_picture(), float(time))
        places.append(annotator.bar_places.chosen[1])
    assert len(set(places)) == 1


def test_a_face_outside_the_picture_is_not_marked_and_one_as_large_keeps_its_whole_line():
    assert not changed_pixels(annotate_faces(((700, 100, 800, 200), "happy"))).any()
    yellow = is_colour(annotate_faces(((0, 0, 640, 360), "happy")), EMOTION_COLOURS["happy"])
    assert yellow[180, :8].any() and yellow[180, -8:].any() and yellow[-8:, 320].any()


@pytest.mark.parametrize(
    ("windows", "colour"),
    [
        ([make_window(None, "sad")], EMOTION_COLOURS["sad"]),
        ([], NO_EVIDENCE_COLOUR),
        ([make_window(None, None)], NO_EVIDENCE_COLOUR),
    ],
)
def test_without_a_face_the_voice_or_that_there_is_none_is_told_in_the_lower_left_corner(windows, colour):
    drawn = plain_annotator(make_prediction(windows=windows)).annotate(make_picture(), 1.0)
    plate = is_colour(drawn, colour)
    assert plate[270:, :320].sum() == plate.sum() > 500


def test_the_voice_plate_comes_when_the_only_face_has_left():
    windows = [make_window(1, "happy", 0, 3), make_window(None, "sad", 3, 6)]
    annotator = plain_annotator(make_prediction([make_track(1, (250, 120, 350, 200))], windows))
    assert not lower_left(annotator.annotate(make_picture(), 0.4)).any()
    assert lower_left(annotator.annotate(make_picture(), 4.0)).any()


def test_with_several_faces_the_voice_judged_apart_is_shown_beside_them():
    tracks = [make_track(1, (60, 60, 160, 160)), make_track(2, (420, 60, 520, 160))]
    windows = [make_window(1, "happy"), make_window(2, "sad"), make_window(None, "angry")]
    drawn = plain_annotator(make_prediction(tracks, windows)).annotate(make_picture(), 0.4)
    assert is_colour(drawn, EMOTION_COLOURS["angry"])[270:, :320].sum() > 500


def test_a_voice_heard_elsewhere_in_the_clip_is_not_claimed_here():
    windows = [make_window(1, "happy", 0, 3), make_window(None, "sad", 20, 23)]
    annotator = plain_annotator(make_prediction([make_track(1, (250, 120, 350, 200))], windows))
    assert not changed_pixels(annotator.annotate(make_picture(), 10.0)).any()


def plate_pixels(name, *further, emotion, confidence, width=640, height=360):
    """The pixels inside a plate that says "unsure" and what is most probable, as it is drawn on a picture."""
    runs = TextRun(name), TextRun(UNSURE, is_bold=True), TextRun(f"{emotion} {confidence}"), *map(TextRun, further)
    plate = render_plate(runs, Scale.of(width, height).font_size, NO_EVIDENCE_COLOUR)
    drawn = make_picture(*plate.size)
    blend_tile(drawn, plate, 0, 0)
    return drawn[6:-6, 12:-12]


def holds(image, part):
    """Whether a small picture stands somewhere in a larger one, pixel by pixel."""
    views = np.lib.stride_tricks.sliding_window_view(image, part.shape)[:, :, 0]
    return any((view == part).all() for row in views for view in row if (view[0] == part[0]).all())


def test_an_unsure_face_is_grey_and_says_what_is_most_probable_and_its_bars_keep_their_colours():
    tracks, windows = [make_track(1, (250, 120, 350, 240))], [make_window(1, "sad", confidence=0.34)]
    drawn = plain_annotator(make_prediction(tracks, windows, unsure_below=0.4)).annotate(make_picture(), 0.4)
    assert tuple(drawn[180, 250]) == NO_EVIDENCE_COLOUR
    assert holds(drawn[60:120], plate_pixels("face 1", "face", emotion="sad", confidence="34 %"))
    bars = is_colour(drawn[:, 352:], EMOTION_COLOURS["sad"])
    assert bars.any() and not is_colour(drawn[:, :352], EMOTION_COLOURS["sad"]).any()


def test_an_unsure_voice_is_grey_and_says_what_is_most_probable():
    windows = [make_window(None, "sad", confidence=0.34)]
    drawn = plain_annotator(make_prediction(windows=windows, unsure_below=0.4)).annotate(make_picture(), 1.0)
    assert is_colour(drawn, NO_EVIDENCE_COLOUR)[270:, :320].sum() > 500
    assert not is_colour(drawn, EMOTION_COLOURS["sad"]).any()
    assert holds(drawn[300:], plate_pixels("voice", emotion="sad", confidence="34 %"))


def test_an_image_of_another_shape_or_type_is_refused_with_the_rule():
    annotator = plain_annotator(make_prediction())
    for image in (make_picture()[..., 0], make_picture().astype(np.float32), make_picture()[:0]):
        with pytest.raises(ValueError, match="uint8"):
            annotator.annotate(image, 0.0)


@pytest.mark.parametrize("level", [0, 255])
def test_blending_is_exact_to_a_step_and_never_wraps_round(level):
    tile = render_plate((TextRun("face 1"),), 24, WHITE)
    picture = np.full((tile.size[1], tile.size[0], 3), level, np.uint8)
    blend_tile(picture, tile, 0, 0)
    exact = level * (tile.see_through / 255.0) + tile.colours
    assert np.abs(picture - exact).max() <= 1


def test_a_tile_half_outside_is_cut_at_the_edge():
    whole = make_picture(200, 60)
    tile = render_plate((TextRun("face 1"),), 20, WHITE)
    blend_tile(whole, tile, 50, 20)
    part = make_picture(200, 60)
    blend_tile(part, tile, -10, 20)
    width = tile.size[0] - 10
    assert (part[:, :width] == whole[:, 60 : 60 + width]).all()
    blend_tile(part, tile, 500, 500)


# ---- The timeline ----


def strip_of(image, prediction, time=1.5):
    """The rows of the timeline of a picture, from the top, as the colour in the middle of every column."""
    drawn = Annotator(prediction).annotate(image, time)
    strip = TimelineStrip(prediction, image.shape[1], image.shape[0])
    return drawn[image.shape[0] - strip.height :], strip


def test_the_timeline_fills_as_the_video_plays_in_the_colours_of_what_prevails():
    windows = [make_window(1, "sad", 0, 1), make_window(1, "happy", 2, 3)]
    track = FaceTrack(1, tuple(np.arange(0, 3.1, 0.2)), ((250, 60, 350, 180),) * 16)
    prediction = make_prediction([track], windows)
    strip, _ = strip_of(make_picture(), prediction, time=2.9)
    middle = strip[len(strip) // 2]
    assert tuple(middle[50]) == EMOTION_COLOURS["sad"] and tuple(middle[560]) == EMOTION_COLOURS["happy"]
    early, _ = strip_of(make_picture(), prediction, time=0.5)
    middle = early[len(early) // 2]
    assert tuple(middle[50]) == EMOTION_COLOURS["sad"]
    assert not is_colour(middle[560], EMOTION_COLOURS["happy"]).any()
    assert middle[560].max() < EMOTION_COLOURS["happy"][0]
    assert tuple(middle[105]) == WHITE  # the head, at a sixth of the width


def test_every_face_has_a_row_of_its_own_and_none_where_it_is_out_of_sight():
    times = tuple(np.arange(0, 1.5, 0.2))
    tracks = [make_track(1, (60, 60, 160, 160), times), make_track(2, (420, 60, 520, 160), times)]
    prediction = make_prediction(tracks, [make_window(1, "happy"), make_window(2, "sad")])
    strip, parts = strip_of(make_picture(), prediction, time=2.95)
    rows = [strip[round((i + 0.5) * parts.height / 2)] for i in range(2)]
    assert tuple(rows[0][200]) == EMOTION_COLOURS["happy"] and tuple(rows[1][200]) == EMOTION_COLOURS["sad"]
    assert max(rows[0][500].max(), rows[1][500].max()) < GREY_LEVEL  # dark, seen through a little


def test_labels_keep_off_the_timeline():
    prediction = make_prediction(windows=[make_window(None, "sad")])
    strip = TimelineStrip(prediction, 640, 360)
    assert strip.height > 0
    bare = plain_annotator(prediction).annotate(make_picture(), 1.0)
    drawn = Annotator(prediction).annotate(make_picture(), 1.0)
    plates = [is_colour(image[: -strip.height], EMOTION_COLOURS["sad"]).sum() for image in (bare, drawn)]
    assert plates[0] == plates[1] > 500


def test_a_still_has_no_timeline():
    prediction = dataclasses.replace(make_prediction(windows=[make_window(1, "sad")]), duration_seconds=0.04)
    assert TimelineStrip(prediction, 640, 360).height == 0
    drawn = Annotator(prediction).annotate(make_picture(), 0.0)
    assert (drawn == plain_annotator(prediction).annotate(make_picture(), 0.0)).all()


# ---- For sharing ----


def textured(width=640, height=360):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_blurred_faces_cannot_be_recognised_and_the_rest_stays_sharp():
    picture = textured()
    track = make_track(1, (250, 120, 350, 240))
    prediction = make_prediction([track], [make_window(1, "sad")])
    drawn = Annotator(prediction, blur_faces=True, timeline=False).annotate(picture, 0.4)
    face = np.s_[140:220, 270:330]
    assert drawn[face].std() < picture[face].std() / 4
    assert (drawn[300:] == picture[300:]).all()
    assert (Annotator(prediction, timeline=False).annotate(picture, 0.4)[face] == picture[face]).all()


def test_faces_that_are_not_judged_are_blurred_and_not_marked():
    picture = textured()
    passed_over = make_track(1, (250, 120, 350, 240))
    prediction = dataclasses.replace(make_prediction(), passed_over=(passed_over,))
    drawn = Annotator(prediction, blur_faces=True, timeline=False).annotate(picture, 0.4)
    assert drawn[140:220, 270:330].std() < 40
    assert (drawn[:80] == picture[:80]).all()


def test_a_face_lost_for_a_moment_stays_blurred():
    track = FaceTrack(1, (0.0, 1.2), ((250, 120, 350, 240),) * 2)
    drawn = Annotator(make_prediction([track]), blur_faces=True).annotate(textured(), 0.6)
    assert drawn[140:220, 270:330].std() < 40


@pytest.mark.parametrize("box", [(-50, -50, 30, 30), (600, 330, 700, 420), (0, 0, 640, 360), (700, 400, 800, 500)])
def test_a_face_half_or_wholly_outside_is_blurred_without_harm(box):
    prediction = make_prediction([make_track(1, box)])
    assert Annotator(prediction, blur_faces=True).annotate(textured(), 0.4).shape == (360, 640, 3)


@pytest.mark.parametrize(("box", "is_left"), [((400, 120, 500, 240), True), ((5, 5, 105, 125), False)])
def test_the_notice_stands_in_a_corner_where_it_covers_no_face(box, is_left):
    prediction = make_prediction([make_track(1, box)], [make_window(1, "happy")])
    annotator = Annotator(prediction, notice=True, timeline=False)
    drawn = annotator.annotate(make_picture(), 0.4)
    plate = render_plate((TextRun(NOTICE),), Scale.of(640, 360).font_size, DARK)
    margin = Scale.of(640, 360).margin
    left = margin if is_left else 640 - margin - plate.size[0]
    expected = make_picture()
    blend_tile(expected, plate, left, margin)
    part = np.s_[margin : margin + plate.size[1], left : left + plate.size[0]]
    assert (drawn[part] == expected[part]).all()
    # And there it stays when the face has gone.
    assert (annotator.annotate(make_picture(), 2.9)[part] == expected[part]).all()


def test_bars_stay_where_they_are_while_they_can_and_do_not_flutter():
    times = tuple(np.arange(0, 3, 0.1).tolist())
    # The head sways so that the room to its right is now enough and now not.
    boxes = tuple(
        (250 + round(130 * np.sin(2 * time)), 120, 370 + round(130 * np.sin(2 * time)), 260) for time in times
    )
    annotator = plain_annotator(make_prediction([FaceTrack(1, times, boxes)], [make_window(1, "happy")]))
    sides = []
    for time, box in zip(times, boxes, strict=True):
        drawn = changed_pixels(annotator.annotate(make_picture(), time))
        right, left = drawn[140:160, box[2] + 20 : box[2] + 60], drawn[140:160, max(0, box[0] - 60) : box[0] - 20]
        sides.append("right" if right.size and right.all() else "left" if left.size and left.all() else "else")
    changes = sum(before != after for before, after in itertools.pairwise(sides))
    assert changes <= 3


def test_bars_come_back_to_their_face_out_of_a_corner():
    times = tuple(np.arange(0, 9, 0.1).tolist())
    boxes = tuple((10, 10, 630, 350) if time < 2 else (200, 100, 300, 240) for time in times)
    annotator = plain_annotator(make_prediction([FaceTrack(1, times, boxes)], [make_window(1, "happy")]))
    places = {}
    for time in (0.5, 1.5, 2.5, 5.0):
        annotator.annotate(make_picture(), time)
        places[time] = annotator.bar_places.chosen[1]
    assert places[0.5] == places[1.5] >= N_PLACES_BESIDE
    assert places[2.5] == places[5.0] < N_PLACES_BESIDE


def test_a_box_does_not_outlast_its_shot():
    cuts = (1.0,)
    first = FaceTrack(1, (0.0, 0.5, 0.96), ((60, 60, 160, 160),) * 3, cuts)
    second = FaceTrack(2, (1.0, 1.5, 2.0), ((420, 60, 520, 160),) * 3, cuts)
    annotator = plain_annotator(make_prediction([first, second], [make_window(1, "happy"), make_window(2, "sad")]))
    happy, sad = EMOTION_COLOURS["happy"], EMOTION_COLOURS["sad"]
    before, after = annotator.annotate(make_picture(), 0.99), annotator.annotate(make_picture(), 1.0)
    assert tuple(before[110, 60]) == happy and not changed_pixels(before)[80:140, 400:].any()
    assert tuple(after[110, 420]) == sad and not is_colour(after[:, :300], happy).any()


@pytest.mark.parametrize(("size", "across", "down"), [((640, 360), 8, 3), ((1280, 720), 10, 4)])
def test_in_a_crowd_of_small_faces_no_label_covers_a_face_or_another_label(size, across, down):
    boxes = [
        (x := round((i + 0.5) * size[0] / across), y := round((j + 0.4) * size[1] / down), x + 26, y + 34)
        for j in range(down)
        for i in range(across)
    ]
    tracks = [make_track(face_id, box) for face_id, box in enumerate(boxes, 1)]
    emotions = itertools.cycle(EIGHT_EMOTIONS)
    prediction = make_prediction(tracks, [make_window(track.face_id, next(emotions)) for track in tracks])
    annotator = Annotator(prediction, timeline=False)
    scale = Scale.of(*size)
    tiles = [place for _, place in annotator._tiles(annotator._faces_in_sight(0.4, scale), 0.4, scale)]
    assert len(tiles) == len(boxes)
    assert all(overlap(first, second) == 0 for first, second in itertools.combinations(tiles, 2))
    assert all(overlap(tile, box) == 0 for tile in tiles for box in boxes)


def test_labels_of_large_faces_keep_their_letters_and_small_faces_have_smaller_ones():
    def height(box):
        prediction = make_prediction([make_track(1, box)], [make_window(1, "happy")])
        annotator, scale = Annotator(prediction, timeline=False), Scale.of(1280, 720)
        return next(tile for tile, _ in annotator._tiles(annotator._faces_in_sight(0.4, scale), 0.4, scale)).size[1]

    assert (
        height((0, 0, 1280, 720))
        == height((300, 300, 500, 560))
        == height((300, 300, 400, 420))
        > height((300, 300, 330, 335)) + 6
    )
