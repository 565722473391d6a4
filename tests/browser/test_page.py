"""The page in a real Chromium: upload, watch, hover, jump, download, what goes wrong, a phone, and what is left behind.

Screenshots are kept where EMOTION_SCREENSHOTS names a folder.
"""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import av
import pytest
from media_files import cut_beginning, make_clip
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "astronaut.mp4"
PATIENCE_MS = 120_000
MAX_SECONDS, MAX_MB = 8, 3
DESKTOP = {"width": 1280, "height": 900}
VIDEO = "document.querySelector('#annotated video')"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The page's address, and the folder in which it keeps uploads."""
    work = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-m", "emotion.web_demo", "--port", "0", "--max_seconds", str(MAX_SECONDS), "--max_mb",
               str(MAX_MB)]  # fmt: skip
    # Who runs this in the background may have had Ctrl-C ignored, which the program would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = work / "log.txt"
    with open(log, "w", encoding="utf-8") as output:
        program = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(work), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (address := re.search(r"http://\S+", log.read_text(encoding="utf-8"))) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert address and program.poll() is None, log.read_text(encoding="utf-8")
    yield address.group(), work
    program.send_signal(signal.SIGINT)
    code, said = program.wait(timeout=60), log.read_text(encoding="utf-8")
    assert code == 0 and "Traceback" not in said, said
    assert list(work.glob("emotion-*/web-*")) == []


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"],
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def context(served, browser):
    """Keeps the page's programs from one opening to the next; nothing may ask another computer for anything."""
    context, asked = browser.new_context(viewport=DESKTOP, permissions=["camera", "microphone"]), []
    context.on("request", lambda request: asked.append(request.url))
    yield context
    context.close()
    assert [url for url in asked if not url.startswith((served[0], "data:", "blob:"))] == []


@pytest.fixture
def page(served, context):
    """The page, opened anew."""
    page = open_page(context, served[0])
    yield page
    page.close()


@pytest.fixture(scope="module")
def brief(tmp_path_factory):
    """The first two seconds of the sample, which holds a face."""
    return cut_beginning(SAMPLE, tmp_path_factory.mktemp("brief") / "brief.mp4", seconds=2)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A clip nearly as long as the page takes them, without a face."""
    return make_clip(tmp_path_factory.mktemp("long") / "long.mp4", seconds=MAX_SECONDS - 0.5, width=640, height=480)


def open_page(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#start")
    return page


def keep_screenshot(page: Page, name: str) -> None:
    folder = os.environ.get("EMOTION_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def upload(page: Page, path: Path) -> None:
    page.set_input_files("#clip input[type=file]", path)
    page.wait_for_selector("#clip video", timeout=PATIENCE_MS)


def recognise(page: Page) -> None:
    page.click("#start")
    page.wait_for_selector("#annotated video", timeout=PATIENCE_MS)
    page.wait_for_selector(".tl-plot", timeout=PATIENCE_MS)
    page.wait_for_function(f"{VIDEO}.readyState > 1", timeout=PATIENCE_MS)


def problem(page: Page) -> str:
    page.click("#start")
    page.wait_for_selector("#status .problem", timeout=PATIENCE_MS)
    return page.inner_text("#status .problem")


def test_a_clip_is_uploaded_watched_and_downloaded_and_its_timeline_has_the_video_jump(page, tmp_path):
    upload(page, shutil.copy(SAMPLE, tmp_path / "my clip.mp4"))
    recognise(page)
    check_what_is_shown(page)
    check_downloads(page, tmp_path)
    check_timeline(page)


def check_what_is_shown(page: Page) -> None:
    assert page.evaluate(f"{VIDEO}.videoWidth") == 640 and page.evaluate(f"{VIDEO}.error") is None
    assert 5.5 < page.evaluate(f"{VIDEO}.duration") < 6.5
    page.evaluate(f"{VIDEO}.muted = true")  # browsers play nothing aloud by itself
    page.evaluate(f"{VIDEO}.play()")
    page.wait_for_function(f"{VIDEO}.currentTime > 0.5", timeout=PATIENCE_MS)
    assert page.evaluate(f"{VIDEO}.webkitAudioDecodedByteCount") > 0
    page.evaluate(f"{VIDEO}.pause()")
    assert "happy" in page.inner_text("#answer")
    cards = page.locator(".card").all_inner_texts()
    assert len(cards) == 2 and cards[0].startswith("face 1") and "voice" in cards[1].split()
    assert "judged by the face alone" in cards[0] and page.locator(".card img").count() == 1
    keep_screenshot(page, "desktop")


def check_downloads(page: Page, folder: Path) -> None:
    files = {}
    for kind in ("video", "csv", "json", "plot"):
        with page.expect_download() as download:
            page.click(f"#get-{kind}")
        files[kind] = folder / download.value.suggested_filename
        download.value.save_as(files[kind])
    assert files["video"].name == "my_clip_emotion.mp4" or files["video"].name == "my clip_emotion.mp4"
    with av.open(str(files["video"])) as container:
        assert {stream.type for stream in container.streams} == {"video", "audio"}
    result = json.loads(files["json"].read_text(encoding="utf-8"))
    assert result["faces"][0]["emotion"] == "happy" and result["class_names"]
    rows = list(csv.DictReader(files["csv"].open(encoding="utf-8")))
    assert len(rows) == len(result["windows"]) > 5
    assert files["plot"].read_bytes().startswith(b"\x89PNG")


def check_timeline(page: Page) -> None:
    """It tells its values, and has the video jump."""
    plot = page.locator(".tl-plot").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 15)
    expect(page.locator(".tl-tip")).to_contain_text("3.0 s: happy, by face")
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 15)
    page.wait_for_function(f"Math.abs({VIDEO}.currentTime - 4.5) < 0.15", timeout=PATIENCE_MS)
    page.wait_for_function("parseFloat(document.querySelector('.tl-head').style.left) > 70", timeout=PATIENCE_MS)
    plot.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"Math.abs({VIDEO}.currentTime - 4.0) < 0.15", timeout=PATIENCE_MS)
    keep_screenshot(page, "timeline")
    page.mouse.move(5, 5)
    expect(page.locator(".tl-tip")).to_be_hidden()


@pytest.mark.thorough
def test_another_model_and_settings_are_used(page):
    page.click("#sample")
    page.wait_for_selector("#clip video", timeout=PATIENCE_MS)
    page.click("#model input")
    page.get_by_role("option", name="accurate").click()
    page.click("#settings button")
    page.click("#own-threshold input")
    page.fill("#threshold input[type=number]", "1")
    page.keyboard.press("Tab")
    page.click("#blur input")
    recognise(page)
    assert "unsure" in page.inner_text("#answer") and "most probably happy" in page.inner_text("#answer")
    assert page.locator(".card img").count() == 0  # a blurred face has no portrait either
    with page.expect_download() as download:
        page.click("#get-json")
    settings = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))["settings"]
    assert settings["model"].endswith("accurate") and settings["unsure_below"] == 1
    keep_screenshot(page, "unsure")


def test_a_broken_file_is_told_of_and_the_page_goes_on(page, tmp_path):
    broken = tmp_path / "holiday.mp4"
    broken.write_bytes(SAMPLE.read_bytes()[:2000])
    upload(page, broken)
    words = problem(page)
    assert words.startswith("holiday.mp4: ") and "Traceback" not in words and "/" not in words.split(":")[0]
    expect(page.locator(".toast-body:visible")).to_have_count(0)  # one message is enough
    keep_screenshot(page, "error")
    expect(page.locator("#results")).to_be_hidden()
    page.click("#sample")
    expect(page.locator("#unshown")).to_be_hidden()
    recognise(page)
    expect(page.locator("#status .problem")).to_have_count(0)


def test_a_clip_that_the_browser_cannot_show_is_judged(page, tmp_path):
    clip = tmp_path / "camcorder.avi"
    make_clip(clip, seconds=2, video_codec="mpeg2video", audio_codec="mp3")
    upload(page, clip)
    expect(page.locator("#unshown")).to_be_visible()
    expect(page.locator(".toast-body:visible")).to_have_count(0)
    page.click("#start")
    page.wait_for_selector("#annotated video", timeout=PATIENCE_MS)
    keep_screenshot(page, "unshown")
    page.click("#clip button[aria-label='Clear']")
    expect(page.locator("#unshown")).to_be_hidden()


def test_nothing_chosen_and_a_clip_that_is_too_long_are_told_of(page, tmp_path):
    assert "Upload a clip" in problem(page)
    long = tmp_path / "long.mp4"
    make_clip(long, seconds=MAX_SECONDS + 3)
    upload(page, long)
    page.click("#start")
    expect(page.locator("#status .problem")).to_contain_text("lasts 11 s; this page takes clips of up to 8 s")


def test_an_upload_that_is_too_large_is_refused(page, served, tmp_path):
    large = tmp_path / "large.mp4"
    large.write_bytes(SAMPLE.read_bytes() + bytes(MAX_MB * 1_000_000))
    page.set_input_files("#clip input[type=file]", large)
    expect(page.get_by_text(re.compile("maximum.*size", re.IGNORECASE)).first).to_be_visible(timeout=PATIENCE_MS)
    keep_screenshot(page, "too_large")
    assert "large.mp4" not in [name for _, _, names in os.walk(served[1]) for name in names]


def test_a_recording_from_the_camera_is_judged(page):
    page.click("#clip [aria-label*='ebcam'], #clip [aria-label*='amera']")
    page.get_by_text(re.compile("access", re.IGNORECASE)).first.click()
    page.click("#clip [aria-label*='record']")
    page.wait_for_timeout(2500)
    page.click("#clip [aria-label*='record'], #clip [aria-label*='stop']")
    page.wait_for_selector("#clip video[src]", timeout=PATIENCE_MS)
    page.wait_for_timeout(1000)
    page.click("#start")
    page.wait_for_selector("#results #answer .answer", timeout=PATIENCE_MS)  # Chromium's test picture has no face
    keep_screenshot(page, "camera")


def test_work_can_be_stopped(page, long):
    upload(page, long)
    page.click("#start")
    page.click("#stop")
    expect(page.locator("#status .problem")).to_contain_text("Stopped", timeout=PATIENCE_MS)


def test_a_phone_shows_everything_within_its_width(served, browser, brief):
    context = browser.new_context(viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True)
    page = open_page(context, served[0])
    expect(page.get_by_text("An AI system recognises emotional expressions")).to_be_visible()
    upload(page, brief)
    recognise(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for selector in ("#annotated video", ".tl-plot", ".card", "#get-json"):
        box = page.locator(selector).first.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390, selector
    box = page.locator(".tl-plot").first.bounding_box()
    page.locator(".tl-plot").first.tap(position={"x": box["width"] / 2, "y": 20})
    page.wait_for_function(f"Math.abs({VIDEO}.currentTime - 1) < 0.2", timeout=PATIENCE_MS)
    keep_screenshot(page, "phone")
    context.close()


def test_another_clip_ends_the_work_on_the_one_before(page, long, brief):
    upload(page, long)
    page.click("#start")
    expect(page.locator("#stop")).to_be_enabled()
    page.click("#clip button[aria-label='Clear']")
    upload(page, brief)
    expect(page.locator("#start")).to_be_enabled(timeout=PATIENCE_MS)  # the work has ended
    expect(page.locator("#results")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("")
    recognise(page)


def ask(address: str, path: str, *, host: str | None = None, body: dict | None = None) -> int:
    """The status with which the page's server answers a program that is no browser."""
    headers = {"Content-Type": "application/json", **({"Host": host} if host else {})}
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(urllib.request.Request(address + path, data, headers), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_no_work_is_done_but_by_way_of_the_queue_and_none_for_other_names(served):
    address = served[0]
    assert ask(address, "config") == 200
    assert ask(address, "config", host="evil.example") == 400
    with urllib.request.urlopen(address + "config", timeout=30) as answer:
        functions = json.load(answer)["dependencies"]
    queued = [each["id"] for each in functions if each["queue"] is not False and each["backend_fn"]]
    assert queued
    for number in queued:
        assert ask(address, "gradio_api/run/predict", body={"fn_index": number, "data": [], "session_hash": "x"}) >= 400


def test_what_was_uploaded_is_gone_once_the_page_is_closed(served, browser, brief):
    address, work = served
    context = browser.new_context()
    page = open_page(context, address)
    upload(page, brief)
    recognise(page)

    def left() -> list[Path]:
        """What is somebody's: not the sample, which is always there."""
        # os.walk passes over a folder that the page deletes meanwhile, where Path.rglob raises an error.
        found = [Path(folder, name) for folder, _, names in os.walk(work) for name in names]
        kinds = (".mp4", ".json", ".csv", ".png")
        return [path for path in found if path.suffix in kinds and path.parent.name != "samples"]

    assert left()
    context.close()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and left():
        time.sleep(0.5)
    assert left() == []
