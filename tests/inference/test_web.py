"""What the page shows and does, without a browser; `make test-browser` clicks through it."""

import dataclasses
import hashlib
import html
import json
import os
import re
import shutil
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_predictions import CLASS_NAMES, HAPPY, SAD, TORN, make_prediction, summarize
from media_files import make_clip, make_picture, make_still, square_left

from emotion import web_demo
from emotion.errors import ConfigError, MediaError
from emotion.inference.web import server
from emotion.inference.web.analysis import Analyst, Stopped, find_models
from emotion.inference.web.fragments import cut_portraits, format_answer, format_cards, format_problem
from emotion.inference.web.sessions import Sessions
from emotion.inference.web.timeline import MAX_ROWS, format_timeline, script_for
from emotion.places import default_run, project_dir
from emotion.results import FaceTrack
from emotion.settings import InferenceSettings

SAMPLE = project_dir() / "samples" / "astronaut.mp4"


def values_of(page: str) -> list[dict]:
    """What each row of a timeline can tell when it is hovered over."""
    return [json.loads(html.unescape(text)) for text in re.findall(r'data-moments="([^"]*)"', page)]


def test_the_timeline_tells_every_moment_of_every_row():
    prediction = make_prediction([([HAPPY, SAD], 0, 4)], voice=[TORN], duration=4.0)
    face, voice = values_of(format_timeline(prediction))
    assert face["names"] == list(CLASS_NAMES) and len(face["answers"]) == len(voice["answers"]) == 100
    assert face["answers"][0] == ["happy", "face", [90, 6, 4]]
    assert face["answers"][-1] == ["sad", "face", [6, 90, 4]]
    assert voice["answers"][10][:2] == ["unsure, most probably happy", "voice"]


def test_moments_without_a_face_have_no_values_and_no_curve():
    page = format_timeline(make_prediction([([HAPPY] * 5, 2, 5)], duration=8.0))
    answers = values_of(page)[0]["answers"]
    assert answers[0] is None and answers[-1] is None and answers[len(answers) // 2] is not None
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+) ", page)]
    assert 200 < min(xs) < 250 and 630 < max(xs) < 690  # of 1000 for 8 s, with an eighth of a second's grace


def test_the_strip_names_what_prevails_where_there_is_room():
    page = format_timeline(make_prediction([([HAPPY] * 4 + [SAD] * 4, 0, 10)], duration=10.0))
    assert re.findall(r'<span style="left:[^>]*>([a-z]*)</span>', page)[::2] == ["happy", "sad"]  # unsure between


def test_many_rows_are_cut_and_none_gives_nothing():
    page = format_timeline(make_prediction([([HAPPY], 0, 3)] * (MAX_ROWS + 2)))
    assert page.count("tl-plot") == MAX_ROWS and "2 more faces" in page
    assert format_timeline(make_prediction()) == ""


def test_the_script_looks_for_the_video_it_was_given():
    assert "document.querySelector('#it\\'s video')" in script_for("#it's video")


def test_cards_state_answer_evidence_and_shares():
    prediction = make_prediction([([HAPPY, HAPPY, SAD], 0, 5), ([TORN], 0, 2)], duration=5.0)
    prediction = dataclasses.replace(prediction, voice=summarize(SAD, 0.5))
    page = format_cards(prediction, {1: np.zeros((8, 8, 3), np.uint8)})
    first, second = page.split('<div class="card">')[1:]
    assert ">happy</span> 90%" in first and "judged by the face alone" in first and "data:image/jpeg" in first
    assert "share of the time: happy" in first and "in sight for 5.0 s" in first
    assert ">unsure</span> most probably happy, 48%" in second and "data:image" not in second


def test_no_evidence_and_notes_are_said_and_nothing_of_a_file_is_taken_for_markup():
    prediction = make_prediction(path="<b>.mp4")
    prediction = dataclasses.replace(prediction, notes=("a <note>",))
    page = format_answer(prediction)
    assert "No evidence" in page and "a &lt;note&gt;" in page
    assert "&lt;script&gt;" in format_problem("<script>: no such file")


def test_a_portrait_is_cut_where_the_face_is_largest(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", seconds=1.0, width=320, height=240)
    left = square_left(0.52, 320)  # of what moves through the picture
    boxes = ((0, 0, 10, 10), (left, 20, left + 80, 100), (0, 0, 12, 12))
    track = FaceTrack(7, (0.0, 0.52, 0.9), boxes)
    prediction = dataclasses.replace(make_prediction(path=str(clip)), tracks=(track,))
    portraits = cut_portraits(prediction, side=120)  # as large as the box with its margin
    assert list(portraits) == [7]
    shown, other = (make_picture(time, 320, 240)[:120, left - 20 : left + 100].astype(int) for time in (0.52, 0.0))
    assert np.abs(portraits[7] - shown).mean() < 2 < np.abs(other - shown).mean()
    gone = dataclasses.replace(prediction, path=str(tmp_path / "gone.mp4"))
    assert cut_portraits(gone) == {}
    assert cut_portraits(make_prediction()) == {}


def test_a_face_at_the_rim_gets_a_whole_square(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", seconds=0.2, width=64, height=48)
    track = FaceTrack(1, (0.0,), ((-5, -5, 20, 20),))
    prediction = dataclasses.replace(make_prediction(path=str(clip)), tracks=(track,))
    assert cut_portraits(prediction)[1].shape == (96, 96, 3)


@pytest.fixture(scope="module")
def analyst():
    return Analyst(find_models(default_run(), "default"), max_seconds=30.0)


def analyse(analyst, clip, folder, **options):
    options = {"model": "default", "settings": InferenceSettings(), **options}
    return analyst.analyse(Path(clip), folder, **options)


def test_a_clip_is_judged_and_everything_written(analyst, tmp_path):
    told = []
    analysis = analyse(analyst, SAMPLE, tmp_path, tell=lambda what, share: told.append((what, share)))
    assert analysis.prediction.overall.emotion == "happy"
    files = (analysis.video, analysis.plot, analysis.json, analysis.csv)
    assert {path.suffix for path in files} == {".mp4", ".png", ".json", ".csv"}
    assert all(path.parent == tmp_path and path.stat().st_size for path in files)
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert list(dict.fromkeys(what for what, _ in told)) == ["Loading the model", "Watching", "Drawing"]


def test_sound_alone_is_judged_without_a_video(analyst, tmp_path):
    clip = make_clip(tmp_path / "sound.mp4", video_codec=None, seconds=2)
    folder = tmp_path / "out"
    folder.mkdir()
    analysis = analyse(analyst, clip, folder)
    assert analysis.video is None and analysis.json.is_file()


def test_long_clips_are_refused_before_and_while_they_are_watched(tmp_path, monkeypatch):
    analyst = Analyst({"default": default_run()}, max_seconds=2.0)
    clip = make_clip(tmp_path / "long.mp4", seconds=4.0)
    with pytest.raises(MediaError, match=r"long\.mp4: .* 4 s.* 2 s"):
        analyse(analyst, clip, tmp_path)
    from emotion.inference import output_plan as module

    # Recordings from browsers do not say how long they are.
    monkeypatch.setattr(
        module, "probe_media", lambda *given, probe=module.probe_media: dataclasses.replace(
            probe(*given), duration_seconds=None)
    )  # fmt: skip
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(MediaError, match=r"long\.mp4"):
        analyse(analyst, clip, out)
    assert list(out.iterdir()) == []


def test_a_stop_ends_the_work_and_leaves_nothing(analyst, tmp_path):
    stop, folder = threading.Event(), tmp_path / "out"
    folder.mkdir()
    with pytest.raises(Stopped):
        analyse(
            analyst, SAMPLE, folder, tell=lambda what, share: what == "Drawing" and stop.set(), is_stopped=stop.is_set
        )
    assert list(folder.iterdir()) == []


def test_only_models_of_the_list_are_loaded(analyst, tmp_path):
    with pytest.raises(ConfigError, match="etc"):
        analyse(analyst, SAMPLE, tmp_path, model="../../etc")


def test_the_chosen_model_stands_first_and_names_are_told_apart(tmp_path):
    assert list(find_models(default_run(), "default")) == ["default", "accurate"]
    other = tmp_path / "accurate"
    assert list(find_models(other, "default")) == ["default", "default (2)", "accurate"]
    assert list(find_models(other, "user/name")) == ["user/name", "default", "accurate"]


def test_a_bad_folder_among_the_models_does_not_stop_the_page(tmp_path, monkeypatch):
    for name, text in {"nest": "[" * 100_000, "digits": "9" * 5000, "bytes": "\udcff"}.items():
        shutil.copytree(default_run(), tmp_path / name)
        (tmp_path / name / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    (tmp_path / "folder" / "config.json").mkdir(parents=True)
    monkeypatch.setattr("emotion.inference.web.analysis.saved_models", lambda: tmp_path)
    assert list(find_models(default_run(), "default")) == ["default", "accurate"]  # those that come with the program


# ---- Whose files are whose ----


def upload_file(folder: Path, content: bytes = b"clip") -> Path:
    """A file where Gradio puts an upload: in a folder that is named by the hash of its content."""
    path = folder / hashlib.sha256(content).hexdigest() / "clip.mp4"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def sessions(tmp_path):
    (tmp_path / "served").mkdir()
    return Sessions(tmp_path / "served", kept_seconds=100)


@pytest.mark.parametrize("name", ["/victim", "../../victim", "victim"])
def test_no_name_of_a_session_leads_out_of_the_folder(sessions, tmp_path, name):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.txt").write_text("years of work")
    name = str(victim) if name.startswith("/") else name
    folder = sessions.get(name).folder
    assert folder.parent == tmp_path / "served" / "results"
    sessions.stop(name)
    sessions.close(name)
    assert (victim / "thesis.txt").is_file() and not folder.exists()


def test_only_uploads_are_deleted_whatever_a_page_says_it_chose(sessions, tmp_path):
    served = tmp_path / "served"
    others, mine = upload_file(served, b"theirs"), upload_file(served, b"mine")
    outside = upload_file(tmp_path, b"outside")
    sample = served / "samples" / "astronaut.mp4"
    sample.parent.mkdir()
    sample.touch()
    for clip in (served / "gone.mp4", served / "results" / "x.mp4", outside, sample, mine.parent / ".." / "x", mine):
        sessions.choose("a", str(clip))
    sessions.choose("a", None)
    sessions.close("a")
    assert others.is_file() and outside.is_file() and sample.is_file() and not mine.exists()


def test_an_upload_that_two_pages_chose_goes_with_the_last_of_them(sessions, tmp_path):
    clip = upload_file(tmp_path / "served")
    sessions.choose("a", str(clip))
    sessions.choose("b", str(clip))
    sessions.close("a")
    assert clip.is_file()
    sessions.choose("b", None)
    assert not clip.parent.exists()


def test_a_stop_counts_for_what_waits_and_not_for_what_is_asked_for_later(sessions):
    first = sessions.press("a")
    sessions.stop("a")
    second = sessions.press("a")
    session = sessions.get("a")
    assert sessions.is_stopped(session, first) and not sessions.is_stopped(session, second)
    sessions.close("a")
    assert sessions.is_stopped(session, second)


def test_results_of_a_page_that_was_closed_meanwhile_are_not_left(sessions):
    session = sessions.get("a")
    folder = sessions.new_folder(session)
    sessions.close("a")
    folder.mkdir(parents=True)  # as the work that goes on for a moment makes it anew
    (folder / "video.mp4").touch()
    sessions.drop_results(session, but=folder)
    assert not session.folder.exists()


def test_what_is_too_old_is_swept_and_the_rest_is_not(sessions, tmp_path):
    old, new = upload_file(tmp_path / "served", b"old"), upload_file(tmp_path / "served", b"new")
    os.utime(old, (0, 0))
    session = sessions.get("a")
    os.utime(session.folder, (0, 0))
    sessions.sweep()
    assert not old.parent.exists() and new.is_file() and not sessions.is_open(session)


def test_who_has_no_page_is_refused(sessions):
    for act in (sessions.get, sessions.press, sessions.stop):
        with pytest.raises(ConfigError):
            act(None)
    assert sessions.find(None) is None and sessions.find("never seen") is None


def test_what_is_being_worked_on_is_not_swept(sessions):
    session = sessions.get("a")
    clip = sessions.new_folder(session) / "long.mp4"
    clip.touch()
    for path in (clip, session.folder):
        os.utime(path, (0, 0))
    sessions.sweep()
    assert clip.is_file() and sessions.find("a") is session
    sessions.drop_results(session)
    assert not clip.exists()


def test_the_end_of_the_program_stops_all_that_goes_on(sessions):
    numbers = {name: sessions.press(name) for name in "ab"}
    opened = {name: sessions.get(name) for name in "ab"}
    sessions.close_all()
    assert all(sessions.is_stopped(opened[name], numbers[name]) for name in "ab")
    assert not any(session.folder.exists() for session in opened.values())


def test_sweeping_goes_on_while_pages_close(sessions, tmp_path):
    """Folders go while they are looked through: forty pages with results, closed one after the other."""
    for number in range(40):
        folder = sessions.new_folder(sessions.get(str(number)))
        for name in range(20):
            (folder / f"{name}.csv").touch()
    closing = threading.Thread(target=lambda: [sessions.close(str(number)) for number in range(40)])
    closing.start()
    while closing.is_alive():
        sessions.sweep()
    closing.join()
    sessions.sweep()
    assert not list((tmp_path / "served" / "results").iterdir())


class Request:
    session_hash = "somebody"
    client = SimpleNamespace(host="127.0.0.1")


@pytest.fixture
def page(analyst, tmp_path):
    from emotion.inference.web.page import Page

    return Page(analyst, tmp_path, max_bytes=10 * 2**20)


def press(page, clip: Path, *, progress=lambda *_, **__: None) -> list:
    """Presses Recognise; returns what the page shows then."""
    number = page._press(str(clip), Request)[0]
    settings = ("yunet", 0.5, True, 10, False, False)
    return page._recognise(number, str(clip), "default", *settings, Request, progress=progress)


def results_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "results").rglob("*") if path.is_file()}


def test_the_page_analyses_a_copy_shows_no_path_and_keeps_only_the_last_results(page, tmp_path):
    clip = upload_file(tmp_path, SAMPLE.read_bytes())
    page._choose(str(clip), Request)
    press(page, clip)
    press(page, clip)
    assert clip.is_file()
    assert results_in(tmp_path) == {
        "clip_emotion.mp4", "clip_emotion.json", "clip_emotion.csv", "clip_emotion_plot.png",
    }  # fmt: skip
    assert str(tmp_path) not in next((tmp_path / "results").rglob("*.json")).read_text(encoding="utf-8")
    clip.write_bytes(b"no video")
    problem = press(page, clip)[0]
    assert "clip.mp4: " in problem and str(tmp_path) not in problem
    assert not results_in(tmp_path)
    assert "Upload it again" in press(page, tmp_path / "gone.mp4")[0]


def test_results_of_a_clip_that_is_no_longer_shown_are_not_shown(page, tmp_path):
    first, second = upload_file(tmp_path, SAMPLE.read_bytes()), upload_file(tmp_path, b"another")
    outputs = press(page, first, progress=lambda share, desc: page._choose(str(second), Request))
    assert outputs[0] == "" and not outputs[1].visible
    assert not results_in(tmp_path)


def test_a_bug_of_the_program_is_told_and_logged_and_leaves_nothing(page, analyst, tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(analyst, "analyse", fail)
    outputs = press(page, upload_file(tmp_path))
    assert "Something went wrong" in outputs[0] and "ZeroDivisionError" in caplog.text
    assert not results_in(tmp_path)


def test_a_still_picture_is_refused(analyst, tmp_path):
    picture = make_still(tmp_path / "photo.png").rename(tmp_path / "photo.mp4")
    (tmp_path / "out").mkdir()
    with pytest.raises(MediaError, match=r"photo\.mp4"):
        analyse(analyst, picture, tmp_path / "out")


def test_urls_are_not_fetched(page):
    import asyncio

    import gradio as gr

    blocks = page.build().blocks.values()
    (clip,) = [block for block in blocks if isinstance(block, gr.Video) and block.elem_id == "clip"]
    with pytest.raises(gr.Error, match="URL"):
        asyncio.run(clip.async_move_resource_to_block_cache("http://127.0.0.1:9/x.mp4"))


def test_the_page_is_built_with_its_notice_and_asks_nobody_else(page):
    built = page.build()
    config = json.dumps(built.config, default=str)
    assert "An AI system recognises emotional expressions" in config and "Article 5" in config
    assert built.analytics_enabled is False
    assert "of up to 10 MB and 30 s" in config


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "nowhere"], "nowhere"),
        (["--port", "70000"], "--port"),
        (["--max_seconds", "0"], "--max_seconds"),
        (["--max_mb", "nan"], "--max_mb"),
        (["--host", "::1"], "--host ::1"),
    ],
)
def test_wrong_options_are_told_in_a_line(options, words, call):
    done = call(web_demo, *options)
    assert done.code == 2 and done.err.startswith("error: ") and words in done.err


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def test_where_nothing_can_listen_is_told_in_a_line_before_gradio_is_imported(call, taken_port, monkeypatch):
    monkeypatch.setattr(server, "quiet_import", lambda: pytest.fail("the page was begun"))
    for options in (
        ("--host", "203.0.113.1", "--port", 0),  # another computer's
        ("--host", "a..b", "--port", 0),  # nobody's
        ("--host", "127.0.0.1", "--port", taken_port),
    ):
        done = call(web_demo, *options)
        assert done.code == 2 and done.err.startswith("error: ") and done.err.count("\n") == 1
        assert " ".join(map(str, options)) in done.err
