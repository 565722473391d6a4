"""The service's answers to clips: results, jobs, refusals; without a network, in this process."""

import asyncio
import io
import json
import re
import threading
import time
from pathlib import Path

import av
import jsonschema
import pytest
from media_files import make_clip, make_still

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from services import KEY, ObedientWorker, asked, make_service

from emotion import EmotionPredictor
from emotion.errors import ConfigError, FileError, MediaError, RunError
from emotion.files import find_files_below
from emotion.inference.service.app import build_app
from emotion.inference.service.clerk import OUTPUTS, Clerk, ClipOptions, ClipTask
from emotion.inference.service.description import EXAMPLE
from emotion.inference.service.entrance import read_keys
from emotion.outputs import tables
from emotion.outputs.tables import to_json
from emotion.places import default_run, project_dir
from emotion.settings import InferenceSettings

SCHEMA = json.loads(Path(tables.__file__).with_name("result.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def clerk():
    return Clerk({"default": default_run()}, max_seconds=30.0, runtime="auto")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", seconds=1.0)


@pytest.fixture
def service(clerk, tmp_path):
    return make_service(tmp_path, clerk)


def send(client, content, name="clip.mp4", to="/v1/predict", headers=None, **fields):
    content = content.read_bytes() if isinstance(content, Path) else content
    return client.post(to, files={"file": (name, content)}, data=fields, headers=headers)


def wait_for(check, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def error_of(answer) -> str:
    (error,) = answer.json().values()
    assert list(answer.json()) == ["error"] and set(error) == {"type", "message"}
    assert "\n" not in error["message"] and "Traceback" not in error["message"] and "/tmp" not in error["message"]
    assert str(project_dir()) not in error["message"]
    return error["message"]


# ---- Results ----


def test_a_clip_gets_the_result_that_the_library_gives_and_nothing_is_left(service, tmp_path):
    sample = project_dir() / "samples" / "astronaut.mp4"
    with asked(service) as client:
        answer = send(client, sample, name="C:\\clips\\my clip.mp4", start=1, end=3, max_faces=1)
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        result = answer.json()
        wait_for(lambda: not list(tmp_path.iterdir()))
    jsonschema.validate(result, SCHEMA)
    settings = InferenceSettings(max_faces=1, start_seconds=1.0, end_seconds=3.0)
    expected = to_json(EmotionPredictor(settings=settings).predict(sample))
    assert result["file"] == "my clip.mp4" and result["settings"]["model"] == "default"
    assert {**result, "file": "", "settings": ""} == {**expected, "file": "", "settings": ""}


def test_every_output_can_be_had(service, clip):
    with asked(service) as client:
        for output in OUTPUTS:
            answer = send(client, clip, output=output)
            assert answer.status_code == 200, answer.text
            assert (output == "json") == ("content-disposition" not in answer.headers)
        video = send(client, clip, headers={"Accept": "video/mp4, */*"}, notice="true")
        rows = send(client, clip, headers={"Accept": "text/csv"})
    assert rows.text.startswith("start_s,") and "clip_emotion.csv" in rows.headers["content-disposition"]
    with av.open(io.BytesIO(video.content)) as container:
        assert {stream.type for stream in container.streams} == {"video", "audio"}


def test_a_picture_gets_a_result_and_an_annotated_picture(service, tmp_path_factory):
    still = make_still(tmp_path_factory.mktemp("stills") / "still.png")
    with asked(service) as client:
        assert send(client, still, "still.png").json()["has_audio"] is False
        drawn = send(client, still, "still.png", output="video")
        assert drawn.headers["content-type"] == "image/png" and drawn.content.startswith(b"\x89PNG")
        assert "srt" in error_of(send(client, still, "still.png", output="srt"))


def test_a_sound_has_no_annotated_video(service, tmp_path_factory):
    sound = make_clip(tmp_path_factory.mktemp("sounds") / "sound.mp4", video_codec=None)
    with asked(service) as client:
        assert send(client, sound, "sound.mp4").json()["has_video"] is False
        refused = send(client, sound, "sound.mp4", output="video")
    assert refused.status_code == 422 and "no picture" in error_of(refused)


# ---- What cannot be judged ----


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "empty.mp4", "empty.mp4"),
        (b"some words\n" * 100, "notes.txt", "notes.txt: not a readable media file"),
        (b"\x00" * 5000, "../../etc/pass\nwd", "wd: "),
        (b"words", "", "file: is missing"),
    ],
)
def test_what_is_no_media_is_refused_in_the_words_of_the_command_line(service, content, name, words, tmp_path):
    with asked(service) as client:
        refused = send(client, content, name)
        wait_for(lambda: not find_files_below(tmp_path))
    assert refused.status_code == 422 and words in error_of(refused)


def test_a_cut_file_is_refused(service, clip):
    with asked(service) as client:
        refused = send(client, clip.read_bytes()[:3000])
    assert refused.status_code == 422 and error_of(refused).startswith("clip.mp4: ")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_faces": 0}, "max_faces must lie in 1 to 1000, got 0."),
        ({"unsure_below": 2}, "unsure_below must lie in 0 to 1, got 2."),
        ({"unsure_below": "nan"}, "unsure_below must lie in 0 to 1"),
        ({"max_faces": "many"}, "max_faces: "),
        ({"faces": 3}, "faces: no such option"),
        ({"model": "../default"}, "../default: no such model. Choose one of default."),
        ({"face_detector": "eyes"}, "no face detector 'eyes'"),
        ({"start": 5, "end": 2}, "end must lie after start"),
        ({"start": 60}, "clip.mp4: "),
        ({"output": "gif"}, "output must be one of"),
        ({"blur_faces": True}, "output=video"),
        ({"video_track": 9}, "clip.mp4: "),
    ],
)
def test_impossible_options_are_refused(service, clip, fields, words):
    with asked(service) as client:
        refused = send(client, clip, **fields)
    assert refused.status_code == 422 and words in error_of(refused)


def test_a_form_without_a_file_is_refused(service):
    with asked(service) as client:
        for fields in ({"data": {"max_faces": "1"}}, {"json": {}}, {"data": {"file": "words"}}, {"content": b"x"}):
            refused = client.post("/v1/predict", **fields)
            assert refused.status_code == 422 and error_of(refused).startswith("file: ")


def test_long_clips_are_refused_unless_a_part_is_short_enough(tmp_path, clip):
    clerk = Clerk({"default": default_run()}, max_seconds=0.8, runtime="auto")
    with asked(make_service(tmp_path, clerk)) as client:
        refused = send(client, clip)
        assert refused.status_code == 422 and "this service takes clips of up to 0.8 s" in error_of(refused)
        assert send(client, clip, start=0.2, end=0.9).status_code == 200


def test_a_clip_that_takes_too_long_is_stopped(clerk, clip, tmp_path):
    with asked(make_service(tmp_path, clerk, limits={"max_work_seconds": 1e-6})) as client:
        refused = send(client, clip)
    assert refused.status_code == 503 and "clip.mp4: took longer than" in error_of(refused)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (MediaError("{clip}: is broken"), 422, "my.mp4: is broken"),
        (ConfigError("{folder}/x.srt: exists"), 422, "x.srt: exists"),
        (RunError("{model}: is damaged"), 500, "fault of the service"),
        (FileError("{folder}: no space"), 500, "fault of the service"),
        (KeyError("secret"), 500, "fault of the service"),
        (MemoryError(), 503, "out of memory"),
    ],
)
def test_no_error_names_a_path_of_the_server(clerk, tmp_path, error, status, words):
    task = ClipTask(tmp_path, tmp_path / "clip.mp4", "my.mp4", ClipOptions("default", InferenceSettings()), 1.0)
    places = {"clip": task.clip, "folder": tmp_path, "model": default_run()}
    error.args = tuple(each.format(**places) for each in error.args)
    problem = clerk.explain(error, task)
    assert problem.status == status and words in problem.message
    assert str(tmp_path) not in problem.message and "secret" not in problem.message


# ---- Jobs ----


def test_a_job_is_taken_told_fetched_and_deleted(clerk, clip, tmp_path):
    worker = ObedientWorker()
    with asked(make_service(tmp_path, clerk, worker)) as client:
        taken = send(client, clip, to="/v1/jobs")
        place = taken.headers["location"]
        assert taken.status_code == 202 and place == f"/v1/jobs/{taken.json()['id']}"
        second = send(client, clip, headers={"Prefer": "respond-async"})
        assert second.status_code == 202 and second.headers["preference-applied"] == "respond-async"
        assert worker.has_begun.wait(10)
        assert client.get(place).json()["status"] == "running"
        assert client.get(second.headers["location"]).json()["places_before"] == 1
        early = client.get(f"{place}/result")
        assert early.status_code == 409 and "running" in error_of(early) and early.headers["retry-after"]
        worker.go_on.set()
        wait_for(lambda: client.get(place).json()["status"] == "done")
        job = client.get(place).json()
        assert job["result"] == {"bytes": clip.stat().st_size} and job["expires_at"] and job["error"] is None
        assert client.get(job["result_url"]).json() == client.get(job["result_url"]).json() == job["result"]
        assert worker.seen[0].folder.exists() and not worker.seen[0].clip.exists()  # the clip itself is gone
        assert client.delete(place).status_code == 204 and not worker.seen[0].folder.exists()
        assert client.get(place).status_code == client.delete(place).status_code == 404
    assert not list(tmp_path.iterdir())


def test_a_job_that_fails_says_why(service, tmp_path):
    with asked(service) as client:
        place = send(client, b"words", to="/v1/jobs").headers["location"]
        wait_for(lambda: client.get(place).json()["status"] == "failed")
        assert client.get(place).json()["error"]["type"] == "MediaError"
        refused = client.get(f"{place}/result")
        assert refused.status_code == 422 and "not a readable media file" in error_of(refused)


def test_a_running_job_that_is_deleted_stops(clerk, clip, tmp_path):
    worker = ObedientWorker()
    with asked(make_service(tmp_path, clerk, worker)) as client:
        place = send(client, clip, to="/v1/jobs").headers["location"]
        assert worker.has_begun.wait(10) and client.delete(place).status_code == 204
        wait_for(lambda: not list(tmp_path.iterdir()))
        assert client.get("/healthz").json()["running"] == 0


def test_a_caller_who_leaves_stops_the_work(clerk, clip, tmp_path):
    worker = ObedientWorker()
    service = make_service(tmp_path, clerk, worker)
    boundary = b"x"
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        + clip.read_bytes()
        + b"\r\n--x--\r\n"
    )
    has_left, sent = threading.Event(), []
    headers = [(b"host", b"testserver"), (b"content-type", b"multipart/form-data; boundary=" + boundary)]

    async def ask() -> None:
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive():
            for message in messages:
                return message
            while not has_left.is_set():
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/v1/predict", "raw_path": b"/v1/predict", "headers": headers,
            "query_string": b"", "client": ("192.0.2.1", 1), "http_version": "1.1", "scheme": "http",
            "server": ("testserver", 80), "root_path": "", "state": {},
        }  # fmt: skip
        await build_app(service)(scope, receive, send)

    service.clips.start()
    threading.Thread(target=lambda: worker.has_begun.wait(10) and has_left.set()).start()
    asyncio.run(asyncio.wait_for(ask(), 20))
    wait_for(lambda: not list(tmp_path.iterdir()))
    assert sent[0]["status"] == 499 and service.is_idle
    assert 'status="499"} 1.0' in service.metrics.text().decode()
    service.clips.close(5.0)


# ---- Who may ask, and how much ----


def test_a_key_is_asked_for_where_there_is_one(clerk, clip, tmp_path):
    with asked(make_service(tmp_path, clerk, ObedientWorker(), keys=[KEY])) as client:
        for header in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": KEY},
            {"Authorization": f"Basic {KEY}"},
        ):
            refused = send(client, clip, headers=header)
            assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
            assert "API key" in error_of(refused) and KEY not in refused.text
        assert client.get("/v1/models").status_code == client.get("/metrics").status_code == 401
        for path in ("/healthz", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200
        assert client.get("/v1/models", headers={"Authorization": f"bearer {KEY}"}).status_code == 200
    assert not find_files_below(tmp_path)


def test_keys_come_from_a_file_or_the_environment(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n\n{KEY}2\n")
    keys = read_keys(file, "another-key-of-the-environment")
    assert keys.hold(KEY) and keys.hold(f"{KEY}2") and not keys.hold("another-key-of-the-environment")
    assert read_keys(None, KEY).hold(KEY) and not read_keys(None, None) and not read_keys(None, "")
    for text in ("short", "", "with ümlaut in sixteen"):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match="openssl"):
            read_keys(file, None)
    with pytest.raises(ConfigError, match="EMOTION_API_KEY"):
        read_keys(None, "short")
    with pytest.raises(FileError):
        read_keys(tmp_path / "none", None)


def test_foreign_names_and_websites_are_refused(service, clip):
    with asked(service) as client:
        assert send(client, clip, headers={"Host": "rebound.example"}).status_code == 400
        for header in ({"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
            refused = send(client, clip, headers=header)
            assert refused.status_code == 403 and "website" in error_of(refused)
        visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert client.get("/docs", headers=visit).status_code == 200


def test_large_and_slow_uploads_are_refused(clerk, tmp_path):
    with asked(make_service(tmp_path, clerk, max_bytes=1000)) as client:
        for content in (b"x" * 300_000, iter([b"x" * 100_000] * 3)):  # the second does not say how long it is
            refused = client.post(
                "/v1/predict", content=content, headers={"Content-Type": "multipart/form-data; boundary=x"}
            )
            assert refused.status_code == 413 and "larger than" in error_of(refused)
        assert client.get("/healthz").status_code == 200
    assert not find_files_below(tmp_path)


def test_a_full_queue_and_a_greedy_address_are_told_when_to_come_again(clerk, clip, tmp_path):
    for limits, status, words in (
        ({"max_waiting": 1}, 503, "1 clips wait already"),
        ({"max_per_address": 2}, 429, "2 clips from your address"),
        ({"max_total_bytes": 1.9 * clip.stat().st_size}, 503, "no room"),
    ):
        worker = ObedientWorker()
        service = make_service(tmp_path, clerk, worker, limits=limits)
        with asked(service) as client:
            send(client, clip, to="/v1/jobs")
            assert worker.has_begun.wait(10)
            answers = [send(client, clip, to="/v1/jobs") for _ in range(2)]
        refused = answers[-1]
        assert refused.status_code == status and words in error_of(refused)
        assert int(refused.headers["retry-after"]) >= 1
        assert not list(tmp_path.iterdir())


def test_a_service_that_ends_takes_no_new_work_and_finishes_the_old(clerk, clip, tmp_path):
    worker = ObedientWorker()
    service = make_service(tmp_path, clerk, worker)
    with asked(service) as client:
        place = send(client, clip, to="/v1/jobs").headers["location"]
        assert worker.has_begun.wait(10)
        service.is_stopping = True
        refused = send(client, clip)
        assert refused.status_code == 503 and "ending" in error_of(refused) and refused.headers["retry-after"]
        health = client.get("/healthz")
        assert health.status_code == 503 and health.json()["status"] == "stopping" and not service.is_idle
        worker.go_on.set()
        wait_for(lambda: service.is_idle)
        assert client.get(place).json()["status"] == "done"


def test_a_worker_that_ends_makes_the_service_unwell_and_nobody_waits_for_it(clerk, clip, tmp_path):
    worker = ObedientWorker(fails=RuntimeError("gone"))
    worker.go_on.set()
    with asked(make_service(tmp_path, clerk, worker)) as client:
        refused = send(client, clip)
        assert refused.status_code == 500 and "gone" not in error_of(refused)
        health = client.get("/healthz")
        assert health.status_code == 503 and health.json()["status"] == "broken"


# ---- What it tells of itself ----


def test_counts_are_told_by_route(service, clip):
    with asked(service) as client:
        send(client, clip)
        send(client, b"words")
        client.get("/v1/jobs/one")
        client.get("/v1/jobs/two")
        client.get("/nowhere/at/all")
        text = client.get("/metrics").text
    assert 'emotion_requests_total{method="POST",route="/v1/predict",status="200"} 1.0' in text
    assert 'emotion_requests_total{method="GET",route="/v1/jobs/{id}",status="404"} 2.0' in text
    assert 'route="other"' in text and "nowhere" not in text
    assert 'emotion_clips_total{model="default",state="done"} 1.0' in text
    assert 'emotion_clips_total{model="default",state="failed"} 1.0' in text
    assert "emotion_queue_length 0.0" in text and re.search(r"emotion_judged_seconds_total\S+ 1\.", text)


def test_models_are_listed(service):
    with asked(service) as client:
        (model,) = client.get("/v1/models").json()["models"]
    assert model["name"] == "default" and model["is_default"] and model["evidence"] == ["face", "voice"]
    assert "happy" in model["class_names"]


def test_the_description_holds_together_and_loads_nothing(service):
    with asked(service) as client:
        document, page = client.get("/openapi.json").json(), client.get("/docs")
        assert client.get("/", follow_redirects=False).headers["location"] == "/docs"
        for path, method in (("/nix", "get"), ("/v1/predict", "put")):
            assert getattr(client, method)(path).json()["error"]["type"] in ("NotFound", "MethodNotAllowed")
    text = json.dumps(document)
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert named <= set(document["components"]["schemas"]) and "$defs" not in text
    answer = document["paths"]["/v1/predict"]["post"]["responses"]["200"]["content"]["application/json"]
    assert answer["schema"] == {"$ref": "#/components/schemas/Result"}
    assert list(document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]) == ["multipart/form-data"]
    jsonschema.validate(EXAMPLE, SCHEMA)
    assert "<script" not in page.text and not re.findall(r'(?:src|href)="(?!/)', page.text)
    assert "POST /v1/predict" in page.text and "default-src 'none'" in page.headers["content-security-policy"]
