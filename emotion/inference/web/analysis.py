"""What the page and the service do with one clip: check its length, analyse it, write the files to download."""

import dataclasses
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion.console import Progress, Reporter
from emotion.errors import ConfigError, EmotionError, MediaError
from emotion.inference.output_plan import OutputPlan, OutputRequest, plan_clip
from emotion.inference.predictor import EmotionPredictor
from emotion.inference.result_files import describe_run, process_file, write_tables
from emotion.media.reading import MediaInfo
from emotion.media.recordings import Recording
from emotion.models.run_folder import CONFIG_FILE, check_run, load_run
from emotion.models.trained_model import Run
from emotion.places import default_run, saved_models
from emotion.results import MediaPrediction
from emotion.settings import InferenceSettings

N_LOADED = 3  # models that stay in memory

TellShare = Callable[[str, float], None]


class Stopped(EmotionError):
    """The user pressed Stop, or closed the page."""


@dataclass(frozen=True)
class Analysis:
    """A result, and the files written; None for those that there are not."""

    prediction: MediaPrediction
    video: Path | None
    plot: Path | None
    json: Path | None
    csv: Path | None


def find_models(chosen: Path, name: str) -> dict[str, Path]:
    """Returns the model folders that users can choose, by name.

    Args:
        chosen: stands first, under ``name``. The shipped model and all complete ones in ``saved_models`` follow; of two
            with one name the later is numbered.
    """
    homes = dict.fromkeys((default_run().parent, saved_models()))
    others = (path.parent for home in homes for path in sorted(home.glob(f"*/{CONFIG_FILE}")))
    folders = [default_run(), *others]
    models, places = {name: chosen}, {chosen.resolve()}
    for folder in folders:
        if folder.resolve() in places or not _is_complete(folder):
            continue
        places.add(folder.resolve())
        number = sum(other == folder.name or other.startswith(f"{folder.name} (") for other in models)
        models[f"{folder.name} ({number + 1})" if number else folder.name] = folder
    return models


def _is_complete(folder: Path) -> bool:
    try:
        check_run(folder)
    except EmotionError:
        return False
    return True


class Analyst:
    """Analyses clips for the page or the service, one at a time.

    Args:
        models: folders by the names that users see; the first is loaded at once.
        max_seconds: longer clips are refused.
        runtime: see ``load_run``.
        place: what takes the clips, for errors.

    Raises:
        RunError: if the first model cannot be loaded.
    """

    def __init__(self, models: dict[str, Path], *, max_seconds: float, runtime: str = "auto", place: str = "this page"):
        self.models, self.max_seconds, self._place = models, max_seconds, place
        self._load = functools.lru_cache(maxsize=N_LOADED)(functools.partial(load_run, runtime=runtime))
        self._one_at_a_time = threading.Lock()
        _ = EmotionPredictor(self.run(next(iter(models)))).detector

    def run(self, model: str) -> Run:
        """Returns a loaded model by the name that users see.

        Raises:
            ConfigError: if there is none of that name.
            RunError: if it cannot be loaded.
        """
        self.check_model(model)
        return self._load(self.models[model])

    def check_model(self, model: str) -> None:
        """Makes sure that there is a model of that name.

        Raises:
            ConfigError: if there is not.
        """
        if model not in self.models:
            raise ConfigError(f"{model}: no such model. Choose one of {', '.join(self.models)}.")

    def analyse(
        self,
        clip: Path,
        folder: Path,
        *,
        model: str,
        settings: InferenceSettings,
        notice: bool = False,
        blur_faces: bool = False,
        tell: TellShare = lambda what, share: None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> Analysis:
        """Analyses a clip and writes video, plot, JSON and CSV into a folder.

        Args:
            model: the name that the page shows.
            notice, blur_faces: as for ``Annotator``.
            tell: called with what is being done and the share of all work that is done, 0 to 1.
            is_stopped: asked now and then whether to stop.

        Raises:
            MediaError: if the clip cannot be read, or is too long.
            Stopped: once ``is_stopped``.
            EmotionError: if the model cannot do this, or nothing can be written.
        """
        if is_stopped():  # while it waited for others
            raise Stopped("Stopped.")
        info, plan = plan_clip(clip, OutputRequest(tables={"json": "", "csv": ""}, folder=folder))
        if info.is_still:
            raise MediaError(f"{clip}: is a picture; this page takes videos. Use run_inference.py for it.")
        prediction, used = self.process(
            clip, info, OutputPlan(picture=plan.picture), model=model, settings=settings,
            drawing={"notice": notice, "blur_faces": blur_faces}, tell=tell, is_stopped=is_stopped,
        )  # fmt: skip
        # The tables keep the clip's name, but not its place on this computer.
        shown = dataclasses.replace(prediction, path=clip.name)
        used["window_seconds"] = prediction.window_seconds
        write_tables(shown, dataclasses.replace(plan, picture=None), used)
        files = plan.written()
        picture = plan.picture if plan.picture in files.values() else None
        return Analysis(prediction, picture, files.get("plot"), files.get("JSON"), files.get("CSV"))

    def process(
        self,
        clip: Path,
        info: MediaInfo,
        plan: OutputPlan,
        *,
        model: str,
        settings: InferenceSettings,
        drawing: dict[str, bool],
        called: str | None = None,
        tell: TellShare = lambda what, share: None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> tuple[MediaPrediction, dict[str, Any]]:
        """Analyses a clip, or part of it, and writes what was planned.

        Arguments as for ``analyse`` and ``process_file``.

        Returns:
            The result, and how it was made, as tables keep it.
        """
        part = Recording.of_part(clip, info.choice, settings.span)
        self._check_length(clip, part.length_of(info))
        with self._one_at_a_time:
            if is_stopped():
                raise Stopped("Stopped.")
            tell("Loading the model", 0.0)
            predictor = EmotionPredictor(self.run(model), settings)
            if drawing["blur_faces"] and not predictor.config.looks_for_faces:
                raise ConfigError(f"{model} does not detect faces, so it cannot blur them. Choose another model.")
            used = {**describe_run(predictor, self.models[model]), "model": model}
            reporter = _WatchingReporter(
                tell=tell,
                is_stopped=is_stopped,
                check_length=functools.partial(self._check_length, clip),
                blurs=drawing["blur_faces"],
            )
            prediction = process_file(
                predictor, clip, info, plan, settings=used, drawing=drawing, reporter=reporter, called=called
            )
        return prediction, used

    def _check_length(self, clip: Path, seconds: float | None) -> None:
        if seconds is not None and seconds > self.max_seconds:
            raise MediaError(
                f"{clip}: lasts {_in_words(seconds)}; {self._place} takes clips of up to "
                f"{_in_words(self.max_seconds)}. Cut it, or use run_inference.py, which has no limit."
            )


@dataclass(frozen=True, kw_only=True)
class _WatchingReporter(Reporter):
    """Moves a progress bar of the page, and ends the work when the user stops it or the clip proves too long."""

    tell: TellShare
    is_stopped: Callable[[], bool]
    check_length: Callable[[float], None]
    blurs: bool

    def bar(self, what: str, unit: str) -> Progress:
        parts = ("Watching", "Blurring", "Drawing") if self.blurs else ("Watching", "Drawing")
        begun = parts.index(what) / len(parts)  # each takes about as long

        def progress(done: float, total: float | None) -> None:
            if self.is_stopped():
                raise Stopped("Stopped.")
            self.check_length(done)  # recordings from browsers do not state their length
            share = min(1.0, done / total) if total else 0.0
            self.tell(what, begun + share / len(parts))

        return progress


def _in_words(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 600 else f"{seconds / 60:.3g} min"
