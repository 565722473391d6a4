"""What the page does with one clip: check its length, judge it, write the files that can be downloaded."""

import dataclasses
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emotion.errors import ConfigError, EmotionError, MediaError
from emotion.inference.output_plan import OutputPlan, OutputRequest
from emotion.inference.predictor import EmotionPredictor
from emotion.inference.processing import describe_run, prepare, process_file, write_tables
from emotion.media.reading import probe_media
from emotion.models.run_folder import CONFIG_FILE, Run, check_run, load_run
from emotion.places import default_run, saved_models
from emotion.results import MediaPrediction
from emotion.settings import InferenceSettings

N_LOADED = 3  # models that stay in memory

Tell = Callable[[str, float], None]


class Stopped(EmotionError):
    """The user asked to stop, or closed the page."""


@dataclass(frozen=True)
class Analysis:
    """What was found, and the files written; None for what there is not."""

    prediction: MediaPrediction
    video: Path | None
    plot: Path | None
    json: Path | None
    csv: Path | None


def find_models(chosen: Path, name: str) -> dict[str, Path]:
    """Returns the model folders to choose from by name.

    Args:
        chosen: the one that stands first.
        name: what it is called.

    Returns:
        That one, the shipped one, and all in ``saved_models`` that are whole; of two with one name the later is
        numbered.
    """
    folders = [default_run(), *sorted(path.parent for path in saved_models().glob(f"*/{CONFIG_FILE}"))]
    models, places = {name: chosen}, {chosen.resolve()}
    for folder in folders:
        if folder.resolve() in places or not _is_whole(folder):
            continue
        places.add(folder.resolve())
        number = sum(other == folder.name or other.startswith(f"{folder.name} (") for other in models)
        models[f"{folder.name} ({number + 1})" if number else folder.name] = folder
    return models


def _is_whole(folder: Path) -> bool:
    try:
        check_run(folder)
    except EmotionError:
        return False
    return True


class Analyst:
    """Judges clips for the page, one at a time.

    Args:
        models: folders by the names that the page shows; the first is loaded at once.
        max_seconds: longer clips are refused.
        runtime: what computes; see ``load_run``.

    Raises:
        RunError: if the first model cannot be loaded.
    """

    def __init__(self, models: dict[str, Path], *, max_seconds: float, runtime: str = "auto"):
        self.models, self.max_seconds = models, max_seconds
        self._load = functools.lru_cache(maxsize=N_LOADED)(functools.partial(load_run, runtime=runtime))
        self._one_at_a_time = threading.Lock()
        _ = EmotionPredictor(self.run(next(iter(models)))).detector

    def run(self, model: str) -> Run:
        """Returns a loaded model by the name that the page shows.

        Raises:
            ConfigError: if there is none of that name.
            RunError: if it cannot be loaded.
        """
        if model not in self.models:
            raise ConfigError(f"{model}: no such model here. Choose one of {', '.join(self.models)}.")
        return self._load(self.models[model])

    def analyse(
        self,
        clip: Path,
        folder: Path,
        *,
        model: str,
        settings: InferenceSettings,
        notice: bool = False,
        blur_faces: bool = False,
        tell: Tell = lambda what, share: None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> Analysis:
        """Judges a clip and writes video, plot, JSON and CSV.

        Args:
            clip: the file.
            folder: to write to.
            model: by the name that the page shows.
            settings: how it is used.
            notice, blur_faces: as for ``Annotator``.
            tell: called with what is being done and the share of all the work that is done, 0 to 1.
            is_stopped: asked now and then whether the work is to end.

        Raises:
            MediaError: if the clip cannot be read, or is too long.
            Stopped: once ``is_stopped``.
            EmotionError: if the model does not do this, or nothing can be written.
        """
        if is_stopped():  # while it waited for others
            raise Stopped("Stopped.")
        info = probe_media(clip)
        self._check_length(clip, info.duration_seconds)
        with self._one_at_a_time:
            tell("Loading the model", 0.0)
            predictor = EmotionPredictor(self.run(model), settings)
            if blur_faces and not predictor.config.looks_for_faces:
                raise ConfigError(f"{model} does not look for faces, so it cannot hide them. Choose another model.")
            if info.is_still:
                raise MediaError(f"{clip}: is a picture; this page takes clips. Judge it with run_inference.py.")
            request = OutputRequest(json="", csv="", folder=folder)
            _, plan = prepare(clip, request)
            settings_in_force = {**describe_run(predictor, self.models[model]), "model": model}
            prediction = process_file(
                predictor, clip, info, OutputPlan(picture=plan.picture), settings=settings_in_force,
                drawing={"notice": notice, "blur_faces": blur_faces},
                progress=functools.partial(self._progress, clip, tell, is_stopped),
            )  # fmt: skip
            # Where it lies on this computer is not for those who download the tables.
            shown = dataclasses.replace(prediction, path=clip.name)
            in_force = {**settings_in_force, "window_seconds": prediction.window_seconds}
            write_tables(shown, dataclasses.replace(plan, picture=None), in_force)
        written = plan.files()
        files = {name: path for name, path in written.items() if path.exists()}
        picture = plan.picture if plan.picture in files.values() else None
        return Analysis(prediction, picture, files.get("plot"), files.get("JSON"), files.get("CSV"))

    def _check_length(self, clip: Path, seconds: float | None) -> None:
        if seconds is not None and seconds > self.max_seconds:
            raise MediaError(
                f"{clip}: lasts {_in_words(seconds)}; this page takes clips of up to {_in_words(self.max_seconds)}. "
                "Cut it, or judge it with run_inference.py, which knows no limit."
            )

    def _progress(self, clip: Path, tell: Tell, is_stopped: Callable[[], bool], what: str) -> Callable:
        # Watching takes about as long as drawing.
        first = 0.0 if what == "Watching" else 0.5

        def progress(done: float, total: float | None) -> None:
            if is_stopped():
                raise Stopped("Stopped.")
            self._check_length(clip, done)  # headers of recordings from browsers do not tell
            share = min(1.0, done / total) if total else 0.0
            tell(what, first + 0.5 * share)

        return progress


def _in_words(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 600 else f"{seconds / 60:.3g} min"
