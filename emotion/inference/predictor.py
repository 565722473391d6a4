"""From a media file to a ``MediaPrediction``: windows are cut, judged by a model and put together."""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from emotion.config import RunConfig
from emotion.console import Progress
from emotion.errors import ConfigError, EmotionError, MediaError
from emotion.files import displayable
from emotion.inference.analysed_clip import AnalysedClip
from emotion.inference.clip_result import ClipResult, JudgedWindow
from emotion.inference.many import predict_clips
from emotion.inference.person_baseline import PersonBaseline, PersonEvidence, of_reference
from emotion.inference.sources import Source, SourceOptions, opened
from emotion.inference.stream import ItemClock
from emotion.inference.track_encoder import TrackEncoder
from emotion.inference.transcription import Transcriber, without_pictures
from emotion.inputs.faces.detection import FaceDetector
from emotion.inputs.faces.detectors import build_detector
from emotion.inputs.voice.channels import ChannelWatch
from emotion.inputs.window_cutter import WindowCutter, WindowInputs
from emotion.media.arrays import ArrayRecording, Colours
from emotion.media.reading import MediaInfo
from emotion.media.recordings import Recording, RecordingInfo
from emotion.media.streams import Damage
from emotion.media.tracks import TrackChoice
from emotion.models.baseline_head import BaselineHead, check_has_baseline
from emotion.models.names import resolve_model
from emotion.models.run_folder import load_run
from emotion.models.trained_model import Run, WindowParts
from emotion.outputs.prediction import Prediction
from emotion.parallel import Stages, Stopwatch
from emotion.places import default_run
from emotion.results import REFERENCE
from emotion.settings import InferenceSettings, check_span

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
STREAM = "<stream>"  # what results call one
BATCH_WINDOWS = 8  # judged at once, which takes less time than one by one


class EmotionPredictor:
    """A trained model, ready to be shown media.

    Example:
        predictor = EmotionPredictor("accurate")
        prediction = predictor.predict("clip.mp4")
        print(prediction.overall.emotion, prediction.overall.confidence)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Run | None = None,
        settings: InferenceSettings | None = None,
        *,
        runtime: str = "auto",
    ):
        """Loads a model folder.

        Args:
            model: a folder, the name of one in ``saved_models/`` such as ``accurate``, ``hf://USER/NAME``, or a run
                already loaded; by default the model that comes with the program.
            settings: how it is used; by default the model's own.
            runtime: what computes, if the run is not loaded yet; see ``load_run``.

        Raises:
            RunError: if the folder is missing or incomplete.
        """
        self.run = model if isinstance(model, Run) else load_run(resolve_model(model or default_run()), runtime=runtime)
        self.settings = settings or InferenceSettings()
        self.people: tuple[PersonBaseline, ...] = ()  # whose references were given

    def with_reference(self, clips: Paths | Mapping[str, Paths]) -> "EmotionPredictor":
        """Returns a predictor that compares people with neutral clips of themselves.

        Example:
            predictor = predictor.with_reference("calm.mp4")
            predictor = predictor.with_reference({"Anna": "anna_calm.mp4", "Ben": ["ben_1.mp4", "ben_2.mp4"]})

        Args:
            clips: of one person; or of several people by name, who are then known by their faces. A few seconds of calm
                talk in the same room and light are best.

        Raises:
            ConfigError: if the model cannot compare people with themselves.
            MediaError: if a clip cannot be read, shows several faces, or neither a face nor a voice.
        """
        check_has_baseline(self.run.path, "with_reference")
        by_name: Mapping[Any, Paths] = clips if isinstance(clips, Mapping) else {None: clips}
        people = []
        for name, named in by_name.items():
            paths = [named] if isinstance(named, str | os.PathLike) else list(named)
            if not paths:
                raise ConfigError(f"reference {name}: names no clip.")
            person = dataclasses.replace(self.read_reference(paths), name=name)
            people.append(dataclasses.replace(person, clips=tuple(displayable(path) for path in paths)))
        other = EmotionPredictor(self.run, self.settings)
        other.people = tuple(people)
        vars(other).update({name: vars(self)[name] for name in ("detector", "transcriber") if name in vars(self)})
        return other

    def read_reference(self, clips: Sequence[str | os.PathLike[str] | Recording]) -> PersonBaseline:
        """Returns what is usual for a person, by neutral clips; errors as for ``with_reference``."""
        check_has_baseline(self.run.path, "with_reference")
        head = cast(BaselineHead, self.run.baseline)
        each = []
        for path in clips:
            clip = self.analyse(path if isinstance(path, Recording) else Recording.of_file(path))
            clip.check_reference(head)
            each.append(clip.main_evidence())
        return of_reference(PersonEvidence.pooled(each), head)

    @property
    def config(self) -> RunConfig:
        return self.run.config

    @functools.cached_property
    def detector(self) -> FaceDetector | None:
        """The face detector, which is built once; None if this model looks for no faces."""
        return build_detector(self.settings.face_detector) if self.config.looks_for_faces else None

    @functools.cached_property
    def transcriber(self) -> Transcriber | None:
        """What writes down what is said, which is loaded once; None if nothing should."""
        chosen = self.settings
        return None if chosen.transcribe is None else Transcriber(chosen.transcribe, chosen.language)

    @functools.cached_property
    def settings_in_force(self) -> InferenceSettings:
        """The settings, with the model's own values where none were chosen."""
        return self.settings.filled(self.config)

    @property
    def window_seconds(self) -> float:
        return cast(float, self.settings_in_force.window_seconds)  # filled

    @property
    def step_seconds(self) -> float:
        return cast(float, self.settings_in_force.step_seconds)  # filled

    @property
    def unsure_below(self) -> float:
        return cast(float, self.settings_in_force.unsure_below)  # filled

    def predict(
        self,
        source: Source | None = None,
        *,
        start: float | None = None,
        end: float | None = None,
        fps: float | None = None,
        times: Iterable[float] | None = None,
        samples: np.ndarray | None = None,
        sample_rate: int | None = None,
        colours: Colours = "rgb",
        info: MediaInfo | RecordingInfo | None = None,
        progress: Progress | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> Prediction:
        """Judges every face, and the voice, of a clip: a video, a sound or a picture.

        The sound counts for the face whose mouth moves with it; every other face is judged by its looks alone. Where
        no face moves its mouth with the voice, the voice is judged by itself.

        Example:
            predictor.predict("clip.mp4", start=60, end=90)
            predictor.predict(request.files["clip"])
            predictor.predict(frames, fps=25, samples=sound, sample_rate=16000)

        Args:
            source: a path; the bytes of a file, or a file object; a picture ``(height, width, 3)`` or pictures
                ``(n, height, width, 3)`` of uint8; a picture of Pillow's; or an iterable of pictures, which need not
                be in memory together. None for sound alone.
            start, end: the part to judge, in seconds; by default all of it.
            fps: of pictures, how many there are a second.
            times: of pictures, when each is shown, in seconds, rising; instead of ``fps``.
            samples: of pictures, or alone: sound ``(n_samples,)`` or ``(n_samples, n_channels)``, floats of full scale
                1, int16 or int32.
            sample_rate: of the samples, in Hz.
            colours: of arrays, ``rgb``, or ``bgr`` as OpenCV gives them.
            info: what the headers of a file say, if you have read them already.
            progress: called with the seconds done and, where known, their total.
            stopwatch: measures each part of the work.

        Returns:
            The answer; its times are seconds on the file's own clock.

        Raises:
            InputTypeError: for anything else than these; it is a ``TypeError``, too.
            ConfigError: if times or sound do not fit what is given.
            MediaError: if the file is missing, broken, or no media, or has no such track.
        """
        options = SourceOptions(fps, times, samples, sample_rate, colours)
        span = check_span(start, end) if (start, end) != (None, None) else self.settings.span
        tracks = TrackChoice(self.settings.video_track, self.settings.audio_track)
        with opened(source, options, span, tracks) as recording:
            clip = self.analyse(recording, info=info, progress=progress, stopwatch=stopwatch)
            return self.conclude(self.transcribe(clip, stopwatch=stopwatch))

    def predict_many(
        self, paths: Iterable[str | os.PathLike[str]], *, progress: bool = False, workers: int = 1
    ) -> Iterator[Prediction | EmotionError]:
        """Judges clips, and yields for each, in their order, the answer or the error that it ended with.

        Example:
            for path, result in zip(paths, predictor.predict_many(paths, workers=4)):
                print(path, result if isinstance(result, EmotionError) else result.headline)

        Args:
            progress: whether to draw a bar.
            workers: processes, each with a model of its own. In a script, call this under
                ``if __name__ == "__main__":``.
        """
        again = functools.partial(_again, self.run.path, self.run.runtime, self.settings, self.people)
        return predict_clips(self.predict, again, paths, progress=progress, n_processes=workers)

    def predict_stream(
        self,
        items: Iterable[Any],
        *,
        fps: float | None = None,
        sample_rate: int | None = None,
        colours: Colours = "rgb",
    ) -> Iterator[Prediction]:
        """Judges pictures and sound as they come, and yields what is known each time a window is judged.

        Example:
            for now in predictor.predict_stream(camera_frames(), fps=30):
                print(now.overall.emotion)

        Args:
            items: pictures as ``predict`` takes them, and blocks of sound ``(n_samples,)``, in order of time; each as
                it is, or as a pair of its time in seconds and itself.
            fps: of pictures without a time.
            sample_rate: of the sound, in Hz; None if there is none.
            colours: as for ``predict``.

        Yields:
            The people in sight and the latest answers; ``overall`` is the latest of the face that fills most of the
            picture, or of the voice.

        Raises:
            InputTypeError: if an item is neither a picture nor sound.
            ConfigError: if pictures have no times, or sound has no rate.
        """
        clock = ItemClock(fps, sample_rate, self.config.audio.sample_rate, colours)
        cutter = self.watch_live(has_audio=sample_rate is not None)
        result = self.build_result(STREAM, cutter)
        judged: list[JudgedWindow] = []
        for answer in self.judge(cutter.cut(clock.place(items)), batch_windows=1):
            judged.append(answer)
            yield result.at_moment(judged, cutter.duration_seconds)

    def watch_live(self, *, has_audio: bool) -> WindowCutter:
        """Returns a cutter for what comes now: it waits for nothing, and its first windows hold only what has come."""
        window = min(self.window_seconds, self.config.window.window_seconds)
        return WindowCutter(
            self.config, self.settings, has_audio=has_audio, detector=self.detector,
            first_start_seconds=min(0.0, self.step_seconds - window), context_frames=self.run.context_frames,
            awaits_context=False,
        )  # fmt: skip

    def analyse(
        self,
        path: str | os.PathLike[str] | Recording | ArrayRecording,
        *,
        info: MediaInfo | RecordingInfo | None = None,
        progress: Progress | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> AnalysedClip:
        """Judges the windows of a clip; ``conclude`` makes an answer of them. Arguments as for ``predict``."""
        if isinstance(path, Recording | ArrayRecording):
            recording = path
        else:
            recording = Recording.of_part(
                path, TrackChoice(self.settings.video_track, self.settings.audio_track), self.settings.span
            )
        stopwatch = stopwatch or Stopwatch()
        info = info or recording.probe()
        recording = dataclasses.replace(recording, choice=info.choice)
        if info.is_still and (recording.start_seconds or recording.end_seconds is not None):
            raise ConfigError(f"{recording.path}: is a picture, of which there are no parts. Leave out start and end.")
        duration = info.duration_seconds if isinstance(info, RecordingInfo) else recording.length_of(info)
        cutter = WindowCutter(
            self.config, self.settings, has_video=info.has_video, has_audio=info.has_audio,
            duration_seconds=duration, context_frames=self.run.context_frames, detector=self.detector,
            stopwatch=stopwatch,
        )  # fmt: skip
        damage = Damage(recording.path, is_silent=True)
        channels = ChannelWatch()
        items = recording.read(self.config.audio.sample_rate, damage=damage)
        items = channels.watch(stopwatch.watch("decode", items))
        with Stages() as stages:
            together = stages.ahead(cutter.cut(stages.ahead(cutter.prepare(items))))
            # Only the answers are kept: a window's frames weigh a thousand times as much.
            windows = list(self.judge(_telling(together, progress, duration), stopwatch=stopwatch))
        if not cutter.has_video and not cutter.has_audio:
            raise MediaError(f"{recording.path}: neither a picture nor a sound could be decoded. Is the file whole?")
        if progress:
            progress(cutter.duration_seconds, cutter.duration_seconds)
        notes = [f"the file is damaged{damage.words}: only what could be decoded was judged"] * bool(damage.count)
        notes += [damage.doubt] if damage.doubt and not damage.count else []
        notes += info.notes
        if info.choice.channel is not None:
            notes.append(f"of the sound, channel {info.choice.channel} alone was judged")
        elif cutter.speech and channels.hold_two_people:
            notes.append("each channel of the sound seems to hold one person; --split_channels judges each by itself")
        return AnalysedClip(
            recording.path, self.build_result(recording.path, cutter), cutter, windows,
            expects_sound=not info.is_still, choice=info.choice, notes=tuple(notes), part=recording.part,
            undecodable={**info.undecodable, **(_find_lost(info, cutter) if damage.count else {})},
            sound=without_pictures(recording) if cutter.has_audio else None,
        )  # fmt: skip

    def transcribe(
        self, clip: AnalysedClip, *, progress: Progress | None = None, stopwatch: Stopwatch | None = None
    ) -> AnalysedClip:
        """Returns a clip from ``analyse`` with what is said in it; the same if ``settings.transcribe`` is None.

        Args:
            progress, stopwatch: as for ``predict``.

        Raises:
            EmotionError: if Whisper cannot be loaded, or fails.
        """
        if self.transcriber is None:
            return clip
        if clip.sound is None:
            return dataclasses.replace(clip, words=())
        with (stopwatch or Stopwatch())("transcribe"):
            words, language = self.transcriber.write_down(clip.sound, clip.cutter.speech, progress=progress)
        note = f"Whisper {self.transcriber.size} wrote down what is said (language: {language}); words may be wrong"
        return dataclasses.replace(clip, words=words, notes=(*clip.notes, *[note] * bool(words)))

    def conclude(self, clip: AnalysedClip, person: PersonBaseline | None = None) -> Prediction:
        """Puts the windows of a clip together, each person compared with their baseline where there is one.

        Args:
            clip: from ``analyse``.
            person: whose clip it is, if known: the face most in sight, and the voices, are theirs.
        """
        if self.run.baseline is None:
            return clip.conclude()
        if person is not None:
            return clip.conclude(clip.only(person), self.run.baseline)
        people = clip.find_people(self.people, self.run.baseline, adapts=self.settings.adapts)
        prediction = clip.conclude(people, self.run.baseline)
        if not self.people or any(use.kind == REFERENCE for use in prediction.baselines):
            return prediction
        return dataclasses.replace(prediction, notes=(*prediction.notes, "nobody in it is known from the references"))

    def judge(
        self,
        together: Iterable[list[WindowInputs]],
        *,
        batch_windows: int = BATCH_WINDOWS,
        stopwatch: Stopwatch | None = None,
    ) -> Iterator[JudgedWindow]:
        """Judges windows as they come.

        Args:
            together: from ``WindowCutter.cut``.
            batch_windows: how many windows to gather before the model is asked.
        """
        stopwatch = stopwatch or Stopwatch()
        encoder = None if self.run.context_frames is None else TrackEncoder(self.run)
        waiting: list[WindowInputs] = []
        for windows in together:
            waiting += windows
            if len(waiting) >= batch_windows:
                with stopwatch("model"):
                    judged = self._judge(waiting, encoder)
                yield from judged
                waiting = []
        with stopwatch("model"):
            judged = self._judge(waiting, encoder)
        yield from judged

    def _judge(self, windows: list[WindowInputs], encoder: TrackEncoder | None) -> list[JudgedWindow]:
        known = [window for window in windows if window.evidence != "none"]
        answers: Iterator[np.ndarray] = iter(())
        parts: Iterator[WindowParts | None] = itertools.repeat(None)
        if known and encoder is not None:
            encoded = encoder.encode(known)
            answers = iter(self.run.predict_encoded(encoded))
            if self.run.baseline is not None:
                parts = iter(self.run.take_apart(encoded))
        elif known:
            batch = {name: np.stack([window.inputs[name] for window in known]) for name in known[0].inputs}
            answers = iter(self.run.predict(batch))
        return [
            JudgedWindow(
                window.start_seconds,
                window.end_seconds,
                window.track,
                window.evidence,
                None if window.evidence == "none" else next(answers),
                None if window.evidence == "none" else next(parts),
            )
            for window in windows
        ]

    def build_result(self, name: str, cutter: WindowCutter) -> ClipResult:
        """Returns what puts judged windows together; ``name`` is that of the file or the camera."""
        return ClipResult(name, cutter, self.config, self.settings_in_force, self.run.places)


def _again(
    folder: Path, runtime: str, settings: InferenceSettings, people: tuple[PersonBaseline, ...]
) -> Callable[[str | os.PathLike[str]], Prediction]:
    """Makes what predicts the same in another process."""
    predictor = EmotionPredictor(folder, settings, runtime=runtime)
    predictor.people = people
    return predictor.predict


def _find_lost(info: MediaInfo | RecordingInfo, cutter: WindowCutter) -> dict[str, str]:
    """Returns the codec of each kind, ``video`` or ``audio``, that a file promised and of which nothing came."""
    lost = {}
    if info.has_video and not cutter.has_video:
        lost["video"] = info.video_codec or "unknown"
    if info.has_audio and not cutter.has_audio:
        lost["audio"] = info.audio_codec or "unknown"
    return lost


def _telling(
    together: Iterable[list[WindowInputs]], progress: Progress | None, duration_seconds: float | None
) -> Iterator[list[WindowInputs]]:
    for windows in together:
        if progress is not None:
            progress(windows[0].start_seconds, duration_seconds)
        yield windows
