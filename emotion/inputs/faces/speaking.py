"""Who is speaking: whose mouth moves with the sound.

While somebody speaks, the mouth opens and closes with the loudness of the voice, its motion leading the sound by up to
a tenth of a second (Chandrasekaran et al. 2009, "The natural statistics of audiovisual speech"). So for each face the
mouth's motion is correlated with the sound, in the manner of Hershey & Movellan (1999, "Audio vision: using
audio-visual synchrony to locate sounds"). All here is arithmetic on one window.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from emotion.inputs.faces.crops import crop_face
from emotion.media.pictures import VideoFrame

# ---- How mouths move: what tells who of several people is speaking ----

CROP_PIXELS = 64
# Rows and columns of the crop: brows, eyes and nose, which move with the head; the mouth, and where its lips meet.
HEAD_ROWS, HEAD_COLUMNS = (14, 40), (10, 54)
MOUTH_ROWS, MOUTH_COLUMNS = (42, 60), (18, 46)
LIPS_ROW = 50
# Two pictures further apart do not tell what the mouth did in between; closer ones bring noise and cost time.
MAX_GAP_SECONDS = 0.15
MIN_GAP_SECONDS = 0.025


class MouthWatcher:
    """Measures, from picture to picture, how fast the mouths of the faces in sight open."""

    def __init__(self):
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setFinestScale(0)
        rows, columns = np.mgrid[:CROP_PIXELS, :CROP_PIXELS]
        self._places = np.stack([np.ones(rows.shape), columns, rows], axis=-1)
        # Least squares for an affine motion is a product with a matrix that depends on the places alone.
        self._fit = np.linalg.pinv(self._head(self._places))
        self._before: tuple[float, np.ndarray, bool] | None = None  # when, its brightness, and of which range
        self._cut: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # by face: landmarks, and the crop last cut by them

    def add(self, frame: VideoFrame, landmarks: Mapping[int, np.ndarray]) -> dict[int, float]:
        """Takes the next picture.

        Args:
            frame: later than the one before.
            landmarks: ``(5, 2)`` as in ``Face.landmarks`` of each face in sight, found in this picture or shortly
                before.

        Returns:
            For each face the speed at which its mouth opens (below 0: closes), in sides of a face's crop a second;
            nothing for a picture that comes too early or too late after the one before.
        """
        before = self._before
        if before is not None and frame.time_seconds - before[0] < MIN_GAP_SECONDS:
            return {}
        self._before = (frame.time_seconds, frame.luma, frame.is_decoded)
        cut_before, self._cut = self._cut, {}
        if before is None or before[1].shape != frame.luma.shape or before[2] != frame.is_decoded:
            return {}
        seconds = frame.time_seconds - before[0]
        if seconds > MAX_GAP_SECONDS:
            return {}
        return {
            face: self._opening(before[1], frame.luma, face, points, cut_before) / (CROP_PIXELS * seconds)
            for face, points in landmarks.items()
        }

    def forget(self) -> None:
        """Forgets the picture before, because the next one is of another shot."""
        self._before = None

    def _opening(
        self,
        before: np.ndarray,
        now: np.ndarray,
        face: int,
        landmarks: np.ndarray,
        cut_before: Mapping[int, tuple[np.ndarray, np.ndarray]],
    ) -> float:
        """How many pixels of the crop the lower half of the mouth moved away from the upper half."""
        known, first = cut_before.get(face, (None, None))
        # Faces are looked for in every second picture or so: between, a picture is cut alike twice.
        if known is not landmarks:
            first = crop_face(before, landmarks, CROP_PIXELS)
        second = crop_face(now, landmarks, CROP_PIXELS)
        self._cut[face] = (landmarks, second)
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


RATE_HZ = 50  # of the grid on which sound and motion are compared
LAGS = range(-2, 8, 2)  # steps of the grid by which the sound may follow the motion: -40 to 120 ms
LOUDNESS_RANGE_DB = 40.0  # below the window's loudest moment; what is quieter counts as silence
# Deviations, in steps, of the smoothing: of how much is going on, and of how fast it changes.
SLOW, FAST = 4.0, 1.5
MIN_SEEN = 0.5  # share of the speech during which the mouth must have been watched
MIN_SPEECH_STEPS = RATE_HZ // 5
# Below this a mouth is still. Talking faces came to 0.06 and more in the windows that docs/inference.md speaks of.
MIN_ACTIVITY = 0.02
# A face alone in sight is heard unless its mouth does not follow the sound at all: speakers came to 0.8 and more. The
# only mouth of several that moves must follow it a little better.
MIN_SYNCHRONY_ALONE, MIN_SYNCHRONY_ONLY = 0.2, 0.35
# Among several that move the speaker's must be in step with the sound by this, and by this more than any other's.
MIN_SYNCHRONY, MIN_LEAD = 0.5, 0.15
# Chance makes any mouth follow a syllable or two. Several faces are compared over this much speech at least, and one
# that was out of sight for more than a tenth of the speech over this much.
MIN_COMPARED_SECONDS, MIN_COMPARED_IN_PART, ALL_IN_SIGHT = 0.6, 1.0, 0.9


@dataclass(frozen=True)
class Mouth:
    """What a mouth did while the window's speech was heard.

    Attributes:
        activity: mean speed at which it opened or closed during the speech, in sides of a face's crop a second.
        synchrony: two correlations added up, -2 to 2: of the amount of motion with the loudness, and of the opening's
            speed with the rise of the loudness. Above 0.8 for most speakers, about 0.4 for others.
        seen_seconds: speech during which it was watched.
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
        """Whether it was watched for long enough to be held against others."""
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

    Args:
        times_seconds, speeds: when the mouth was measured, rising, and what ``MouthWatcher`` found.
        start_seconds: of the window.
        loudness_db: ``(n_steps,)`` from ``compute_loudness`` of the window's sound.
        is_speech: ``(n_steps,)`` bool.

    Returns:
        A still mouth where it was out of sight during most of the speech: who speaks was somebody else. None where it
        could not be measured, because the pictures are too far apart, or hardly anything was spoken.
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
    amount = _correlation(gaussian_filter1d(np.abs(speed), SLOW), gaussian_filter1d(loudness, SLOW), is_seen)
    rise = np.gradient(gaussian_filter1d(loudness, FAST))
    change = _correlation(gaussian_filter1d(speed, FAST), rise, is_seen)
    watched = is_speech & is_seen
    return Mouth(
        activity=float(np.abs(speed[watched]).mean()),
        synchrony=amount + change,
        seen_seconds=float(watched.sum() / RATE_HZ),
        seen_share=float(watched.sum() / is_speech.sum()),
    )


def find_speaker(mouths: Mapping[int, Mouth | None], before: int | None = None) -> int | None:
    """Chooses the face whose voice is heard.

    A face alone in sight is taken to be speaking unless its mouth keeps still or moves without any regard to the sound;
    so is one whose mouth was not measured, because the pictures are too far apart. Among several the speaker's mouth
    must follow the sound clearly better than every other that moves; the only one that moves, and the one that spoke
    just before, need less.

    Args:
        mouths: of the faces in sight, None where it could not be compared with the sound.
        before: who spoke in the window before this one, which it overlaps.

    Returns:
        The face's key; None where nobody in sight is known to be speaking.
    """
    if len(mouths) == 1:
        (face, mouth), *_ = mouths.items()
        return face if mouth is None or (mouth.moves and mouth.synchrony >= MIN_SYNCHRONY_ALONE) else None
    moving = {face: mouth for face, mouth in mouths.items() if mouth is not None and mouth.moves}
    if not moving:
        return None
    best, *others = sorted(moving, key=lambda face: moving[face].synchrony, reverse=True)
    needed = MIN_SYNCHRONY if others else MIN_SYNCHRONY_ONLY
    lead = moving[best].synchrony - moving[others[0]].synchrony if others else math.inf
    if moving[best].is_comparable and moving[best].synchrony >= needed and lead >= MIN_LEAD:
        return best
    return before if best == before and moving[best].synchrony >= 0 else None


def _correlation(motion: np.ndarray, sound: np.ndarray, is_seen: np.ndarray) -> float:
    """The highest correlation of a motion with a sound that follows it by one of ``LAGS``; 0 where either is even."""
    found = []
    for lag in LAGS:
        n_steps = len(motion) - abs(lag)
        early, late = slice(max(0, -lag), max(0, -lag) + n_steps), slice(max(0, lag), max(0, lag) + n_steps)
        seen = is_seen[early]
        first, second = motion[early][seen], sound[late][seen]
        if len(first) >= MIN_SPEECH_STEPS and first.std() > 1e-9 and second.std() > 1e-9:
            found.append(float(np.corrcoef(first, second)[0, 1]))
    return max(found, default=0.0)
