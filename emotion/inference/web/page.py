"""The page itself: what is on it, and what a click does."""

import logging
import math
import shutil
import threading
import time
from pathlib import Path

import gradio as gr
from gradio_client import utils as client_utils

from emotion.errors import ConfigError, EmotionError
from emotion.files import make_folder
from emotion.inference.web import fragments
from emotion.inference.web import timeline as timeline_page
from emotion.inference.web.analysis import Analysis, Analyst, Stopped
from emotion.inference.web.sessions import Sessions
from emotion.places import sample_clip
from emotion.settings import FACE_DETECTORS, InferenceSettings

logger = logging.getLogger(__name__)

TITLE = "What does this face, and this voice, look and sound like?"
VIDEO_ID = "annotated"
OF_ACCURATE = "accurate is far better on voices and takes a third longer"
DOWNLOADS = ("Video", "CSV", "JSON", "Plot")
MAX_WAITING = 8  # clips in the queue, before new ones are refused
KEPT_SECONDS, SWEPT_SECONDS = 3600, 600
MEGABYTE = 2**20  # as Gradio counts
NOTICE = """**An AI system recognises emotional expressions on this page.** It predicts how people who labelled acted
recordings would describe a face and a voice. It does not know what anybody feels, and it is often wrong, more so for
people, cultures and recordings unlike its training data. Do not use it to judge people. In the European Union,
inferring emotions at work and in education is forbidden (AI Act, Article 5); elsewhere emotion recognition counts as
high-risk (Annex III). Upload only clips whose people have agreed."""
STYLE = f"""
{fragments.STYLE}
{timeline_page.STYLE}
.gradio-container{{max-width:1200px!important;margin:auto!important}}
#notice{{font-size:.92em}}
#{VIDEO_ID} video{{max-height:50vh}}
footer{{display:none!important}}
#downloads{{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.5em,1fr))}}
"""
# Browsers play few formats, and Gradio covers the page with an error for every other clip. Such a clip can be analysed
# all the same, so that error is hidden and a line below the clip explains.
UNSHOWN_ID = "unshown"
UNSHOWN = f"""() => {{
  const tell = (event) => {{
    if (!event.target.closest?.('#clip')) return;
    document.getElementById('{UNSHOWN_ID}').hidden = event.type !== 'error';
  }};
  for (const kind of ['error', 'loadeddata', 'emptied']) document.addEventListener(kind, tell, true);
  new MutationObserver(() => {{
    for (const box of document.querySelectorAll('.toast-body'))
      if (box.textContent.includes('Video not playable')) box.style.display = 'none';
  }}).observe(document.body, {{childList: true, subtree: true}});
}}"""
# Small steps neither wait in the queue behind clips nor are refused when it is full.
AT_ONCE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class Page:
    """The web page.

    Args:
        folder: where uploads and results are kept while they are needed; also Gradio's.
        max_bytes: larger uploads are refused.
        max_total_bytes: of all uploads and results together.
    """

    def __init__(self, analyst: Analyst, folder: Path, *, max_bytes: int, max_total_bytes: float = math.inf):
        self._analyst, self._max_bytes = analyst, max_bytes
        self._sessions = Sessions(folder, kept_seconds=KEPT_SECONDS, max_bytes=max_total_bytes)
        self.has_room = self._sessions.has_room
        # Gradio serves only files in its own folder.
        self._sample = folder / "samples" / sample_clip().name

    def keep_swept(self) -> None:
        """Deletes old files every few minutes, as long as the program runs."""

        def sweep() -> None:
            while True:
                time.sleep(SWEPT_SECONDS)
                try:
                    self._sessions.sweep()
                except Exception:  # files that get old later must still be deleted
                    logger.exception("old files could not be deleted")

        threading.Thread(target=sweep, name="sweep", daemon=True).start()

    @staticmethod
    def count_places(page: gr.Blocks, address: str) -> int:
        """Returns how many clips of an address wait, or are analysed."""
        events = list(page._queue.event_ids_to_events.values())  # Gradio has no other way to ask
        return sum(event.request.client is not None and event.request.client.host == address for event in events)

    def close(self) -> None:
        """Stops all work at its next frame, and deletes all files."""
        self._sessions.close_all()

    def build(self) -> gr.Blocks:
        """Builds the page, which ``gr.Blocks.launch`` serves."""
        with gr.Blocks(title="Audio-visual emotion recognition", analytics_enabled=False) as page:
            gr.Markdown(f"# {TITLE}")
            gr.Markdown(NOTICE, elem_id="notice")
            with gr.Row():
                with gr.Column(scale=2, min_width=300):
                    clip = self._build_clip()
                    model = self._build_model()
                    settings = _build_settings()
                    with gr.Row():
                        start = gr.Button("Recognise", variant="primary", elem_id="start")
                        stop = gr.Button("Stop", variant="stop", elem_id="stop", interactive=False)
                with gr.Column(scale=3, min_width=300):
                    status = gr.HTML(elem_id="status")
                    with gr.Column(visible=False, elem_id="results") as results:
                        answer = gr.HTML(elem_id="answer")
                        video = gr.Video(show_label=False, elem_id=VIDEO_ID, interactive=False, buttons=[])
                        # Close to the video, so that both are seen together.
                        timeline = gr.HTML(
                            elem_id="timeline", js_on_load=timeline_page.script_for(f"#{VIDEO_ID} video")
                        )
                        with gr.Row(elem_id="downloads"):
                            downloads = [
                                gr.DownloadButton(f"↓ {name}", size="sm", min_width=90, elem_id=f"get-{name.lower()}")
                                for name in DOWNLOADS
                            ]
            found = gr.HTML(elem_id="cards")
            outputs = [status, results, video, answer, timeline, found, *downloads]
            number = gr.State(0)
            # Another clip clears the results, or the error, of the one before.
            clip.change(self._choose, clip, outputs, **AT_ONCE)
            # Stop is enabled while there is something to stop.
            start.click(self._press, clip, [number, status, start, stop], **AT_ONCE).then(
                self._recognise, [number, clip, model, *settings], outputs, show_progress_on=status,
                concurrency_limit=1, api_visibility="private",
            ).then(lambda: _buttons(is_working=False), None, [start, stop], **AT_ONCE)  # fmt: skip
            stop.click(self._stop, None, None, **AT_ONCE)
            page.unload(self._forget)
            page.load(None, js=UNSHOWN, **AT_ONCE)
        page.queue(max_size=MAX_WAITING, api_open=False)  # all work goes through the queue
        return page

    def _build_clip(self) -> gr.Video:
        clip = gr.Video(
            label="Clip", sources=["upload", "webcam"], include_audio=True, elem_id="clip",
            webcam_options=gr.WebcamOptions(mirror=False),
        )  # fmt: skip
        refuse_urls(clip)
        gr.HTML(
            f'<p id="{UNSHOWN_ID}" hidden>This browser cannot play this clip. Press Recognise anyway: it may still be '
            "recognised.</p>"
        )
        if sample_clip().is_file():
            sample = gr.Button("Use the sample clip", size="sm", elem_id="sample")
            sample.click(self._take_sample, None, clip, **AT_ONCE)
        clip.clear(None, js=f"() => {{document.getElementById('{UNSHOWN_ID}').hidden = true}}", **AT_ONCE)
        gr.Markdown(
            f"Videos of up to {self._max_bytes / MEGABYTE:.0f} MB and {self._analyst.max_seconds:.0f} s; for sound "
            "files and pictures use `run_inference.py`. Uploads and results stay on the computer that serves this "
            "page. They are deleted when you close the page, at the latest "
            f"{(KEPT_SECONDS + SWEPT_SECONDS) / 60:.0f} minutes after they were made."
        )
        return clip

    def _build_model(self) -> gr.Dropdown:
        names = list(self._analyst.models)
        info = OF_ACCURATE if "accurate" in names else None
        return gr.Dropdown(names, value=names[0], label="Model", info=info, elem_id="model")

    def _recognise(
        self, number, clip, model, detector, threshold, own_threshold, max_faces, blur_faces, notice,
        request: gr.Request, progress=gr.Progress(),  # noqa: B008  (Gradio looks for it there)
    ):  # fmt: skip
        session = self._sessions.find(request.session_hash)
        if session is None or clip is None or not self.has_room(0):
            return _problem(_why_not(session, clip))

        def is_stopped() -> bool:
            return self._sessions.is_stopped(session, number) or session.clip != Path(clip)

        folder, clip, kept = self._sessions.new_folder(session), Path(clip), None
        own = folder / clip.name
        try:
            settings = InferenceSettings(
                face_detector=detector, max_faces=int(max_faces), unsure_below=None if own_threshold else threshold
            )
            # A copy: when the page chooses another clip, this one is deleted.
            shutil.copyfile(clip, own)
            analysis = self._analyst.analyse(
                own, folder, model=model, settings=settings, notice=notice, blur_faces=blur_faces,
                tell=lambda what, share: progress(share, desc=what),
                is_stopped=is_stopped,
            )  # fmt: skip
            portraits = {} if blur_faces else fragments.cut_portraits(analysis.prediction)
            if is_stopped():
                raise Stopped("Stopped.")
            kept = folder
            return _show(analysis, portraits)
        except Stopped:
            # No message if the page shows another clip by now.
            return _problem("Stopped. Nothing was kept." if session.clip == clip else "")
        except EmotionError as error:
            # Errors do not reveal the server's folders.
            return _problem(str(error).replace(str(own), clip.name))
        except FileNotFoundError:
            return _problem("The clip was deleted. Upload it again.")
        except Exception:
            logger.exception("%s could not be analysed", clip.name)
            return _problem("Something went wrong: a bug in this program. The terminal in which it runs says more.")
        finally:
            own.unlink(missing_ok=True)
            self._sessions.drop_results(session, but=kept)

    def _open_session(self, request: gr.Request) -> None:
        try:
            self._sessions.get(request.session_hash, request.client.host)
        except ConfigError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _press(self, clip, request: gr.Request) -> list:
        self._open_session(request)
        self._sessions.choose(request.session_hash, clip)  # the event of a change of clip may come later
        return [self._sessions.press(request.session_hash), "", *_buttons(is_working=True)]

    def _choose(self, clip, request: gr.Request) -> list:
        self._open_session(request)
        self._sessions.choose(request.session_hash, clip)
        return _problem("")

    def _take_sample(self) -> str:
        if not self._sample.is_file():
            make_folder(self._sample.parent)
            shutil.copyfile(sample_clip(), self._sample)
        return str(self._sample)

    def _stop(self, request: gr.Request) -> None:
        self._open_session(request)
        self._sessions.stop(request.session_hash)

    def _forget(self, request: gr.Request) -> None:
        self._sessions.close(request.session_hash)


def refuse_urls(video: gr.Video) -> None:
    """Makes a component take only uploads: by default Gradio fetches any URL that a client sends as its file."""
    move = video.async_move_resource_to_block_cache

    async def move_if_here(path):
        if client_utils.is_http_url_like(str(path or "")):
            raise gr.Error("This is a URL; download the clip and upload it.")
        return await move(path)

    video.async_move_resource_to_block_cache = move_if_here


def _why_not(session, clip) -> str:
    """What the page says instead of looking at a clip; nothing if it was closed meanwhile."""
    if session is None:
        return ""
    no_room = "The page has no room for more results. Try again in an hour."
    return no_room if clip else "Upload a clip, record one, or use the sample first."


def _buttons(*, is_working: bool) -> list[gr.Button]:
    """Recognise and Stop, one of them enabled."""
    return [gr.Button(interactive=not is_working), gr.Button(interactive=is_working)]


def _build_settings() -> list:
    detectors = [name for name in FACE_DETECTORS if name != "retinaface"]  # may not be installed
    of_none = "none: treat the centre square as a cropped face"
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        detector = gr.Radio(detectors, value="yunet", label="Face detector", info=of_none)
        own = gr.Checkbox(True, label="Use the model's threshold for unsure", elem_id="own-threshold")
        threshold = gr.Slider(
            0.0, 1.0, value=0.5, step=0.05, label="Unsure below this confidence", info="0: always name an emotion",
            visible=False, elem_id="threshold",
        )  # fmt: skip
        own.change(lambda is_own: gr.Slider(visible=not is_own), own, threshold, **AT_ONCE)
        max_faces = gr.Slider(1, 20, value=InferenceSettings.max_faces, step=1, label="Most faces to analyse")
        blur_faces = gr.Checkbox(False, label="Blur all faces", elem_id="blur")
        notice = gr.Checkbox(False, label="State on the video that an AI system is at work")
    return [detector, threshold, own, max_faces, blur_faces, notice]


def _show(analysis: Analysis, portraits) -> list:
    prediction = analysis.prediction
    files = (analysis.video, analysis.csv, analysis.json, analysis.plot)
    return [
        "",
        gr.Column(visible=True),
        gr.Video(value=analysis.video and str(analysis.video), visible=analysis.video is not None),
        fragments.format_answer(prediction),
        timeline_page.format_timeline(prediction),
        fragments.format_cards(prediction, portraits),
        *(gr.DownloadButton(value=file and str(file), visible=file is not None) for file in files),
    ]


def _problem(words: str) -> list:
    """What the page shows instead of results: an error, or with no words nothing."""
    return [
        fragments.format_problem(words) if words else "", gr.Column(visible=False), gr.Video(value=None), "", "", "",
        *(gr.DownloadButton(value=None) for _ in DOWNLOADS),
    ]  # fmt: skip
