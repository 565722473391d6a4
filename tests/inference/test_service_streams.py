"""Streams of the service: pictures and sound in, results out as windows are judged."""

import io
import json
import struct
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from services import KEY, asked, make_service
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from emotion import EmotionPredictor
from emotion.errors import InputTypeError, MediaError
from emotion.inference.service.clerk import Clerk
from emotion.inference.service.options import StreamHello
from emotion.inference.service.streaming import MAX_BLOCKS, Blocks, StreamTally, read_picture
from emotion.media.reading import iterate_media
from emotion.outputs import tables
from emotion.places import default_run, project_dir
from emotion.settings import InferenceSettings

SCHEMA = json.loads(Path(tables.__file__).with_name("result.schema.json").read_text(encoding="utf-8"))
END = '{"type": "end"}'


@pytest.fixture(scope="module")
def clerk():
    return Clerk({"default": default_run()}, max_seconds=30.0, runtime="auto")


def as_png(image) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.fixture(scope="module")
def items():
    """A second of the sample clip: ``(kind, seconds, content as sent, content as an array)``."""
    found = []
    for item in iterate_media(project_dir() / "samples" / "astronaut.mp4", sample_rate=16000):
        if item.time_seconds >= 1.0:
            break
        if hasattr(item, "samples"):
            sound = (np.clip(item.samples, -1, 1) * 32767).astype("<i2")
            found.append((2, item.time_seconds, sound.tobytes(), sound))
        else:
            found.append((1, item.time_seconds, as_png(item.image), item.image))
    return found


def block(kind: int, content: bytes, at: float | None = None) -> bytes:
    return bytes([kind]) + (b"" if at is None else struct.pack("<d", at)) + content


def receive_all(socket) -> list[dict]:
    """All messages until the socket is closed; the last holds the code."""
    messages = []
    while True:
        try:
            messages.append(socket.receive_json())
        except WebSocketDisconnect as end:
            return [*messages, {"code": end.code}]


def test_a_stream_gets_the_answers_of_predict_stream(clerk, items, tmp_path):
    service = make_service(tmp_path, clerk)
    with asked(service) as client:
        with client.websocket_connect("/v1/stream") as socket:
            socket.send_json({"sample_rate": 16000, "timestamps": True, "live": False, "unsure_below": 0})
            ready = socket.receive_json()
            assert ready["type"] == "ready" and "happy" in ready["class_names"] and ready["window_seconds"] == 1.0
            for kind, at, content, _ in items:
                socket.send_bytes(block(kind, content, at))
            socket.send_text(END)
            *results, end, closed = receive_all(socket)
        text = client.get("/metrics").text
    assert closed == {"code": 1000}
    n_pictures = sum(kind == 1 for kind, *_ in items)
    assert end == {"type": "end", "windows": len(results), "pictures": n_pictures, "dropped": 0, "unreadable": 0}
    for each in results:
        jsonschema.validate(each["result"], SCHEMA)
    predictor = EmotionPredictor(settings=InferenceSettings(window_seconds=1.0, step_seconds=0.25, unsure_below=0.0))
    expected = list(predictor.predict_stream([(at, it) for _, at, _, it in items], sample_rate=16000))
    assert [each["result"]["overall"]["emotion"] for each in results] == [now.overall.emotion for now in expected]
    assert results[-1]["result"]["overall"]["emotion"] == "happy"
    (face,) = results[-1]["result"]["faces"]
    assert face["emotion"] == "happy" and sum(face["time_shares"].values()) == pytest.approx(1.0)
    assert f'emotion_windows_total{{model="default"}} {len(results)}.0' in text
    assert f'emotion_stream_pictures_total{{fate="judged"}} {n_pictures}.0' in text
    assert service.is_idle and service.n_streams == 0


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        ("nonsense", "the form: "),
        ('{"fps": 0}', "fps: "),
        ('{"frames": 1}', "frames: no such option. Choose from "),
        ('{"model": "none"}', "none: no such model"),
        ('{"max_faces": 0}', "max_faces must lie in"),
        (b"\x01", "first message must be the hello"),
    ],
)
def test_a_wrong_hello_ends_a_stream(clerk, tmp_path, hello, words):
    with asked(make_service(tmp_path, clerk)) as client, client.websocket_connect("/v1/stream") as socket:
        (socket.send_bytes if isinstance(hello, bytes) else socket.send_text)(hello)
        error, closed = receive_all(socket)
    assert error["type"] == "error" and words in error["error"]["message"] and closed == {"code": 1008}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"", "A block begins with the byte 1"),
        (b"\x07abc", "A block begins with the byte 1"),
        (b"\x02abcd", "names no sample_rate"),
        ("hello again", '{"type": "end"}'),
    ],
)
def test_a_wrong_block_ends_a_stream(clerk, tmp_path, message, words):
    service = make_service(tmp_path, clerk)
    with asked(service) as client, client.websocket_connect("/v1/stream") as socket:
        socket.send_json({"fps": 10})
        (socket.send_text if isinstance(message, str) else socket.send_bytes)(message)
        messages = receive_all(socket)
    assert any(words in each["error"]["message"] for each in messages if each.get("type") == "error")
    assert messages[-1] == {"code": 1003} and service.n_streams == 0


def test_unreadable_pictures_are_counted_and_a_caller_may_leave(clerk, tmp_path):
    service = make_service(tmp_path, clerk)
    with asked(service) as client:
        with client.websocket_connect("/v1/stream") as socket:
            socket.send_json({"fps": 10})
            for _ in range(3):
                socket.send_bytes(b"\x01no picture")
            socket.send_text(END)
            ready, end, closed = receive_all(socket)
        assert ready["type"] == "ready" and closed == {"code": 1000}
        assert (end["windows"], end["pictures"], end["unreadable"]) == (0, 0, 3)
        with client.websocket_connect("/v1/stream") as socket:
            socket.send_json({"fps": 10})
            socket.receive_json()
        deadline = time.monotonic() + 10
        while service.n_streams:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_stream_needs_the_key_in_the_header_or_in_the_hello(clerk, tmp_path):
    with asked(make_service(tmp_path, clerk, keys=[KEY])) as client:
        with pytest.raises(WebSocketDenialResponse) as refused:
            client.websocket_connect("/v1/stream", headers={"Authorization": "Bearer wrong"}).__enter__()
        assert refused.value.status_code == 401 and "API key is wrong" in refused.value.text
        for header, hello, is_let_in in (
            ({"Authorization": f"Bearer {KEY}"}, {}, True),
            ({}, {"api_key": KEY}, True),
            ({}, {"api_key": "wrong"}, False),
            ({}, {}, False),
        ):
            with client.websocket_connect("/v1/stream", headers=header) as socket:
                socket.send_json({"fps": 10, **hello})
                assert (socket.receive_json()["type"] == "ready") == is_let_in


def test_only_so_many_streams_are_open_and_none_for_too_long(clerk, tmp_path):
    service = make_service(tmp_path, clerk, max_streams=1, max_stream_seconds=0.1)
    with asked(service) as client, client.websocket_connect("/v1/stream") as socket:
        with client.websocket_connect("/v1/stream") as second:
            error, closed = receive_all(second)
            assert "1 streams are open" in error["error"]["message"] and closed == {"code": 1013}
        socket.send_json({"fps": 10})
        _, end, closed = receive_all(socket)
    assert end["type"] == "end" and closed == {"code": 1001}


def test_blocks_get_their_times_and_live_pictures_are_left_out_when_too_many_wait():
    tally = StreamTally()
    picture = as_png(np.zeros((4, 4, 3), np.uint8))
    blocks = Blocks(StreamHello(fps=10, sample_rate=1000, channels=2), tally)
    blocks.put(block(2, np.arange(40, dtype="<i2").tobytes()))
    blocks.put(block(2, b"\0\0\0\0"))
    for _ in range(MAX_BLOCKS + 3):
        blocks.put(block(1, picture))
    blocks.put(block(2, b"\0\0\0\0"))  # sound is never left out
    blocks.end()
    items = list(blocks.items())
    sound = [(at, it.shape) for at, it in items if it.ndim == 2]
    assert sound == [(0.0, (20, 2)), (0.02, (1, 2)), (0.021, (1, 2))]
    pictures = [at for at, it in items if it.ndim == 3]
    assert pictures == [n / 10 for n in range(MAX_BLOCKS - 2)] and tally.dropped == 5


def test_times_must_rise_and_sound_be_whole():
    blocks = Blocks(StreamHello(sample_rate=1000, timestamps=True), StreamTally())
    blocks.put(block(2, b"\0\0", 1.0))
    for wrong in (block(2, b"\0\0", 0.5), block(2, b"\0\0", float("nan")), block(2, b"\0\0\0", 2.0), b"\x02\0"):
        with pytest.raises(InputTypeError):
            blocks.put(wrong)


def test_no_picture_is_too_large_or_in_a_strange_format():
    huge = io.BytesIO()
    Image.new("1", (5000, 5000)).save(huge, "PNG")
    tiff = io.BytesIO()
    Image.new("RGB", (4, 4)).save(tiff, "TIFF")
    for content in (huge.getvalue(), tiff.getvalue(), b"", as_png(np.zeros((9, 9, 3), np.uint8))[:40]):
        with pytest.raises(MediaError):
            read_picture(content)
