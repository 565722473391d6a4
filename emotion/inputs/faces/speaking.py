"""Active speaker detection: how mouths move, and whose mouth moves with the sound.

A speaker's mouth opens and closes with the loudness of the voice, up to a tenth of a second ahead of the sound
(Chandrasekaran et al. 2009, "The natural statistics of audiovisual speech"). So the motion of each face's mouth is
correlated with the sound, as Hershey & Movellan did (1999, "Audio vision: using audio-visual synchrony to locate
sounds").
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from emotion.inputs.faces.crops import crop_face
from emotion.media.pictures import VideoFrame

CROP_PIXELS = 64
# Rows and columns of the crop: brows, eyes and nose, which move with the head; the mouth; and where the lips meet.
HEAD_ROWS, HEAD_COLUMNS = (14, 40), (10, 54)
MOUTH_ROWS, MOUTH_COLUMNS = (42, 60), (18, 46)
LIPS_ROW = 50
# Frames further apart miss what the mouth did in between; closer ones add noise and take time. A face that nobody is to
# be told from needs fewer.
MAX_GAP_SECONDS = 0.15
MIN_GAP_SECONDS, MIN_GAP_ALONE_SECONDS = 0.025, 0.045


class MouthWatcher:
    """Measures from frame to frame how fast the mouths of the faces in sight open."""

    def __init__(self):
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setFinestScale(0)
        rows, columns = np.mgrid[:CROP_PIXELS, :CROP_PIXELS]
        self._places = np.stack([np.ones(rows.shape), columns, rows], axis=-1)
        # The least-squares fit of an affine motion is a matrix product; the matrix depends on the places alone.
        self._fit = np.linalg.pinv(self._head(self._places))
        self._before: tuple[float, np.ndarray, bool] | None = None  # time, luma, and whether it is decoded
        self._cut: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # by track: landmarks, and the last crop

    def add(self, frame: VideoFrame, landmarks: Mapping[int, np.ndarray]) -> dict[int, float]:
        """Takes the next frame and returns, by track, the speed at which each mouth opens (below 0: closes).

        The unit is crop sides a second. The result is empty if the frame comes too soon or too late after the last.

        Args:
            landmarks: by track, ``Face.landmarks`` found in this frame or shortly before.
        """
        before = self._before
        min_gap = MIN_GAP_SECONDS if len(landmarks) > 1 else MIN_GAP_ALONE_SECONDS
        if before is not None and frame.time_seconds - before[0] < min_gap:
            return {}
        self._before = (frame.time_seconds, frame.luma, frame.is_decoded)
        cut_before, self._cut = self._cut, {}
        if before is None or before[1].shape != frame.luma.shape or before[2] != frame.is_decoded:
            return {}
        seconds = frame.time_seconds - before[0]
        if seconds > MAX_GAP_SECONDS:
            return {}
        return {
            track: self._opening(before[1], frame.luma, track, points, cut_before) / (CROP_PIXELS * seconds)
            for track, points in landmarks.items()
        }

    def forget(self) -> None:
        """Forgets the last frame, because the next one belongs to another shot."""
        self._before = None

    def _opening(
        self,
        before: np.ndarray,
        now: np.ndarray,
        track: int,
        landmarks: np.ndarray,
        cut_before: Mapping[int, tuple[np.ndarray, np.ndarray]],
    ) -> float:
        """Returns how many crop pixels the lower half of the mouth moved away from the upper half."""
        known, first = cut_before.get(track, (None, None))
        # Faces are detected in only some frames; in between the landmarks, and so the last crop, stay the same.
        if known is not landmarks:
            first = crop_face(before, landmarks, CROP_PIXELS)
        second = crop_face(now, landmarks, CROP_PIXELS)
        self._cut[track] = (landmarks, second)
        flow = self._flow.calc(first, second, None)
        head_motion = self._fit @ self._head(flow)
        vertical = self._mouth(flow)[..., 1] - self._mouth(self._places) @ head_motion[:, 1]
        lips = LIPS_ROW - MOUTH_ROWS[0]
        return float(vertical[lips:].mean() - vertical[:lips].mean())

    @staticmethod
    def _head(grid: np.ndarray) -> np.ndarray:
        part = grid[slice(*HEAD_ROWS), slice(*HEAD_COLUMNS)]
        return part.reshape(-1, part.shape[-1])

    @staticmethod
    def _mouth(grid: np.ndarray) -> np.ndarray:
        return grid[slice(*MOUTH_ROWS), slice(*MOUTH_COLUMNS)]


# ---- Motion against sound ----

RATE_HZ = 50  # of the time grid on which sound and motion are compared
LAGS = range(-2, 8, 2)  # steps by which the sound may follow the motion: -40 to 120 ms
LOUDNESS_RANGE_DB = 40.0  # below the window's loudest moment; anything quieter counts as silence
# Standard deviations, in steps, of the smoothing of amounts and of changes.
SLOW, FAST = 4.0, 1.5
MIN_SEEN = 0.5  # share of the speech during which the mouth must be in sight
MIN_SPEECH_STEPS = RATE_HZ // 5
# Below this a mouth is still. Talking faces reached at least 0.06 in the windows that docs/lab_notebook.md describes.
MIN_ACTIVITY = 0.02
# A face alone in sight speaks unless its mouth ignores the sound; speakers reached at least 0.8. The only mouth that
# moves among several must follow the sound a little better.
MIN_SYNCHRONY_ALONE, MIN_SYNCHRONY_ONLY = 0.2, 0.35
# If several mouths move, the speaker's must reach the first, and lead every other by the second.
MIN_SYNCHRONY, MIN_LEAD = 0.5, 0.15
# Any mouth follows a syllable or two by chance. Several faces are compared over at least the first much speech, and a
# face that was in sight for less than the third of it over at least the second.
MIN_COMPARED_SECONDS, MIN_COMPARED_IN_PART, ALL_IN_SIGHT = 0.6, 1.0, 0.9


@dataclass(frozen=True)
class Mouth:
    """What a mouth did during a window's speech.

    Attributes:
        activity: mean speed of opening or closing, in crop sides a second.
        synchrony: the sum of two correlations, -2 to 2: amount of motion with loudness, and speed of opening with rise
            of loudness. Above 0.8 for most speakers, about 0.4 for others.
        seen_seconds: speech during which the mouth was in sight.
        seen_share: the same as a share of all speech.
    """

    activity: float
    synchrony: float
    seen_seconds: float = 3.0
    seen_share: float = 1.0

    @property
    def moves(self) -> bool:
        return self.activity >= MIN_ACTIVITY

    @property
    def is_comparable(self) -> bool:
        """Whether it was in sight for long enough to be compared with others."""
        needed = MIN_COMPARED_SECONDS if self.seen_share >= ALL_IN_SIGHT else MIN_COMPARED_IN_PART
        return self.seen_seconds >= needed


def compute_loudness(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Returns the level in dB ``(n_steps,)`` of mono samples ``(n_samples,)``, ``RATE_HZ`` times a second."""
    n_steps = int(len(samples) * RATE_HZ / sample_rate)
    edges = np.arange(n_steps + 1) * sample_rate // RATE_HZ
    power = np.add.reduceat(np.square(samples, dtype=np.float64), edges[:-1]) if n_steps else np.zeros(0)
    return 10 * np.log10(power * RATE_HZ / sample_rate + 1e-10)


def watch_mouth(
    times_seconds: Sequence[float],
    speeds: Sequence[float],
    start_seconds: float,
    loudness_db: np.ndarray,
    is_speech: np.ndarray,
) -> Mouth | None:
    """Compares a mouth's motion with the sound of a window.

    A mouth that was out of sight during most of the speech counts as still. None if it could not be measured, because
    the frames are too far apart or there is hardly any speech.

    Args:
        times_seconds, speeds: rising times, and what ``MouthWatcher`` measured at each.
        loudness_db: ``(n_steps,)`` from ``compute_loudness``.
        is_speech: ``(n_steps,)`` bool.
    """
    grid = start_seconds + (np.arange(len(loudness_db)) + 0.5) / RATE_HZ
    times = np.asarray(times_seconds, dtype=np.float64)
    if is_speech.sum() < MIN_SPEECH_STEPS or len(times) < 2:
        return None
    after = np.clip(np.searchsorted(times, grid), 1, len(times) - 1)
    distance = np.minimum(np.abs(grid - times[after - 1]), np.abs(grid - times[after]))
    is_seen = distance <= 2 * max(1 / RATE_HZ, float(np.median(np.diff(times))))
    if is_seen[is_speech].mean() < MIN_SEEN:
        return Mouth(activity=0.0, synchrony=0.0)
    speed = np.interp(grid, times, np.asarray(speeds, dtype=np.float64))
    loudness = np.maximum(loudness_db, loudness_db.max() - LOUDNESS_RANGE_DB)
    amount = _correlation(_smooth(np.abs(speed), SLOW), _smooth(loudness, SLOW), is_seen)
    rise = np.gradient(_smooth(loudness, FAST))
    change = _correlation(_smooth(speed, FAST), rise, is_seen)
    watched = is_speech & is_seen
    return Mouth(
        activity=float(np.abs(speed[watched]).mean()),
        synchrony=amount + change,
        seen_seconds=float(watched.sum() / RATE_HZ),
        seen_share=float(watched.sum() / is_speech.sum()),
    )


def find_speaker(mouths: Mapping[int, Mouth | None], before: int | None = None) -> int | None:
    """Returns the track of the face that speaks; None if it is nobody in sight, or unclear who.

    A face alone in sight speaks unless its mouth is still or ignores the sound; if it could not be measured, it speaks,
    too. Among several, the speaker's mouth must follow the sound clearly better than every other that moves. Less is
    asked of the only mouth that moves, and of the face that spoke just before.

    Args:
        mouths: by track, of the faces in sight; None for one that could not be measured.
        before: the speaker in the window before, which overlaps this one.
    """
    if len(mouths) == 1:
        ((track, mouth),) = mouths.items()
        return track if mouth is None or (mouth.moves and mouth.synchrony >= MIN_SYNCHRONY_ALONE) else None
    moving = {track: mouth for track, mouth in mouths.items() if mouth is not None and mouth.moves}
    if not moving:
        return None
    best, *others = sorted(moving, key=lambda track: moving[track].synchrony, reverse=True)
    needed = MIN_SYNCHRONY if others else MIN_SYNCHRONY_ONLY
    lead = moving[best].synchrony - moving[others[0]].synchrony if others else math.inf
    if moving[best].is_comparable and moving[best].synchrony >= needed and lead >= MIN_LEAD:
        return best
    return before if best == before and moving[best].synchrony >= 0 else None


def _smooth(values: np.ndarray, deviation: float) -> np.ndarray:
    """Smooths values over time by a Gaussian that is cut off after four standard deviations."""
    size = 2 * int(4 * deviation + 0.5) + 1
    return cv2.GaussianBlur(values[None], (size, 1), deviation, borderType=cv2.BORDER_REFLECT)[0]


def _correlation(motion: np.ndarray, sound: np.ndarray, is_seen: np.ndarray) -> float:
    """Returns the highest correlation of a motion with the sound after any of ``LAGS``; 0 if either is constant."""
    found = []
    for lag in LAGS:
        n_steps = len(motion) - abs(lag)
        early, late = slice(max(0, -lag), max(0, -lag) + n_steps), slice(max(0, lag), max(0, lag) + n_steps)
        seen = is_seen[early]
        first, second = motion[early][seen], sound[late][seen]
        if len(first) >= MIN_SPEECH_STEPS and first.std() > 1e-9 and second.std() > 1e-9:
            found.append(float(np.corrcoef(first, second)[0, 1]))
    return max(found, default=0.0)
