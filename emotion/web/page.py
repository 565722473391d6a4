"""The page itself: what stands on it, and what happens when something is clicked."""

import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from emotion.config import SAMPLE
from emotion.errors import EmotionError
from emotion.outputs import timeline_page
from emotion.outputs.portraits import cut_portraits
from emotion.settings import FACE_DETECTORS, InferenceSettings
from emotion.web import cards
from emotion.web.analysis import Analysis, Analyst, Stopped

TITLE = "What does this face, and this voice, look and sound like?"
VIDEO_ID = "annotated"
MAX_WAITING = 8  # clips of others, before a new one is refused
KEPT_SECONDS, SWEPT_SECONDS = 3600, 600
NOTICE = """**An AI system recognises emotional expressions on this page.** It tells what a face and a voice look and
sound like to people who labelled acted recordings; it does not know what anybody feels, and it is often wrong, more so
for people, cultures and recordings unlike those it learned from. Do not use it to judge people at work, at school, at a
border or in a hospital: in the European Union most of that is forbidden (AI Act, Article 5). Upload only clips whose
people have agreed."""
STYLE = f"""
{cards.STYLE}
{timeline_page.STYLE}
.gradio-container{{max-width:1200px!important;margin:auto!important}}
#notice{{font-size:.92em}}
#{VIDEO_ID} video{{max-height:70vh}}
"""


@dataclass
class _Session:
    """What one open page has on this computer.

    Attributes:
        folder: of its results.
        uploads: folders that hold what was uploaded.
        stop: set when its work is to end.
    """

    folder: Path
    uploads: set[Path] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)
    n_runs: int = 0


class Page:
    """The web page.

    Args:
        analyst: judges the clips.
        folder: where uploads and results are kept for as long as they are needed; Gradio's own, too.
        max_bytes: larger uploads are refused.
    """

    def __init__(self, analyst: Analyst, folder: Path, *, max_bytes: int):
        self._analyst, self._folder, self._max_bytes = analyst, folder, max_bytes
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def build(self) -> gr.Blocks:
        """Builds the page, which ``gr.Blocks.launch`` serves."""
        analyst = self._analyst
        with gr.Blocks(
            title="Audio-visual emotion recognition", analytics_enabled=False,
            delete_cache=(SWEPT_SECONDS, KEPT_SECONDS),
        ) as page:  # fmt: skip
            gr.Markdown(f"# {TITLE}")
            gr.Markdown(NOTICE, elem_id="notice")
            with gr.Row():
                with gr.Column(scale=2, min_width=300):
                    clip = gr.Video(
                        label="Clip", sources=["upload", "webcam"], include_audio=True, elem_id="clip",
                        webcam_options=gr.WebcamOptions(mirror=False),
                    )  # fmt: skip
                    sample = gr.Button("Take the sample clip", size="sm", elem_id="sample", visible=SAMPLE.is_file())
                    gr.Markdown(self._describe_limits())
                    model = gr.Dropdown(list(analyst.models), value=next(iter(analyst.models)), label="Model",
                        info="accurate hears far better and takes a third more time", elem_id="model")  # fmt: skip
                    settings = self._build_settings()
                    with gr.Row():
                        start = gr.Button("Recognise", variant="primary", elem_id="start")
                        stop = gr.Button("Stop", variant="stop", elem_id="stop")
                with gr.Column(scale=3, min_width=300):
                    status = gr.HTML(elem_id="status")
                    with gr.Column(visible=False, elem_id="results") as results:
                        video = gr.Video(label="Annotated", elem_id=VIDEO_ID, interactive=False, buttons=[])
                        answer = gr.HTML(elem_id="answer")
                        with gr.Row():
                            downloads = [
                                gr.DownloadButton(f"↓ {name}", size="sm", min_width=90, elem_id=f"get-{name.lower()}")
                                for name in ("Video", "CSV", "JSON", "Plot")
                            ]
            timeline = gr.HTML(elem_id="timeline", js_on_load=timeline_page.script_for(f"#{VIDEO_ID} video"))
            found = gr.HTML(elem_id="cards")
            outputs = [status, results, video, answer, timeline, found, *downloads]
            if SAMPLE.is_file():
                sample.click(lambda: str(SAMPLE), None, clip, show_progress="hidden", api_visibility="private")
            clip.change(self._note_upload, clip, None, show_progress="hidden", api_visibility="private")
            start.click(
                self._recognise, [clip, model, *settings], outputs, show_progress_on=status, concurrency_limit=1,
                api_visibility="private",
            )  # fmt: skip
            stop.click(self._stop, None, None, queue=False, show_progress="hidden", api_visibility="private")
            page.unload(self._forget)
        page.queue(max_size=MAX_WAITING)
        return page

    def _describe_limits(self) -> str:
        return (
            f"Up to {self._max_bytes / 1e6:.0f} MB and {self._analyst.max_seconds:.0f} s. Uploads and results stay on "
            "the computer that serves this page. They are deleted when the page is closed, and no later than "
            f"{(KEPT_SECONDS + SWEPT_SECONDS) / 60:.0f} minutes after they were made."
        )

    def _build_settings(self) -> list:
        detectors = [name for name in FACE_DETECTORS if name != "retinaface"]  # which need not be here
        of_none = "none takes the square in the middle for one face"
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            detector = gr.Radio(detectors, value="yunet", label="Face detector", info=of_none)
            own = gr.Checkbox(True, label="The model's own threshold for unsure", elem_id="own-threshold")
            threshold = gr.Slider(
                0.0, 1.0, value=0.5, step=0.05, label="Unsure below this confidence", info="0 always names an emotion",
                visible=False, elem_id="threshold",
            )  # fmt: skip
            own.change(
                lambda is_own: gr.Slider(visible=not is_own), own, threshold, show_progress="hidden",
                api_visibility="private",
            )  # fmt: skip
            max_faces = gr.Slider(1, 20, value=InferenceSettings.max_faces, step=1, label="Faces, at most")
            blur_faces = gr.Checkbox(False, label="Blur all faces", elem_id="blur")
            notice = gr.Checkbox(False, label="State on the video that an AI system is at work")
        return [detector, threshold, own, max_faces, blur_faces, notice]

    def _recognise(
        self, clip, model, detector, threshold, own_threshold, max_faces, blur_faces, notice,
        request: gr.Request, progress=gr.Progress(),  # noqa: B008  (Gradio looks for it there)
    ):  # fmt: skip
        if clip is None:
            return self._problem("Upload a clip, record one, or take the sample first.")
        session = self._session(request)
        session.stop.clear()
        session.n_runs += 1
        folder = session.folder / str(session.n_runs)
        folder.mkdir(parents=True)
        clip = Path(clip)
        try:
            settings = InferenceSettings(
                face_detector=detector, max_faces=int(max_faces), unsure_below=None if own_threshold else threshold
            )
            analysis = self._analyst.analyse(
                clip, folder, model=model, settings=settings, notice=notice, blur_faces=blur_faces,
                tell=lambda what, share: progress(share, desc=what), stop=session.stop,
            )  # fmt: skip
        except Stopped:
            return self._problem("Stopped. Nothing was kept.")
        except EmotionError as error:
            # The file's place on the server is nobody's business.
            return self._problem(str(error).replace(str(clip), clip.name))
        portraits = {} if blur_faces else cut_portraits(analysis.prediction)
        return self._show(analysis, portraits)

    def _show(self, analysis: Analysis, portraits) -> list:
        prediction = analysis.prediction
        files = (analysis.video, analysis.csv, analysis.json, analysis.plot)
        return [
            "",
            gr.Column(visible=True),
            gr.Video(value=analysis.video and str(analysis.video), visible=analysis.video is not None),
            cards.format_answer(prediction),
            timeline_page.format_timeline(prediction),
            cards.format_cards(prediction, portraits),
            *(gr.DownloadButton(value=file and str(file), visible=file is not None) for file in files),
        ]

    def _problem(self, words: str) -> list:
        return [
            cards.format_problem(words), gr.Column(visible=False), gr.Video(value=None), "", "", "",
            *(gr.DownloadButton(value=None) for _ in range(4)),
        ]  # fmt: skip

    def _session(self, request: gr.Request) -> _Session:
        with self._lock:
            name = request.session_hash
            if name not in self._sessions:
                self._sessions[name] = _Session(self._folder / "results" / name)
            return self._sessions[name]

    def _note_upload(self, clip, request: gr.Request) -> None:
        """Remembers where an upload lies, and deletes the one before it."""
        session = self._session(request)
        kept = {Path(clip).parent} if clip and self._folder in Path(clip).parents else set()
        for folder in session.uploads - kept:
            shutil.rmtree(folder, ignore_errors=True)
        session.uploads = kept

    def _stop(self, request: gr.Request) -> None:
        self._session(request).stop.set()

    def _forget(self, request: gr.Request) -> None:
        """Deletes what a page that was closed has left, and ends its work."""
        with self._lock:
            session = self._sessions.pop(request.session_hash, None)
        if session is not None:
            session.stop.set()
            for folder in (session.folder, *session.uploads):
                shutil.rmtree(folder, ignore_errors=True)
