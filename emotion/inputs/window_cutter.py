"""Cuts media into the windows that a model is to judge, in one pass and in flat memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from emotion.config import RunConfig
from emotion.inputs.faces.detectors import FaceDetector, build_detector
from emotion.inputs.faces.speaking import RATE_HZ, compute_loudness, find_speaker, watch_mouth
from emotion.inputs.frame_sampler import WHOLE_FRAME, FrameSampler
from emotion.inputs.preprocessing import Preprocessor, SoundBuffer
from emotion.inputs.voice.speech import MIN_SPEECH_SECONDS, SpeechDetector
from emotion.media.pictures import VideoFrame
from emotion.media.reading import AudioChunk
from emotion.parallel import Stopwatch
from emotion.settings import InferenceSettings
from emotion.windows import count_steps

# How far one stream may run ahead of the other before the other is taken to have ended. Decoders with many threads hold
# back a dozen pictures, which at a picture a second is a dozen seconds; some files lay out their streams far apart.
MAX_LEAD_SECONDS = 60.0
# It takes so long after a sound until it is known whether it was speech.
SPEECH_DELAY_SECONDS = 0.1
MIN_SPEECH_SHARE = 0.5  # of a window so short that what is asked for of others would not fit into it

Progress = Callable[[float], None]


@dataclass(frozen=True)
class WindowInputs:
    """One window as a model takes it.

    Attributes:
        start_seconds, end_seconds: the window.
        face: the sampler's number of the face, ``WHOLE_FRAME`` for whole frames, None for the voice alone.
        evidence: ``face+voice``, ``face``, ``voice`` or ``none``; ``frame`` instead of ``face`` for whole frames.
        inputs: by the names of the model's inputs, without the axis of the batch.
    """

    start_seconds: float
    end_seconds: float
    face: int | None
    evidence: str
    inputs: dict[str, np.ndarray]


class MediaScanner:
    """Takes pictures and sound as they come and holds no more of them than one window and what it overlaps.

    Args:
        config: of the model.
        settings: what is chosen at inference.
        has_video, has_audio: whether pictures and sound are to come.
        is_mute: whether the sound is known to hold no voice, and need not be listened to.
        first_start_seconds: of the first window. Below 0 for what is judged while it happens: the first windows then
            hold only what has come so far.
        detector: of faces; by default the one that the settings name is built.
        stopwatch: told how long it takes to find faces, mouths and speech.

    Attributes:
        window_seconds: the length of the windows cut.
        n_voices_passed_over: windows whose voice belongs to a face that is not judged, since others fill more of the
            picture.
    """

    def __init__(
        self,
        config: RunConfig,
        settings: InferenceSettings | None = None,
        *,
        has_video: bool = True,
        has_audio: bool = True,
        is_mute: bool = False,
        first_start_seconds: float = 0.0,
        detector: FaceDetector | None = None,
        stopwatch: Stopwatch | None = None,
    ):
        settings = settings or InferenceSettings()
        self._config = config
        self._max_faces = settings.max_faces
        self.window_seconds = min(settings.window_seconds or config.window.window_seconds, config.window.window_seconds)
        self._step_seconds = settings.step_seconds or config.window.step_seconds
        self._first_start = first_start_seconds
        self._stopwatch = stopwatch or Stopwatch()
        self._preprocessor = Preprocessor(config)
        self._hears = has_audio and not is_mute and "audio" in config.modalities
        self._expects = {"video": has_video, "audio": has_audio}
        self.sampler = FrameSampler(
            config,
            detector=detector if detector or not config.looks_for_faces else build_detector(settings.face_detector),
            min_face=settings.min_face,
            watches_mouths=self._hears and has_video,
        )
        self._sound = SoundBuffer(config.audio.sample_rate)
        self._speech = SpeechDetector(config.audio.sample_rate) if self._hears else None
        self._crops: dict[int, dict[int, np.ndarray]] = {}
        self._shown: list[int] = []
        self._spoke_before: tuple[int, float] | None = None  # who, and when that window began
        self.has_video = False
        self.has_audio = False
        self.n_voices_passed_over = 0

    @property
    def duration_seconds(self) -> float:
        """To the end of the last picture or sound so far."""
        return max(self._sound.end_seconds, self.sampler.end_seconds)

    @property
    def speech(self) -> tuple[tuple[float, float], ...] | None:
        """The stretches of speech so far; None if nobody listens for it."""
        return None if self._speech is None else tuple(self._speech.stretches)

    def prepare(self, items: Iterable[VideoFrame | AudioChunk]) -> Iterator[VideoFrame | AudioChunk]:
        """Yields the items as they are, after doing with each picture what another thread than that of ``scan`` can."""
        try:
            for item in items:
                if isinstance(item, VideoFrame):
                    with self._stopwatch("detect"):
                        self.sampler.prepare(item)
                yield item
        finally:
            if hasattr(items, "close"):
                items.close()

    def scan(self, items: Iterable[VideoFrame | AudioChunk], *, progress: Progress | None = None):
        """Yields, in order of time, the windows of each stretch: one for each face, or one for the voice alone.

        Args:
            items: pictures and sound, each in order of time.
            progress: called with the seconds done.

        Yields:
            Lists of ``WindowInputs`` of the same start and end; nothing at all if there were no items.
        """
        n_done, said_seconds = 0, 0.0
        for item in items:
            self._take(item)
            while self._is_read(self._start(n_done)):
                yield self._cut(self._start(n_done))
                n_done += 1
                # The last window ends with the file, so it can begin up to a step before the next one would.
                self._forget_before(self._start(n_done - 1))
            if progress and self._start(n_done) - said_seconds > 0.5:
                said_seconds = self._start(n_done)
                progress(said_seconds)
        if self._speech is not None:
            self._speech.finish()
        if self.has_video or self.has_audio:
            yield from self._cut_rest(n_done)

    def _start(self, number: int) -> float:
        return self._first_start + number * self._step_seconds

    def _cut_rest(self, n_done: int) -> Iterator[list[WindowInputs]]:
        while self._start(n_done) + self.window_seconds <= self.duration_seconds + 1e-6:
            yield self._cut(self._start(n_done))
            n_done += 1
        last = max(self._first_start, self.duration_seconds - self.window_seconds)
        if n_done == 0 or count_steps(last - self._start(n_done - 1), self._step_seconds):
            yield self._cut(last)

    def _take(self, item: VideoFrame | AudioChunk) -> None:
        if isinstance(item, VideoFrame):
            self.has_video = True
            n_before = len(self.sampler.moments)
            with self._stopwatch("detect"):
                crops = self.sampler.add(item)
            for crop in crops:
                self._crops.setdefault(crop.face, {})[crop.moment] = crop.crop
            self._shown += self.sampler.moments[n_before:]
            return
        self.has_audio = True
        self._sound.add(item)
        if self._speech is not None:
            with self._stopwatch("listen"):
                self._speech.add(item)

    def _is_read(self, start: float) -> bool:
        """Whether all that a window can hold has been read.

        Its last frame is known once a frame of its last moment, or a later one, has come. A stream that lags far behind
        the other has ended.
        """
        end = start + self.window_seconds
        last_moment = self._preprocessor.first_moment(start) + self._n_moments - 1
        has_sound = not self._expects["audio"] or self._sound.end_seconds >= end + SPEECH_DELAY_SECONDS
        has_frames = not self._expects["video"] or self.sampler.moments[-1:] >= [last_moment]
        furthest = max(self._sound.end_seconds, self.sampler.last_frame_seconds)
        return (has_sound and has_frames and furthest >= end) or furthest >= end + MAX_LEAD_SECONDS

    @property
    def _n_moments(self) -> int:
        return max(1, round(self.window_seconds / self._config.frame_interval_seconds))

    def _cut(self, start: float) -> list[WindowInputs]:
        """Returns the windows of one stretch of time."""
        with self._stopwatch("features"):
            return self._windows(start)

    def _windows(self, start: float) -> list[WindowInputs]:
        config = self._config
        end = start + self.window_seconds
        n_samples = round(self.window_seconds * config.audio.sample_rate)
        samples = self._sound.cut(start, n_samples)
        audio = None
        if "audio" in config.modalities:
            # The model takes windows of one length; in a shorter one silence follows.
            audio = self._preprocessor.audio_input(np.pad(samples, (0, config.window_samples - n_samples)))
        has_voice = self._hears and bool(audio.any()) and self._is_spoken(start, end)
        faces, glimpsed = self._faces(start) if "video" in config.modalities else ({}, [])

        def window(face: int | None, video: np.ndarray | None, hears: bool) -> WindowInputs:
            seen = "frame" if face == WHOLE_FRAME else "face"
            evidence = "+".join([seen] * (video is not None) + ["voice"] * hears) or "none"
            inputs = {}
            if audio is not None:
                inputs["audio"] = audio if hears else np.zeros_like(audio)
            if "video" in config.modalities:
                inputs["video"] = np.zeros(config.video_shape, np.uint8) if video is None else video
            return WindowInputs(start, end, face, evidence, inputs)

        # Somebody who is not judged may be speaking, too.
        speaker = self._speaker(faces, start, samples) if has_voice and faces else None
        chosen = sorted(faces, key=lambda face: -self.sampler.face_area(face))[: self._max_faces]
        self.n_voices_passed_over += speaker is not None and speaker not in chosen
        windows = [window(face, faces[face], has_voice and face == speaker) for face in faces if face in chosen]
        if has_voice and speaker is None:
            windows.append(window(None, None, True))
        # A face in sight for a moment is no evidence, but it is there.
        windows += [WindowInputs(start, end, face, "none", {}) for face in glimpsed]
        return windows or [window(None, None, False)]

    def _faces(self, start: float) -> tuple[dict[int, np.ndarray], list[int]]:
        """The frames of each face that is in sight long enough, and the faces that are not."""
        for face in list(self._crops):
            known = self.sampler.resolve(face)
            if known != face:
                self._crops.setdefault(known, {}).update(self._crops.pop(face))
        moment = self._preprocessor.first_moment(start)
        window = range(moment, moment + self._n_moments)
        faces, glimpsed = {}, {}
        for face, crops in self._crops.items():
            video = self._preprocessor.video_input(crops, moment, self._shown, self._n_moments)
            if self.sampler.is_real(face):
                (faces if video.any() else glimpsed)[face] = video
        return faces, [face for face in glimpsed if any(moment in window for moment in self._crops[face])]

    def _is_spoken(self, start: float, end: float) -> bool:
        needed = min(MIN_SPEECH_SECONDS, MIN_SPEECH_SHARE * (end - start))
        return self._speech.speech_seconds(start, end) >= needed

    def _speaker(self, faces: dict[int, np.ndarray], start: float, samples: np.ndarray) -> int | None:
        """The face whose voice is heard; a picture that is judged as a whole is judged with its sound."""
        if WHOLE_FRAME in faces or self._speech is None:
            return next(iter(faces))
        with self._stopwatch("listen"):
            loudness = compute_loudness(samples, self._config.audio.sample_rate)
            moments = (np.arange(len(loudness)) + 0.5) / RATE_HZ
            is_speech = self._speech.find_speech(start, moments)
            mouths = {}
            for face in faces:
                measured = self.sampler.mouth(face, start, start + self.window_seconds)
                mouths[face] = watch_mouth(*measured, start, loudness, is_speech)
            before = None
            if self._spoke_before is not None and start < self._spoke_before[1] + self.window_seconds:
                before = self.sampler.resolve(self._spoke_before[0])
            speaker = find_speaker(mouths, before)
            self._spoke_before = None if speaker is None else (speaker, start)
            return speaker

    def _forget_before(self, time_seconds: float) -> None:
        self._sound.forget_before(time_seconds)
        self.sampler.forget_before(time_seconds)
        if self._speech is not None:
            self._speech.forget_before(time_seconds)
        first = self._preprocessor.first_moment(time_seconds)
        self._shown = [moment for moment in self._shown if moment >= first]
        for face in list(self._crops):
            self._crops[face] = {moment: crop for moment, crop in self._crops[face].items() if moment >= first}
            if not self._crops[face]:
                del self._crops[face]
