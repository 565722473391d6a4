"""Valence and arousal derived from an answer's probabilities: each emotion has a place, and the answer is their mean.

The places are the mean ratings of pleasure and arousal by Russell & Mehrabian (1977, "Evidence for a three-factor
theory of emotions", J. Research in Personality 11, 273-294), from -1 to 1; "relaxed" stands for calm, and neutral is
the origin. Nobody rated the clip itself: the numbers say no more than the probabilities do. A model that was trained on
rated clips has places of its own, see ``emotion.training.rated_clips``.
"""

from collections.abc import Mapping, Sequence

import numpy as np

PLACES = {
    "neutral": (0.0, 0.0), "calm": (0.68, -0.46), "happy": (0.81, 0.51), "sad": (-0.63, -0.27), "angry": (-0.51, 0.59),
    "fearful": (-0.64, 0.60), "disgust": (-0.60, 0.35), "surprised": (0.40, 0.67), "bored": (-0.65, -0.62),
}  # fmt: skip
LEAST_KNOWN = 0.5  # of the probability must lie on emotions that have a place


def derive_valence_arousal(
    probabilities: np.ndarray | None,
    class_names: Sequence[str],
    places: Mapping[str, tuple[float, float]] | None = None,
) -> tuple[float, float] | tuple[None, None]:
    """Returns valence and arousal, each from -1 to 1; None without evidence, or where most of it has no place.

    Args:
        probabilities: ``(n_classes,)``.
        places: of the emotions; by default the published ones.
    """
    places = PLACES if places is None else places
    if probabilities is None:
        return None, None
    known = [index for index, name in enumerate(class_names) if name in places]
    weights = np.asarray(probabilities, float)[known]
    if not known or not weights.sum() >= LEAST_KNOWN:
        return None, None
    valence, arousal = weights @ np.array([places[class_names[index]] for index in known]) / weights.sum()
    return float(valence), float(arousal)
