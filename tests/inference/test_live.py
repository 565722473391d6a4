"""A camera is judged as it looks, shown in the browser, and recorded to a file that plays however it ends."""

import json
import threading
import time
import urllib.request

import cv2
import numpy as np
import pytest
from small_models import small_config

import run_inference
from emotion.datasets.synthetic.faces import draw_face
from emotion.errors import ConfigError, MediaError
from emotion.inference.live import LivePage, run_live
from emotion.inference.predictor import EmotionPredictor
from emotion.media import camera
from emotion.media.camera import Camera
from emotion.media.pictures import VideoFrame
from emotion.media.reading import iterate_media, probe_media
from emotion.models import build_model
from emotion.models.trained_model import Run
from emotion.outputs.subtitles import format_srt
from emotion.settings import InferenceSettings


class FakeCapture:
    """What OpenCV gives for a camera: a face in front of it, so many pictures a second."""

    def __init__(self, *, rate: float = 40.0, n_pictures: int = 10**9, opens: bool = True):
        self._picture = np.full((240, 320, 3), 110, np.uint8)
        self._picture[:, 40:280] = draw_face("happy", speaker_seed=1, size=240)[..., ::-1]
        self._interval, self._left, self._opens = 1 / rate, n_pictures, opens
        self.released = False

    def isOpened(self):
        return self._opens

    def read(self):
        if self._left <= 0:
            return False, None
        self._left -= 1
        time.sleep(self._interval)
        return True, self._picture.copy()

    def release(self):
        self.released = True


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    config = small_config()
    return EmotionPredictor(Run(tmp_path_factory.mktemp("run"), config, build_model(config), sha256=""))


def plug_in(monkeypatch, **options) -> list[FakeCapture]:
    captures = []

    def open_capture(index):
        captures.append(FakeCapture(**options))
        return captures[-1]

    monkeypatch.setattr(camera, "open_capture", open_capture)
    return captures


# ---- The camera ----


def test_pictures_come_upright_in_rgb_at_rising_times_and_end_by_themselves(monkeypatch):
    captures = plug_in(monkeypatch)
    with Camera(0, max_seconds=0.5) as source:
        frames = list(source.frames())
    times = [frame.time_seconds for frame in frames]
    assert 5 < len(frames) <= 21 and times == sorted(set(times)) and times[-1] < 0.7
    np.testing.assert_array_equal(frames[0].image, captures[0]._picture[..., ::-1])
    assert captures[0].released


def test_who_is_slow_gets_the_latest_picture_and_not_a_queue_of_old_ones(monkeypatch):
    plug_in(monkeypatch, rate=100)
    with Camera(0, max_seconds=1.0) as source:
        late = []
        for frame in source.frames():
            late.append(time.monotonic() - source._start - frame.time_seconds)
            time.sleep(0.1)
    assert max(late) < 0.1


def test_a_camera_that_is_not_there_is_named(monkeypatch):
    plug_in(monkeypatch, opens=False)
    with pytest.raises(MediaError, match="camera 3"):
        Camera(3)


def test_a_camera_that_gives_nothing_is_named(monkeypatch):
    plug_in(monkeypatch, n_pictures=0)
    monkeypatch.setattr(camera, "FIRST_FRAME_SECONDS", 0.1)
    for seconds in (None, 5.0):
        with Camera(0, max_seconds=seconds) as source, pytest.raises(MediaError, match="camera 0"):
            list(source.frames())


def test_a_camera_that_is_unplugged_ends_the_pictures(monkeypatch):
    plug_in(monkeypatch, n_pictures=5)
    monkeypatch.setattr(camera, "PATIENCE_SECONDS", 0.2)
    with Camera(0) as source:
        assert 1 <= len(list(source.frames())) <= 5


# ---- Judging as it happens ----


def pictures(seconds: float, rate: float = 12.5):
    face = draw_face("happy", speaker_seed=1, size=200)
    for i in range(round(seconds * rate)):
        yield VideoFrame(i / rate, face, 1 / rate)


class Screen:
    """Stands in for the page: keeps what it is shown."""

    def __init__(self):
        self.images = []

    def show(self, image):
        self.images.append(image)


def test_every_picture_is_shown_with_what_is_known_by_then(predictor):
    screen = Screen()
    prediction = run_live(predictor, pictures(2.0), name="camera 0", page=screen)
    assert len(screen.images) == 25
    plain = draw_face("happy", speaker_seed=1, size=200)
    changed = [(image != plain).any() for image in screen.images]
    assert all(changed[12:])  # by the first second there are boxes
    assert prediction.path == "camera 0" and len(prediction.tracks) == 1
    assert prediction.overall.evidence == "face"
    # The first answers are about what was seen by then, not about three seconds.
    assert min(window.end_seconds for window in prediction.windows) < 1.0
    assert all(0 <= window.start_seconds <= window.end_seconds <= 2.1 for window in prediction.windows)


def test_short_windows_begin_with_the_camera(predictor):
    chosen = EmotionPredictor(predictor.run, InferenceSettings(window_seconds=0.5, step_seconds=0.25))
    prediction = run_live(chosen, pictures(2.0), name="camera 0")
    judged = [window for window in prediction.windows if window.evidence == "face"]
    assert len(judged) >= len(prediction.windows) - 1
    assert {round(window.end_seconds - window.start_seconds, 2) for window in judged[2:-1]} == {0.5}


def test_blurred_faces_stay_blurred_though_they_are_not_judged(predictor):
    chosen = EmotionPredictor(predictor.run, InferenceSettings(min_face=1000))
    screen = Screen()
    run_live(chosen, pictures(1.0), name="camera 0", page=screen, drawing={"blur_faces": True})
    plain = draw_face("happy", speaker_seed=1, size=200)

    def detail(image):
        return cv2.Laplacian(image[70:130, 70:130].astype(np.float32), cv2.CV_32F).std()

    assert all(detail(image) < 0.2 * detail(plain) for image in screen.images)


def test_a_recording_plays_and_holds_every_picture(predictor, tmp_path):
    path = tmp_path / "out.mp4"
    run_live(predictor, pictures(2.0), name="camera 0", output=path)
    frames = [item for item in iterate_media(path, sample_rate=8000) if isinstance(item, VideoFrame)]
    np.testing.assert_allclose([frame.time_seconds for frame in frames], np.arange(25) / 12.5, atol=1e-3)


def test_ctrl_c_ends_it_with_a_whole_recording(predictor, tmp_path):
    def interrupted():
        yield from pictures(1.2)
        raise KeyboardInterrupt

    path = tmp_path / "out.mp4"
    prediction = run_live(predictor, interrupted(), name="camera 0", output=path)
    assert probe_media(path).video_codec == "h264"
    assert prediction.overall.emotion is not None
    assert prediction.duration_seconds == pytest.approx(1.2, abs=0.1)
    assert "00:00:01" in format_srt(prediction)
    assert [item.name for item in tmp_path.iterdir()] == ["out.mp4"]


def test_a_camera_that_shows_nothing_gives_no_answer_and_no_recording(predictor, tmp_path):
    prediction = run_live(predictor, iter(()), name="camera 0", output=tmp_path / "out.mp4")
    assert prediction.overall.emotion is None
    assert list(tmp_path.iterdir()) == []


# ---- The page ----


def test_the_page_shows_the_pictures_as_they_come():
    image = np.full((48, 64, 3), (200, 30, 30), np.uint8)
    with LivePage(0) as page:
        with urllib.request.urlopen(page.address, timeout=10) as answer:
            text = answer.read().decode()
        assert 'src="/stream"' in text and "AI system is recognising emotions" in text
        threading.Timer(0.2, page.show, [image]).start()
        with urllib.request.urlopen(page.address + "stream", timeout=10) as stream:
            assert "multipart/x-mixed-replace" in stream.headers["Content-Type"]
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += stream.read(1)
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            shown = cv2.imdecode(np.frombuffer(stream.read(length), np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_allclose(shown[..., ::-1].mean(axis=(0, 1)), (200, 30, 30), atol=4)
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(page.address + "etc/passwd", timeout=10)
        request = urllib.request.Request(page.address + "stream", headers={"Host": "evil.example:8765"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=10)


def test_a_port_that_is_taken_is_named():
    with LivePage(0) as page:
        port = int(page.address.rsplit(":", 1)[1].strip("/"))
        with pytest.raises(ConfigError, match=f"--port {port}"):
            LivePage(port)


def test_the_program_watches_a_camera_records_it_and_keeps_its_table(trained, tmp_path, monkeypatch, call):
    plug_in(monkeypatch)
    monkeypatch.chdir(tmp_path)
    options = ("--max_seconds", 2, "--output", "out.mp4", "--json", "--port", 0)
    code, out, _ = call(run_inference, 0, "--model", trained.path, *options)
    assert code == 0
    assert "open http://127.0.0.1:" in out and "annotated video: out.mp4" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.mp4"]
    table = json.loads((tmp_path / "out.json").read_text())
    assert table["file"] == "camera 0" and table["overall"]["evidence"] == "face" and table["notes"] == []
    assert (table["settings"]["window_seconds"], table["settings"]["step_seconds"]) == (1.0, 0.25)
    assert 0.0 < probe_media("out.mp4").duration_seconds < 3.0  # a busy computer looks less often
