"""Compares the speakers of labelled clips with themselves, before their clips are scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emotion.config import MODALITIES
from emotion.datasets.clips import Clip, restrict_clip
from emotion.media.recordings import Recording
from emotion.models.baseline_head import NEUTRAL
from emotion.results import OWN_CLIP, OWN_CLIPS, REFERENCE

# By the speaker's mean over all their clips, or by neutral clips.
ADAPTATIONS = (BY_CLIPS, BY_REFERENCE) = ("clips", "reference")
N_REFERENCES = 5  # neutral clips of a speaker that serve as references, where no file is named

WORDS = {
    REFERENCE: "answers relative to neutral clips of the same speaker",
    OWN_CLIPS: "answers relative to the speaker's mean over all their clips given here, without their labels",
    OWN_CLIP: "answers relative to the person's mean in the same long clip",
}


@dataclass(frozen=True)
class References:
    """Which recordings show speakers when calm.

    Attributes:
        by_clip: by ``clip_id``, what shows the clip's speaker.
        not_scored: ids of the clips that serve as references.
    """

    by_clip: Mapping[str, tuple[Recording, ...]] = field(default_factory=dict)
    not_scored: frozenset[str] = frozenset()


def choose_references(clips: Sequence[Clip], modalities: Sequence[str] = MODALITIES) -> References:
    """Chooses the reference of each clip: the file that the clip names, else its speaker's first neutral clips.

    Clips whose speaker is unknown, or has no neutral clip, have none.

    Args:
        modalities: what to judge by; nothing else of the references is read.
    """
    neutral: dict[str, list[Clip]] = {}
    for clip in sorted(clips, key=lambda clip: clip.clip_id):
        if clip.speaker and clip.emotion == NEUTRAL and clip.reference is None:
            kept = restrict_clip(clip, modalities)
            neutral.setdefault(clip.speaker, []).extend([kept] if kept else [])
    by_clip, not_scored = {}, set()
    for clip in clips:
        if clip.reference is not None:
            paths = [clip.reference if name in modalities else None for name in ("video", "audio")]
            by_clip[clip.clip_id] = (Recording(*paths),)
        elif chosen := neutral.get(clip.speaker, ())[:N_REFERENCES]:
            by_clip[clip.clip_id] = tuple(other.recording for other in chosen)
            not_scored |= {other.clip_id for other in chosen}
    return References(by_clip, frozenset(not_scored))


def describe_adaptation(n_compared: Mapping[str, int], n_scored: int, n_references: int = 0) -> str:
    """Returns what a protocol says of it; nothing if no answer is relative.

    Args:
        n_compared: clips with a relative answer, by ``BaselineUse.kind``.
        n_references: clips that served as references.
    """
    words = [f"{WORDS[kind]} ({n} of {n_scored} clips)" for kind, n in sorted(n_compared.items())]
    words += [f"{n_references} neutral clips served as references and are not scored"] * bool(n_references)
    return "; ".join(words)
