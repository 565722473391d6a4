"""Plans and runs what you ask ``run_inference.py`` for: one clip, many clips, or a camera.

A job is planned without a model, and run with one.
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from emotion.config import RunConfig
from emotion.console import Reporter
from emotion.errors import ConfigError, EmotionError
from emotion.files import displayable, lent_folder, locked_folder, locked_names, make_folder
from emotion.inference.addresses import Address, is_address, resolve_place
from emotion.inference.batch import SUMMARY_FILE, Batch, ClipAnswer, Task, check_results_folder
from emotion.inference.batch_run import format_summary, run_batch
from emotion.inference.clip_search import ClipFile, LeftOut, find_clips, split_channels
from emotion.inference.output_plan import OutputPlan, check_plan, plan_clip, plan_outputs
from emotion.inference.request import InferenceRequest
from emotion.inference.result_files import describe_run, process_file, write_tables
from emotion.inference.result_store import ResultStore
from emotion.inference.staging import Staging, possible_names, staged
from emotion.inference.workers import Worker, label_in_processes
from emotion.media.camera import Camera
from emotion.media.reading import MediaInfo
from emotion.outputs.summary import format_report
from emotion.parallel import Stopwatch
from emotion.results import OWN_CLIPS, MediaPrediction

if TYPE_CHECKING:
    from emotion.inference.analysed_clip import AnalysedClip
    from emotion.inference.person_baseline import PersonBaseline
    from emotion.inference.predictor import EmotionPredictor

DEFAULT_FOLDER = Path("emotion_results")  # for the results of several clips
STEPS = ("decode", "detect", "listen", "features", "model", "transcribe", "draw", "encode", "write")


class Job(Protocol):
    """Work for a model; everything that could be checked without one has been."""

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        """Does the work and returns how many files failed."""


def plan_job(request: InferenceRequest, config: RunConfig) -> Job:
    """Works out what a request asks for, and whether it can be done with a model of this configuration.

    Raises:
        MediaError: if the clip cannot be read, or the camera not opened.
        ConfigError: if options contradict each other, or something cannot be written.
        EmotionError: if the face detector is not installed.
    """
    request.check(config)
    if request.camera is not None:
        camera = CameraJob(request)
        camera.check()
        return camera
    left_out = LeftOut()
    clips = find_clips(request.media, left_out)
    if request.split_channels:
        only = Path(request.media[0])
        clips = split_channels(clips or [ClipFile(only, displayable(only.stem))], request.tracks)
    if clips is not None:
        request.check_names(len(clips))
        folder = request.outputs.folder or DEFAULT_FOLDER
        store = ResultStore(request.results) if request.results else None
        check_results_folder(
            store or folder, resume=request.resume, overwrite=request.outputs.overwrite, part=request.part
        )
        k, n = request.shard or (1, 1)
        sources = frozenset(resolve_place(clip.path) for clip in clips)
        return BatchJob(request, clips[k - 1 :: n], folder, sources, str(left_out), store)
    if request.adapts_to_folders:
        raise ConfigError("--adapt is for several clips of a person. Name them, or their folder.")
    of_several = {
        "resume": request.resume, "workers": request.n_workers > 1, "cluster": request.cluster, "shard": request.shard
    }  # fmt: skip
    for option, is_given in of_several.items():
        if is_given:
            raise ConfigError(f"--{option} is for several clips. Leave it out, or name a folder.")
    if is_address(request.media[0]) or request.results:
        return StagedJob.of(request)
    if request.outputs.folder:
        make_folder(request.outputs.folder)
    clip = Path(request.media[0])
    return FileJob(request, clip, *plan_clip(clip, request.outputs, choice=request.tracks))


@dataclass(frozen=True)
class FileJob:
    """One clip.

    Attributes:
        called: what results call it, if not by its path.
    """

    request: InferenceRequest
    clip: Path
    info: MediaInfo
    plan: OutputPlan
    called: str | None = None

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        lines = self.work(predictor, loading_seconds)
        _beside(self.plan, self.request.reporter).say("\n".join(lines))
        return 0

    def work(self, predictor: "EmotionPredictor", loading_seconds: float) -> list[str]:
        """Does the work, and returns what to say of it."""
        stopwatch, start = Stopwatch(), time.perf_counter()
        with locked_names(self.plan.files().values()):
            # Another program may have written there while the model was loading.
            check_plan(self.plan, self.clip, overwrite=self.request.outputs.overwrite)
            prediction = process_file(
                predictor, self.clip, self.info, self.plan, settings=describe_run(predictor, self.request.model),
                drawing=self.request.drawing, stopwatch=stopwatch, reporter=self.request.reporter, called=self.called,
            )  # fmt: skip
        lines = _result_lines(prediction, self.plan)
        if self.request.timings:
            seconds = time.perf_counter() - start
            lines.append(_format_timings(stopwatch, prediction.duration_seconds, seconds, loading_seconds))
        return lines


@dataclass(frozen=True)
class StagedJob:
    """One clip that lies at an address, or whose results go to one."""

    request: InferenceRequest
    clip: ClipFile

    @classmethod
    def of(cls, request: InferenceRequest) -> "StagedJob":
        """Makes sure that the clip is there, and that the results' address can be reached.

        Raises:
            EmotionError: if not.
        """
        place = request.media[0]
        path = Address(place).look() if is_address(place) else Path(place)
        if request.results is not None:
            request.results.exists()
        return cls(request, ClipFile(path, ""))

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        request = self.request
        with staged(self.clip, Staging(request.outputs, request.results, request.tracks)) as clip:
            job = FileJob(request, clip.path, clip.info, clip.plan, clip.called)
            lines = job.work(predictor, loading_seconds)
        _beside(clip.plan, request.reporter).say(clip.rename("\n".join(lines)))
        return 0


@dataclass(frozen=True)
class BatchJob:
    """Several clips, each with its own results in one folder.

    Attributes:
        sources: where these clips and those of other shards lie; no result may replace them.
        left_out: which other files lie there, in a line; empty if there are none.
        store: where the results go, if that is an address.
    """

    request: InferenceRequest
    clips: list[ClipFile]
    folder: Path
    sources: frozenset[Path | str]
    left_out: str = ""
    store: ResultStore | None = None

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        if self.store is not None:
            with self.store.locked(f"{SUMMARY_FILE}-{self.request.part}"), lent_folder("batch") as folder:
                return dataclasses.replace(self, folder=folder)._run(predictor, loading_seconds)
        place = self.folder / f"{SUMMARY_FILE}-{self.request.part}"
        with locked_names([place]) if self.request.part else locked_folder(self.folder):
            return self._run(predictor, loading_seconds)

    def _run(self, predictor: "EmotionPredictor", loading_seconds: float) -> int:
        request, reporter = self.request, self.request.reporter
        worker = Worker(predictor, request)
        if request.adapts_to_folders:  # each clip's answer depends on the others
            worker.settings["adapted_to"] = [displayable(clip.path) for clip in self.clips]
        depends = {
            **worker.settings,
            **request.drawing,
            "outputs": {
                "video": request.outputs.video,
                "plot": request.outputs.plot,
                **dict.fromkeys(("json", "csv", "srt")),  # which records of a batch have always named
                **request.outputs.tables,
            },
        }
        batch = Batch(
            self.folder, depends, resume=request.resume, overwrite=request.outputs.overwrite, part=request.part,
            store=self.store,
        )  # fmt: skip
        outputs = dataclasses.replace(request.outputs, folder=self.folder)
        stopwatch, start, seconds = Stopwatch(), time.perf_counter(), 0.0
        analysed: dict[Path, AnalysedClip] = {}
        people: dict[Path, PersonBaseline] = {}
        if request.adapts_to_folders and not all(batch.is_done(clip) for clip in self.clips):
            analysed, people = self._get_to_know(predictor, stopwatch)

        def plan(clip: ClipFile) -> Task:
            if self.store is not None or isinstance(clip.path, Address):
                return self._plan_elsewhere(clip, batch)
            make_folder((self.folder / clip.name).parent)
            # What an interrupted run left of this very clip may be replaced.
            ours = batch.outputs(clip)
            choice = dataclasses.replace(request.tracks, channel=clip.channel)
            return Task(
                clip, *plan_clip(clip.path, outputs, choice=choice, name=clip.name, ours=ours, clips=self.sources)
            )

        def label_here(tasks: Iterable[Task]) -> Iterator[tuple[Task, ClipAnswer | str]]:
            for task in tasks:
                path = task.clip.path
                yield task, worker.label(
                    task, stopwatch=stopwatch, reporter=reporter, analysed=analysed.pop(path, None),
                    person=people.get(path.resolve().parent) if people else None,
                )  # fmt: skip

        def label(tasks: Iterable[Task]) -> Iterator[tuple[Task, ClipAnswer | str]]:
            nonlocal seconds
            if request.cluster:
                from emotion.inference.cluster import label_on_cluster

                labelled = label_on_cluster(request, tasks)
            else:
                labelled = label_here(tasks) if request.n_workers == 1 else label_in_processes(request, tasks)
            for task, answer in labelled:
                seconds += 0.0 if isinstance(answer, str) else answer.seconds
                yield task, answer

        try:
            n_failed = run_batch(self.clips, batch, plan, label, reporter=reporter)
        except KeyboardInterrupt:
            reporter.say(f"{self._format_summary(batch)}\nTo go on: run the same command with --resume.")
            raise
        reporter.say(self._format_summary(batch))
        if request.timings:
            reporter.say(_format_timings(stopwatch, seconds, time.perf_counter() - start, loading_seconds))
        return n_failed

    def _plan_elsewhere(self, clip: ClipFile, batch: Batch) -> Task:
        """Plans as much as can be planned before the clip is fetched."""
        request = self.request
        outputs = dataclasses.replace(request.outputs, folder=self.folder)
        paths = {name: self.folder / name for name in possible_names(clip.name, outputs)}
        places = paths if self.store is None else {name: self.store.address.below(name) for name in paths}
        clips = frozenset(name for name, place in places.items() if resolve_place(place) in self.sources)
        ours = set(batch.outputs(clip))
        possible = [
            path for name, path in paths.items()
            if name not in clips and (outputs.overwrite or path in ours or not batch.is_there(path))
        ]  # fmt: skip
        staging = Staging(
            outputs, request.results, dataclasses.replace(request.tracks, channel=clip.channel), clip.name,
            frozenset(name for name, path in paths.items() if path in ours), clips,
        )  # fmt: skip
        return Task(clip, staging=staging, possible=tuple(possible))

    def _format_summary(self, batch: Batch) -> str:
        return "\n".join(part for part in (format_summary(self.clips, batch), self.left_out) if part)

    def _get_to_know(
        self, predictor: "EmotionPredictor", stopwatch: Stopwatch
    ) -> tuple[dict[Path, "AnalysedClip"], dict[Path, "PersonBaseline"]]:
        """Returns all clips that can be read, analysed, and what is usual for the person in each folder."""
        from emotion.inference.person_baseline import PersonEvidence, of_own_mean

        analysed: dict[Path, AnalysedClip] = {}
        found: dict[Path, list[PersonEvidence]] = {}
        bar = self.request.reporter.bar("Getting to know people", "clips")
        for number, clip in enumerate(self.clips, start=1):
            # A clip that cannot be read is reported when its turn comes.
            with contextlib.suppress(EmotionError):
                analysed[clip.path] = predictor.analyse(clip.path, stopwatch=stopwatch)
                found.setdefault(clip.path.resolve().parent, []).append(analysed[clip.path].main_evidence())
            bar(number, len(self.clips))
        pooled = {folder: PersonEvidence.pooled(each) for folder, each in found.items()}
        head = predictor.run.baseline
        return analysed, {folder: of_own_mean(each, head, OWN_CLIPS) for folder, each in pooled.items()}


@dataclass(frozen=True)
class CameraJob:
    """A camera: shown in the browser, and recorded if you name a file."""

    request: InferenceRequest

    def run(self, predictor: "EmotionPredictor", *, loading_seconds: float = 0.0) -> int:
        from emotion.inference.live import LivePage, run_live

        request, plan = self.request, self.plan()
        name, reporter = f"camera {request.camera}", _beside(plan, request.reporter)
        with contextlib.ExitStack() as stack:
            camera = stack.enter_context(Camera(request.camera, max_seconds=request.max_seconds))
            page = None
            if request.outputs.video:
                page = stack.enter_context(LivePage(request.port))
                reporter.say(f"{name}: open {page.address} in a browser. Ctrl-C ends it.")
            prediction = run_live(
                predictor, camera.frames(), name=name, page=page, output=plan.picture, drawing=request.drawing
            )
        write_tables(prediction, plan, describe_run(predictor, request.model))
        reporter.say("\n".join(_result_lines(prediction, plan)))
        return 0

    def check(self) -> None:
        """Makes sure that the camera is there, and that everything can be written and shown.

        Raises:
            MediaError: if the camera cannot be opened.
            ConfigError: if something cannot be written, or the page cannot be served.
        """
        with Camera(self.request.camera, max_seconds=0.0):
            pass
        if self.request.outputs.folder:
            make_folder(self.request.outputs.folder)
        check_plan(self.plan(), None, overwrite=self.request.outputs.overwrite)
        if self.request.outputs.video:
            from emotion.inference.live import LivePage

            LivePage(self.request.port).close()

    def plan(self) -> OutputPlan:
        """Where the recording and the tables go; a recording and a plot only if you name them."""
        wanted = self.request.outputs
        wanted = dataclasses.replace(wanted, video=wanted.output is not None, plot=wanted.save_plot is not None)
        return plan_outputs(Path(f"camera_{self.request.camera}"), wanted, has_video=True, is_still=False)


def _beside(plan: OutputPlan, reporter: Reporter) -> Reporter:
    """A reporter that leaves the standard output to a table, if one is printed."""
    return dataclasses.replace(reporter, aside=plan.prints)


def _result_lines(prediction: MediaPrediction, plan: OutputPlan) -> list[str]:
    return [format_report(prediction), *(f"{what}: {path}" for what, path in plan.written().items())]


def _format_timings(stopwatch: Stopwatch, clip_seconds: float, total_seconds: float, loading_seconds: float) -> str:
    steps = [(name, stopwatch.seconds[name]) for name in STEPS if name in stopwatch.seconds]
    words = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in steps) or "in other processes"
    speed = f", {clip_seconds / total_seconds:.1f} times as fast as it plays" if clip_seconds else ""
    words = f"{words}; steps overlap" if sum(seconds for _, seconds in steps) > total_seconds else words
    return f"time: {total_seconds:.1f} s{speed} ({words}), after {loading_seconds:.1f} s of loading"
