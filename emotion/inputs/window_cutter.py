"""Cuts the windows that evaluation and inference judge, from a file, a labelled clip or a camera.

``WindowCutter`` takes frames and sound as they come, in flat memory. Its rules:

- **Sound** is evidence where somebody speaks in it. Silence, noise and music are none.
- **A face** is evidence where it is in sight for ``video.min_sight`` of the window.
- **A voice belongs** to the face whose mouth moves with it. If there is none, it is judged by itself.
- **Without sound**, and where nobody speaks in a file of up to a minute, faces are judged in windows of
  ``window.face_window_seconds``.

``emotion.inputs.clip_windows`` cuts decoded clips for training. It shares the face crops, the speech detector, the
features and the first two rules. Its windows always last ``window.window_seconds``, and the clip's voice goes with its
main face.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emotion.config import RunConfig
from emotion.inputs.faces.detectors import FaceDetector, build_detector
from emotion.inputs.faces.speaking import RATE_HZ, compute_loudness, find_speaker, watch_mouth
from emotion.inputs.frame_sampler import WHOLE_FRAME, FrameSampler
from emotion.inputs.preprocessing import Preprocessor, SoundBuffer
from emotion.inputs.voice.speech import BLOCK_SECONDS, MIN_SPEECH_SECONDS, SpeechDetector, holds_enough_speech
from emotion.media.pictures import VideoFrame
from emotion.media.reading import AudioChunk
from emotion.media.recordings import Recording
from emotion.parallel import Stopwatch
from emotion.settings import MIN_WINDOW_SECONDS, InferenceSettings
from emotion.windows import count_steps

# A stream that lags this far behind the other has ended. Decoders with many threads hold back a dozen pictures, a dozen
# seconds of a slide show; some files lay out their streams far apart.
MAX_LEAD_SECONDS = 60.0
# A file up to this long is held until somebody speaks or it ends, since then the length of its windows is known.
MAX_SILENCE_SECONDS = 60.0
# It takes this long after a sound until it is known whether it was speech.
SPEECH_DELAY_SECONDS = 0.1


@dataclass(frozen=True)
class TrackStretch:
    """What is seen of a face in a window, and shortly before and after it.

    Attributes:
        first_moment, n_moments: the window, on the grid.
        crops: ``(image_size, image_size, 3)`` uint8 by moment; those in the window and around it.
        n_known: moments after the window for which pictures have come.
    """

    first_moment: int
    n_moments: int
    crops: Mapping[int, np.ndarray]
    n_known: int


@dataclass(frozen=True)
class WindowInputs:
    """One window as a model takes it.

    Attributes:
        start_seconds, end_seconds: the window.
        track: the face's, ``WHOLE_FRAME`` for whole frames, None for the voice alone.
        evidence: ``face+voice``, ``face``, ``voice`` or ``none``; ``frame`` instead of ``face`` for whole frames.
        inputs: by the names of the model's inputs, without the batch axis.
        stretch: instead of ``video`` in the inputs, for a model that runs along tracks; None without a face.
    """

    start_seconds: float
    end_seconds: float
    track: int | None
    evidence: str
    inputs: dict[str, np.ndarray]
    stretch: TrackStretch | None = None


class WindowCutter:
    """Takes pictures and sound as they come and holds no more of them than one window and what it overlaps.

    Args:
        has_video, has_audio: whether pictures and sound are to come.
        duration_seconds: of the file, as far as known; short files are held until somebody speaks.
        first_start_seconds: of the first window. Below 0 for a camera, whose first windows hold only what has come.
        context_frames: of a model that runs along tracks, ``Run.context_frames``. It gets ``TrackStretch``es.
        awaits_context: whether to wait for the frames after a window; a camera does not.
        detector: of faces; by default the one that the settings name.
        stopwatch: measures finding faces, mouths and speech.

    Attributes:
        window_seconds: the length of the windows cut.
        n_voices_passed_over: windows whose voice belongs to a face that is not judged, since ``max_faces`` others fill
            more of the picture.
    """

    def __init__(
        self,
        config: RunConfig,
        settings: InferenceSettings | None = None,
        *,
        has_video: bool = True,
        has_audio: bool = True,
        duration_seconds: float | None = None,
        first_start_seconds: float = 0.0,
        context_frames: int | None = None,
        awaits_context: bool = True,
        detector: FaceDetector | None = None,
        stopwatch: Stopwatch | None = None,
    ):
        settings = settings or InferenceSettings()
        self._config = config
        self._max_faces = settings.max_faces
        self._step_seconds = settings.step_seconds or config.window.step_seconds
        self._first_start = first_start_seconds
        self._runs_along_tracks = context_frames is not None
        self._context_frames = context_frames or 0
        self._n_awaited = self._context_frames if awaits_context else 0
        self._stopwatch = stopwatch or Stopwatch()
        self._preprocessor = Preprocessor(config)
        self._hears = has_audio and "audio" in config.modalities
        self._expects = {"video": has_video, "audio": has_audio}
        self.window_seconds = min(settings.window_seconds or config.window.window_seconds, config.window.window_seconds)
        self._face_window_seconds = self.window_seconds
        if has_video and config.looks_for_faces and settings.window_seconds is None and config.window.face_share < 1:
            self._face_window_seconds = max(config.window.face_window_seconds, MIN_WINDOW_SECONDS)
        self._waits_for_speech = False
        if self._face_window_seconds != self.window_seconds:
            self._waits_for_speech = duration_seconds is not None and duration_seconds <= MAX_SILENCE_SECONDS
            if not self._hears:
                self._judge_faces_alone()
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
        """Where somebody spoke so far, as starts and ends in seconds; None where nobody listens."""
        if self._speech is None:
            return None
        return tuple(self._speech.stretches) if self._hears else ()

    def prepare(self, items: Iterable[VideoFrame | AudioChunk]) -> Iterator[VideoFrame | AudioChunk]:
        """Yields the items unchanged, after what can be done with each picture alone, in a thread ahead of ``cut``."""
        try:
            for item in items:
                if isinstance(item, VideoFrame):
                    with self._stopwatch("detect"):
                        self.sampler.prepare(item)
                yield item
        finally:
            if hasattr(items, "close"):
                items.close()

    def cut(self, items: Iterable[VideoFrame | AudioChunk]) -> Iterator[list[WindowInputs]]:
        """Yields, in order of time, the windows that begin together: one for each face, or one for the voice alone.

        ``items`` are pictures and sound, each in order of time. Without any, there are no windows.
        """
        n_done = 0
        for item in items:
            self._take(item)
            while not self._is_waiting() and self._is_read(self._start(n_done)):
                yield self._cut(self._start(n_done))
                n_done += 1
                # The last window ends with the file, so it can begin up to a step before the next one would.
                self._forget_before(self._start(n_done - 1))
        if self._speech is not None:
            self._speech.finish()
            if self._waits_for_speech and not self._heard_a_voice(self._speech.total_seconds):
                self._judge_faces_alone()
        if self.has_video or self.has_audio:
            yield from self._cut_rest(n_done)

    def _is_waiting(self) -> bool:
        """Whether to hold a short file back: the length of its windows depends on whether anybody speaks in it."""
        if self._waits_for_speech and self._heard_a_voice(self._speech.judged_seconds):
            self._waits_for_speech = False
        if self._waits_for_speech and self.duration_seconds > MAX_SILENCE_SECONDS + MAX_LEAD_SECONDS:
            self._waits_for_speech = False  # longer than its header says
        return self._waits_for_speech

    def _heard_a_voice(self, speech_seconds: float) -> bool:
        # A window counts in blocks of its own, so it may hold one block more than was counted here.
        return speech_seconds >= MIN_SPEECH_SECONDS - BLOCK_SECONDS

    def _judge_faces_alone(self) -> None:
        self._waits_for_speech = self._hears = False
        self.window_seconds = self._face_window_seconds

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
                self._crops.setdefault(crop.track, {})[crop.moment] = crop.crop
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
        last_moment = self._preprocessor.first_moment(start) + self._n_moments - 1 + self._n_awaited
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
        faces, glimpsed = self._faces(start) if "video" in config.modalities else ([], [])

        def window(track: int | None, hears: bool) -> WindowInputs:
            kind = "frame" if track == WHOLE_FRAME else "face"
            evidence = "+".join([kind] * (track is not None) + ["voice"] * hears) or "none"
            inputs = {}
            if audio is not None:
                inputs["audio"] = audio if hears else np.zeros_like(audio)
            if "video" not in config.modalities:
                return WindowInputs(start, end, track, evidence, inputs)
            if self._runs_along_tracks:
                stretch = None if track is None else self._stretch(track, start)
                return WindowInputs(start, end, track, evidence, inputs, stretch)
            inputs["video"] = np.zeros(config.video_shape, np.uint8) if track is None else self._video(track, start)
            return WindowInputs(start, end, track, evidence, inputs)

        # The speaker may be a face that is not judged.
        speaker = self._speaker(faces, start, samples) if has_voice and faces else None
        chosen = sorted(faces, key=lambda track: -self.sampler.face_area(track))[: self._max_faces]
        self.n_voices_passed_over += speaker is not None and speaker not in chosen
        windows = [window(track, has_voice and track == speaker) for track in faces if track in chosen]
        if has_voice and speaker is None:
            windows.append(window(None, True))
        # A face in sight for a moment is too little evidence, but it is there.
        windows += [WindowInputs(start, end, track, "none", {}) for track in glimpsed]
        return windows or [window(None, False)]

    def _faces(self, start: float) -> tuple[list[int], list[int]]:
        """The tracks of the faces that are in sight long enough in a window, and of those that are not."""
        for track in list(self._crops):
            known = self.sampler.resolve(track)
            if known != track:
                self._crops.setdefault(known, {}).update(self._crops.pop(track))
        moment = self._preprocessor.first_moment(start)
        window = range(moment, moment + self._n_moments)
        seen, glimpsed = [], []
        for track, crops in self._crops.items():
            if not self.sampler.is_real(track) or not any(moment in window for moment in crops):
                continue
            is_seen = self._preprocessor.is_in_sight(crops, moment, self._shown, self._n_moments)
            (seen if is_seen else glimpsed).append(track)
        return seen, glimpsed

    def _video(self, track: int, start: float) -> np.ndarray:
        first = self._preprocessor.first_moment(start)
        return self._preprocessor.video_input(self._crops[track], first, self._shown, self._n_moments)

    def _stretch(self, track: int, start: float) -> TrackStretch:
        first = self._preprocessor.first_moment(start)
        around = range(first - self._context_frames, first + self._n_moments + self._context_frames)
        crops = {moment: crop for moment, crop in self._crops[track].items() if moment in around}
        n_known = self.sampler.moments[-1] - (first + self._n_moments - 1)
        return TrackStretch(first, self._n_moments, crops, max(0, n_known))

    def _is_spoken(self, start: float, end: float) -> bool:
        return holds_enough_speech(self._speech.speech_seconds(start, end), end - start)

    def _speaker(self, faces: list[int], start: float, samples: np.ndarray) -> int | None:
        """The face whose voice is heard; a picture that is judged as a whole is judged with its sound."""
        if WHOLE_FRAME in faces or self._speech is None:
            return faces[0]
        with self._stopwatch("listen"):
            loudness = compute_loudness(samples, self._config.audio.sample_rate)
            moments = (np.arange(len(loudness)) + 0.5) / RATE_HZ
            is_speech = self._speech.find_speech(start, moments)
            mouths = {}
            for track in faces:
                measured = self.sampler.mouth(track, start, start + self.window_seconds)
                mouths[track] = watch_mouth(*measured, start, loudness, is_speech)
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
        first = self._preprocessor.first_moment(time_seconds) - self._context_frames
        self._shown = [moment for moment in self._shown if moment >= first]
        for track in list(self._crops):
            self._crops[track] = {moment: crop for moment, crop in self._crops[track].items() if moment >= first}
            if not self._crops[track]:
                del self._crops[track]


def cut_recordings(recordings: Sequence[Recording], config: RunConfig) -> Iterator[dict[str, np.ndarray]]:
    """Yields the model's inputs, by name, for each window of some recordings that holds any evidence.

    Raises:
        MediaError: if a recording cannot be read. The headers of all are read before the first is cut.
    """
    for recording, info in [(recording, recording.probe()) for recording in recordings]:
        cutter = WindowCutter(
            config, has_video=info.has_video, has_audio=info.has_audio, duration_seconds=info.duration_seconds
        )
        for windows in cutter.cut(recording.read(config.audio.sample_rate)):
            yield from (window.inputs for window in windows if window.evidence != "none")
