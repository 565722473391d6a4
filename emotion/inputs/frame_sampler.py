"""Finds and follows faces from frame to frame, and cuts their crops at moments on a regular grid."""

from array import array
from dataclasses import dataclass

import numpy as np

from emotion.config import RunConfig
from emotion.inputs.faces.appearance import Appearance, Shot
from emotion.inputs.faces.crops import crop_face, crop_frame
from emotion.inputs.faces.detection import YuNetDetector, find_overlap
from emotion.inputs.faces.detectors import FaceDetector
from emotion.inputs.faces.frugal import FrugalDetector
from emotion.inputs.faces.speaking import MouthWatcher
from emotion.inputs.faces.tracking import MAX_LOST_SECONDS, FaceTracker
from emotion.media.pictures import VideoFrame
from emotion.results import FaceTrack

# Between two looks for faces that do not seem to move, at most.
MAX_UNSEEN_SECONDS = 0.15
# A picture shown for longer than the first is held, up to so long before the next one.
MAX_SHOWN_SECONDS, HELD_BEFORE_SECONDS = 0.5, 0.01
# The track of whole frames, where faces are not cut out.
WHOLE_FRAME = 0


@dataclass(frozen=True)
class FrameCrop:
    """What one person's face looked like at one moment of the grid.

    Attributes:
        moment: index on the grid; the moment's time is ``moment * frame_interval_seconds``.
        track: the number under which the face is followed, or ``WHOLE_FRAME``.
        crop: ``(image_size, image_size, 3)`` RGB uint8.
    """

    moment: int
    track: int
    crop: np.ndarray


class FrameSampler:
    """Frames in, in order of time; crops on the grid out.

    Args:
        detector: of faces; YuNet if none is given.
        min_face: pixels; smaller faces are passed over.
        watches_mouths: whether to measure in every frame how the mouths move.

    Attributes:
        moments: the moments of the grid for which there were frames.
        frame_times_seconds: when each frame began.
        last_frame_seconds, end_seconds: when the last frame begins and ends.
        mouths: by track, ``(seconds, speed)`` of the mouth as ``MouthWatcher`` measures it.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        detector: FaceDetector | None = None,
        min_face: int = 0,
        watches_mouths: bool = False,
    ):
        self._config = config
        self._takes_video = "video" in config.modalities
        self._detector = FrugalDetector(detector or YuNetDetector()) if config.looks_for_faces else None
        self._min_face = min_face
        self._tracker = FaceTracker()
        self._small_faces = FaceTracker()
        self._watcher = MouthWatcher() if watches_mouths and config.looks_for_faces else None
        self._landmarks: dict[int, np.ndarray] = {}
        self._shot: Shot | None = None
        self._prepared: dict[VideoFrame, Shot] = {}
        self._last_prepared = -1
        self._last_moment = -1
        self._last_look_seconds = -MAX_UNSEEN_SECONDS
        self.last_frame_seconds = 0.0
        self.end_seconds = 0.0
        self.moments: list[int] = []
        self.frame_times_seconds = array("d")
        self.mouths: dict[int, list[tuple[float, float]]] = {}

    def prepare(self, frame: VideoFrame) -> None:
        """Does ahead of ``add``, maybe in another thread, what follows from a frame alone.

        Args:
            frame: that will be added; frames may be prepared, in order of time, before those before them are added.
        """
        if self._detector is None:
            return
        self._prepared[frame] = Shot(frame)
        moment = self._moment_at(frame.time_seconds)
        if moment > self._last_prepared:
            self._last_prepared = moment
            _ = frame.image  # is made once, and kept

    def add(self, frame: VideoFrame) -> list[FrameCrop]:
        """Takes the next frame and returns the crops it gives, none for most frames.

        A moment of the grid is shown by the first frame at or after it.
        """
        n_cuts = self._tracker.n_cuts
        crops = self._sample(frame)
        if self._watcher is not None:
            if self._tracker.n_cuts > n_cuts:
                self._watcher.forget()
            for track, speed in self._watcher.add(frame, self._landmarks).items():
                self.mouths.setdefault(track, []).append((frame.time_seconds, speed))
        return crops

    def _sample(self, frame: VideoFrame) -> list[FrameCrop]:
        before_seconds, self.last_frame_seconds = self.last_frame_seconds, frame.time_seconds
        self.frame_times_seconds.append(frame.time_seconds)
        self.end_seconds = frame.time_seconds + frame.duration_seconds
        if self._detector is not None and self.moments and frame.time_seconds - before_seconds > MAX_SHOWN_SECONDS:
            self._tracker.hold(frame.time_seconds - HELD_BEFORE_SECONDS)
        moment = self._moment_at(frame.time_seconds)
        is_moment = moment > self._last_moment
        is_cut = self._notice_cut(frame)
        is_moving = self._is_moving(frame)
        is_late = frame.time_seconds - self._last_look_seconds > MAX_UNSEEN_SECONDS - 1e-6
        if not (is_moment or is_cut or is_moving or is_late):
            return []
        self._last_look_seconds = frame.time_seconds
        if is_moving and not is_cut:
            self._tracker.hold(before_seconds)
        if is_moment:
            self._last_moment = moment
            self.moments.append(moment)
        if not self._takes_video:
            return []
        size, kind = self._config.video.image_size, self._config.video.crop
        if self._detector is None:
            return [FrameCrop(moment, WHOLE_FRAME, crop_frame(frame.image, size))] if is_moment else []
        found = self._detector.detect(frame.image, frame.time_seconds, self._shot.thumb)
        faces = [face for face in found if min(face.size) >= self._min_face]
        self._small_faces.update(frame.time_seconds, [face for face in found if face not in faces])
        image = None if self._detector.knows_looks else frame.image
        tracks = self._tracker.update(frame.time_seconds, faces, image)
        self._landmarks = {track: face.landmarks for track, face in zip(tracks, faces, strict=True)}
        if not is_moment:
            return []
        return [
            FrameCrop(moment, track, crop_face(frame.image, face.landmarks, size, kind))
            for track, face in zip(tracks, faces, strict=True)
        ]

    def mouth(self, track: int, start_seconds: float, end_seconds: float) -> tuple[list[float], list[float]]:
        """When a mouth was measured between two times, and how fast it opened then."""
        measured = sorted(pair for each, pairs in self.mouths.items() if self.resolve(each) == track for pair in pairs)
        inside = [(time, speed) for time, speed in measured if start_seconds <= time <= end_seconds]
        return [time for time, _ in inside], [speed for _, speed in inside]

    def face_area(self, track: int) -> int:
        """Pixels of all of a face's boxes so far; 0 for whole frames."""
        return 0 if track == WHOLE_FRAME else self._tracker.area(track)

    def quarters(self, track: int) -> int:
        """How a face mostly lies in the picture, as ``Face.quarters``; 0 for whole frames."""
        return 0 if track == WHOLE_FRAME else self._tracker.quarters(track)

    def views(self, track: int) -> tuple[Appearance, ...]:
        """How a face looked; nothing for whole frames."""
        return () if track == WHOLE_FRAME else self._tracker.views(track)

    def _moment_at(self, time_seconds: float) -> int:
        """The last moment of the grid up to a time."""
        # A hair's breadth of tolerance, since timestamps are sums of fractions that floats cannot hold.
        return int(np.floor(time_seconds / self._config.frame_interval_seconds + 1e-6))

    def _is_moving(self, frame: VideoFrame) -> bool:
        """Whether a face has moved since the last look; then it is looked at again, so that a drawn box follows it."""
        if self._detector is None or not self._takes_video:
            return False
        return self._detector.have_moved(self._shot.thumb, (frame.height, frame.width))

    def _notice_cut(self, frame: VideoFrame) -> bool:
        """Whether a new shot begins with a frame. Faces are looked for then, so that no box outlasts its face."""
        if self._detector is None:
            return False
        before, self._shot = self._shot, self._prepared.pop(frame, None) or Shot(frame)
        if before is None or not self._shot.is_other(before):
            return False
        self._detector.forget()
        self._tracker.cut(frame.time_seconds)
        self._small_faces.cut(frame.time_seconds)
        return True

    def forget_before(self, time_seconds: float) -> None:
        """Frees what was measured before a time."""
        kept = {track: [pair for pair in pairs if pair[0] >= time_seconds] for track, pairs in self.mouths.items()}
        self.mouths = {track: pairs for track, pairs in kept.items() if pairs}

    def tracks(self, since_seconds: float | None = None) -> dict[int, FaceTrack]:
        """The faces followed so far, or since a time, by the track their crops carry; empty for whole frames."""
        return self._tracker.tracks(since_seconds, self.end_seconds)

    def faces_passed_over(self, since_seconds: float | None = None) -> list[FaceTrack]:
        """Faces that are not judged: too small, or seen too few times to be sure that they are faces."""
        small = self._small_faces.tracks(since_seconds).values()
        doubtful = [*self._small_faces.doubtful_tracks(since_seconds), *self._tracker.doubtful_tracks(since_seconds)]
        return [*small, *doubtful]

    def count_small_faces(self) -> int:
        """How many faces were passed over because they are small, and never large enough nearby."""
        known = self._tracker.tracks().values()
        return sum(not any(_continue(small, face) for face in known) for small in self._small_faces.tracks().values())

    def resolve(self, track: int) -> int:
        """The track that a face is followed under now: a new one may turn out to be a face seen before."""
        return track if track == WHOLE_FRAME else self._tracker.resolve(track)

    def is_real(self, track: int) -> bool:
        """Whether a track is certainly not a false alarm; whole frames never are."""
        return track == WHOLE_FRAME or self._tracker.is_real(track)


def _continue(small: FaceTrack, face: FaceTrack) -> bool:
    """Whether a track lies where another begins or ends: one face, as it came nearer or went."""
    moments = (small.times_seconds[0], small.times_seconds[-1])
    places = zip(moments, (small.boxes[0], small.boxes[-1]), strict=True)
    return any(
        (box := face.box_at(time, 4 * MAX_LOST_SECONDS)) is not None and find_overlap(box, place) > 0
        for time, place in places
    )
