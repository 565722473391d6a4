"""Listeners' votes: how many people heard which emotion in a clip, as text in its details and as soft targets.

They stand in a clip's ``votes``, such as ``angry=6 disgust=2``, and so in a column of a manifest.
"""

from collections.abc import Mapping

import numpy as np

from emotion.datasets.clips import Clip
from emotion.errors import DatasetError
from emotion.labels import class_index


def write_votes(votes: Mapping[str, int]) -> str:
    """Returns votes as text, without emotions that nobody named: ``angry=6 disgust=2``."""
    return " ".join(f"{emotion}={count}" for emotion, count in votes.items() if count)


def read_votes(clip: Clip, class_names: tuple[str, ...]) -> np.ndarray:
    """Returns how many listeners heard each class in a clip, ``(n_classes,)``; zeros where nobody was asked.

    Raises:
        DatasetError: if the clip's ``votes`` are not like ``angry=6 disgust=2``.
    """
    votes = np.zeros(len(class_names))
    for part in clip.details.get("votes", "").split():
        emotion, _, count = part.partition("=")
        index = class_index(emotion, class_names)
        if not count.isdecimal():
            raise DatasetError(f"{clip.clip_id}: votes must be like angry=6 disgust=2, got {part!r}.")
        if index is not None:
            votes[index] += int(count)
    return votes


def soft_target(clip: Clip, class_names: tuple[str, ...], vote_share: float) -> np.ndarray:
    """Returns a probability of each class for a clip, ``(n_classes,)`` float32; zeros for a clip of no class.

    Args:
        vote_share: how much listeners' votes count beside the label, 0 to 1, where there are votes.
    """
    target = np.zeros(len(class_names), np.float32)
    index = class_index(clip.emotion, class_names)
    if index is None:
        return target
    target[index] = 1.0
    votes = read_votes(clip, class_names)
    return (1 - vote_share) * target + vote_share * (votes / votes.sum()).astype(np.float32) if votes.any() else target
