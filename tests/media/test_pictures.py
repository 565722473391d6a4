"""Pictures as they were decoded: drawn on part by part, sampled, and written in the source's own colours."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from marked_predictions import make_prediction, make_track, make_window

from emotion.datasets.synthetic.faces import draw_face
from emotion.errors import MediaError
from emotion.inputs.faces.detection import YuNetDetector
from emotion.media.pictures import ColourSpace, RgbPicture, VideoFrame, YuvPicture
from emotion.media.reading import iterate_media
from emotion.media.writing import VideoWriter
from emotion.outputs.video.annotator import Annotator
from emotion.outputs.video.writing import write_annotated_video

BT601, BT709, UNKNOWN = ColourSpace(6, 6, 6), ColourSpace(1, 1, 1), ColourSpace(2, 2, 2)


def make_scene(width: int = 320, height: int = 240) -> np.ndarray:
    """A smooth picture of many colours, RGB: its halved colour planes lose next to nothing."""
    small = np.random.default_rng(0).integers(30, 220, (4, 5, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def to_yuv(image: np.ndarray, space: ColourSpace) -> YuvPicture:
    height, width = image.shape[:2]
    picture = YuvPicture.make(width, height, space)
    with picture.region((0, 0, width, height)) as region:
        region[:] = image
    return picture


def to_rgb(picture: YuvPicture) -> np.ndarray:
    with picture.copy().region((0, 0, *picture.shape[1::-1])) as region:
        return region.copy()


def encode(path, space: ColourSpace, image: np.ndarray, n: int = 5, pixels: str = "yuv420p") -> None:
    """Writes a clip by FFmpeg's own conversion."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "8"})
        stream.height, stream.width, stream.pix_fmt = *image.shape[:2], pixels
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = space.matrix, space.primaries, space.transfer
        for index in range(n):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            matrix = "itu709" if space.weights(image.shape[0]) == "709" else "itu601"
            frame = frame.reformat(format=pixels, dst_colorspace=matrix, dst_color_range="MPEG")
            frame.colorspace, frame.pts, frame.time_base = space.matrix, index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("space", [BT601, BT709, UNKNOWN])
def test_colours_are_those_that_ffmpeg_makes_of_the_planes(space):
    image = make_scene()
    frame = to_yuv(image, space).frame
    matrix = "itu709" if space.weights(240) == "709" else "itu601"
    decoded = frame.reformat(format="rgb24", src_colorspace=matrix, src_color_range="MPEG").to_ndarray()
    assert np.abs(decoded.astype(int) - image).mean() < 2
    assert np.abs(to_rgb(to_yuv(image, space)).astype(int) - image).mean() < 2


def test_what_a_file_does_not_say_follows_from_its_height():
    assert UNKNOWN.weights(719) == "601" and UNKNOWN.weights(720) == "709"
    assert BT601.weights(1080) == "601" and BT709.weights(240) == "709"


@pytest.mark.parametrize("part", [(0, 0, 320, 240), (11, 21, 32, 44), (5, 5, 6, 6), (319, 239, 320, 240)])
def test_a_part_that_is_lent_and_left_alone_stays_as_it_was(part):
    picture = to_yuv(make_scene(), BT709)
    before = picture.frame.to_ndarray()
    with picture.region(part) as region:
        assert region.shape == (part[3] - part[1], part[2] - part[0], 3)
    assert np.abs(picture.frame.to_ndarray().astype(int) - before).max() <= 1


def test_what_is_drawn_stays_within_its_part():
    picture = to_yuv(make_scene(), BT601)
    before = to_rgb(picture)
    with picture.region((11, 21, 41, 51)) as region:
        region[:] = (240, 30, 60)
    after = to_rgb(picture)
    assert np.abs(after[22:50, 12:40].astype(int) - (240, 30, 60)).max() <= 3
    outside = np.ones(after.shape[:2], bool)
    outside[20:52, 10:42] = False  # two pixels share their colours
    assert np.abs(after.astype(int) - before)[outside].max() <= 2


def test_every_so_many_pixels_are_those_of_the_picture():
    image = make_scene()
    samples = [VideoFrame(0.0, image).sample(7, 5), to_yuv(image, BT709).sample(7, 5)]
    np.testing.assert_array_equal(samples[0], image[::7, ::5])
    assert samples[1].shape == samples[0].shape
    assert np.abs(samples[1].astype(int) - samples[0]).mean() < 3


def test_annotations_look_alike_on_decoded_and_on_rgb_pictures():
    prediction = make_prediction([make_track(1, (101, 61, 181, 161))], [make_window(1, "happy")])
    image = make_scene()
    expected, canvas = RgbPicture(image.copy()), to_yuv(image, BT709)
    untouched = canvas.luma.copy()
    for blur_faces in (False, True):
        annotator = Annotator(prediction, blur_faces=blur_faces, notice=True)
        annotator.draw(expected, 0.4)
        annotator.draw(canvas, 0.4)
        assert np.abs(to_rgb(canvas).astype(int) - expected.image).mean() < 4
    assert (canvas.luma[:50, :90] == untouched[:50, :90]).mean() > 0.5  # beside notice and plate
    np.testing.assert_array_equal(canvas.luma[180:220, 190:], untouched[180:220, 190:])


@pytest.mark.parametrize("space", [BT601, BT709, UNKNOWN])
def test_a_video_is_written_in_the_colours_it_was_read_in(space, tmp_path):
    image = make_scene()
    encode(tmp_path / "in.mp4", space, image)
    frames = list(iterate_media(tmp_path / "in.mp4", sample_rate=16000))
    canvas = frames[0].canvas()
    assert isinstance(canvas, YuvPicture) and canvas.space == space
    with VideoWriter(tmp_path / "out.mp4", width=320, height=240, space=canvas.space, crf=8) as writer:
        for frame in frames[:3]:
            writer.write(frame.time_seconds, frame.canvas())
        writer.write(frames[3].time_seconds, frames[3].image)  # what comes as RGB is turned to the same
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries) == (space.matrix, space.primaries)
        decoded = [frame.to_ndarray()[:240].astype(int) for frame in container.decode(video=0)]
    for luma in decoded[:3]:
        assert np.abs(luma - frames[0].luma).mean() < 1.5
    if space is not UNKNOWN:  # FFmpeg takes what a file does not say for BT.601, players go by the height
        assert np.abs(decoded[3] - frames[0].luma).mean() < 2


def test_a_picture_of_other_colours_than_the_video_is_turned_to_its_own(tmp_path):
    image = make_scene()
    with VideoWriter(tmp_path / "out.mp4", width=320, height=240, space=BT709, crf=8) as writer:
        for index, space in enumerate((BT709, BT601)):
            writer.write(index / 10, to_yuv(image, space))
    for frame in iterate_media(tmp_path / "out.mp4", sample_rate=16000):
        assert np.abs(frame.image.astype(int) - image).mean() < 3


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv420p10le", "yuvj420p"])
def test_other_layouts_are_drawn_on_as_rgb(pixels, tmp_path):
    encode(tmp_path / "in.mp4", BT709, make_scene(), pixels=pixels)
    frame = next(iterate_media(tmp_path / "in.mp4", sample_rate=16000))
    canvas = frame.canvas()
    assert isinstance(canvas, RgbPicture) and canvas.image is not frame.image
    assert frame.luma.shape == (240, 320) and (frame.height, frame.width) == (240, 320)


def test_the_same_picture_can_be_shown_at_another_time(tmp_path):
    encode(tmp_path / "in.mp4", BT709, make_scene())
    frame = next(iterate_media(tmp_path / "in.mp4", sample_rate=16000))
    moved = frame.at(3.0, 0.5)
    assert (moved.time_seconds, moved.duration_seconds) == (3.0, 0.5)
    np.testing.assert_array_equal(moved.image, frame.image)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (2, 64), (6, 64), (238, 320), (270, 480)])
def test_a_video_of_any_even_size_is_written_as_it_was_read(height, width, tmp_path):
    image = make_scene(width, height)
    with VideoWriter(tmp_path / "out.mp4", width=width, height=height, space=BT709, crf=4) as writer:
        for index in range(3):
            writer.write(index / 10, to_yuv(image, BT709))
    frames = list(iterate_media(tmp_path / "out.mp4", sample_rate=16000))
    assert [(frame.height, frame.width) for frame in frames] == [(height, width)] * 3
    assert np.abs(frames[1].luma.astype(int) - to_yuv(image, BT709).luma).mean() < 1.5
    assert np.abs(frames[1].image.astype(int) - image).mean() < 3 or min(height, width) < 8


@pytest.mark.parametrize("height", [2, 4, 6, 12, 20, 40])
def test_pictures_less_high_than_their_timeline_are_drawn_on_without_it(height):
    tracks = [make_track(1, (0, 0, 8, 2)), make_track(2, (20, 0, 28, 2))]
    windows = [make_window(1, "happy"), make_window(2, "sad"), make_window(None, "angry")]
    for prediction in (make_prediction([], windows[2:]), make_prediction(tracks, windows)):
        for blur_faces in (False, True):
            canvas = YuvPicture.make(64, height, BT709)
            Annotator(prediction, blur_faces=blur_faces, notice=True).draw(canvas, 0.4)
            assert canvas.shape == (height, 64, 3)


def test_a_decoders_picture_cannot_be_drawn_on_and_its_copy_can(tmp_path):
    encode(tmp_path / "in.mp4", BT709, make_scene(338, 190))  # rows that are longer in memory
    frame = next(iterate_media(tmp_path / "in.mp4", sample_rate=16000))
    before = frame.luma.copy()
    with pytest.raises(ValueError, match="read-only"):
        frame.luma[:] = 0
    canvas = frame.canvas()
    with canvas.region((0, 0, 338, 190)) as region:
        region[:] = 0
    np.testing.assert_array_equal(frame.luma, before)
    assert canvas.luma.max() < before.max()


def test_a_picture_in_planes_is_given_once(tmp_path):
    picture = to_yuv(make_scene(), BT709)
    with VideoWriter(tmp_path / "out.mp4", width=320, height=240, space=BT709) as writer:
        writer.write(0.0, picture)
        with pytest.raises(ValueError, match="give a copy"):
            writer.write(0.1, picture)
        writer.write(0.1, picture.copy())
    assert len(list(iterate_media(tmp_path / "out.mp4", sample_rate=16000))) == 2


@pytest.mark.parametrize("part", [(-1, 0, 4, 4), (0, 0, 321, 4), (4, 4, 4, 8), (0, -2, 4, 4), (0, 0, 4, 241)])
def test_only_parts_of_a_picture_are_lent(part):
    for picture in (RgbPicture(make_scene()), to_yuv(make_scene(), BT709)):
        with pytest.raises(ValueError, match="320 x 240"), picture.region(part):
            pass


@pytest.mark.parametrize(("width", "height"), [(640, 360), (1280, 720)])
def test_a_file_that_does_not_say_its_colours_has_the_same_ones_everywhere(width, height, tmp_path):
    image = make_scene(width, height)
    encode(tmp_path / "in.mp4", UNKNOWN, image)
    frame = next(iterate_media(tmp_path / "in.mp4", sample_rate=16000))
    assert np.abs(frame.sample(1, 1).astype(int) - image).mean() < 2
    assert np.abs(frame.image.astype(int) - image).mean() < 2


@pytest.mark.parametrize("matrix", [4, 8, 9, 14])
def test_colours_of_other_kinds_are_turned_at_once_or_told_of(matrix, tmp_path):
    encode(tmp_path / "in.mp4", ColourSpace(matrix, 2, 2), make_scene())
    try:
        frames = list(iterate_media(tmp_path / "in.mp4", sample_rate=16000))
    except MediaError as error:
        assert "in.mp4: nothing in it could be decoded" in str(error)
    else:
        assert all(isinstance(frame.canvas(), RgbPicture) for frame in frames)


def test_a_video_whose_size_changes_midway_is_annotated_to_its_end(tmp_path):
    for name, size in (("a.ts", (320, 240)), ("b.ts", (160, 120))):
        encode(tmp_path / name, BT709, make_scene(*size), n=10)
    (tmp_path / "both.ts").write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    prediction = dataclasses.replace(make_prediction(), path=str(tmp_path / "both.ts"))
    write_annotated_video(prediction, tmp_path / "out.mp4")
    frames = list(iterate_media(tmp_path / "out.mp4", sample_rate=16000))
    assert len(frames) >= 18 and {(frame.height, frame.width) for frame in frames} == {(240, 320)}
    kinds = {type(frame.canvas()) for frame in iterate_media(tmp_path / "both.ts", sample_rate=16000)}
    assert kinds == {RgbPicture, YuvPicture}
    for frame in (frames[2], frames[-2]):
        assert np.abs(frame.image[60:200, 150:].astype(int) - make_scene()[60:200, 150:]).mean() < 12


def test_two_threads_may_ask_for_colours_and_faces_at_once(tmp_path):
    image = make_scene()
    image[40:200, 80:240] = draw_face("happy", speaker_seed=1, size=160)
    encode(tmp_path / "in.mp4", BT709, image, n=30)
    frames = list(iterate_media(tmp_path / "in.mp4", sample_rate=16000))
    detector = YuNetDetector()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda frame: (frame.image.mean(), len(detector.detect(frame.image))), frames))
    assert len({count for _, count in found}) == 1 and np.ptp([mean for mean, _ in found]) < 1
