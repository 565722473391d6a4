"""Finds the clips that a training can use: decoded, with a face or a voice, of emotions that the classes cover."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emotion.config import CalibrationConfig, RunConfig
from emotion.console import SILENT, Reporter, counted
from emotion.datasets.cache import ClipCache
from emotion.datasets.check.copies import name_recordings
from emotion.datasets.clips import Clip, restrict_clip
from emotion.datasets.splits import SPEAKER_INDEPENDENT, check_speakers_known
from emotion.errors import ConfigError, DatasetError, first_line
from emotion.labels import HOW_TO_USE_OTHERS, class_index
from emotion.models import build_model
from emotion.models.pretrained import check_pretrained


@dataclass(frozen=True)
class TrainingClips:
    """Clips ready to train on.

    Attributes:
        config: the settings, with only the modalities that some clip has evidence for, and no calibration.
        contents: hashes of the clips' files by path.
        recordings: the same, with one hash for copies of one sound; see ``check.copies``.
        failures: clips that cannot be used, with the reason.
        left_out: numbers of clips of emotions that the classes do not cover, by emotion.
    """

    clips: list[Clip]
    config: RunConfig
    cache: ClipCache
    contents: dict[str, str]
    recordings: dict[str, str]
    failures: dict[str, str]
    left_out: dict[str, int]


def prepare_clips(
    clips: Sequence[Clip],
    config: RunConfig,
    cache_dir: Path,
    *,
    keeps_modalities: bool = False,
    reporter: Reporter = SILENT,
) -> TrainingClips:
    """Decodes clips into ``cache_dir`` and finds out which can be used, and for what.

    The returned settings lack modalities without any evidence, and a calibration: it belongs to the network that the
    settings were saved with.

    Args:
        keeps_modalities: whether the network can judge by evidence that no clip holds, since it starts from one that
            can.

    Raises:
        ConfigError: if no network can be built by the settings.
        DatasetError: if no clip can be used.
    """
    _check_buildable(config)
    clips, left_out = _covered(clips, config, reporter)
    clips = _with_known_speakers(clips, config, reporter)
    restricted = [restrict_clip(clip, config.modalities) for clip in clips]
    failures = {
        clip.clip_id: f"{clip.paths[0]}: holds nothing that the model takes ({' and '.join(config.modalities)})."
        for clip, kept in zip(clips, restricted, strict=True)
        if kept is None
    }
    clips = [clip for clip in restricted if clip is not None]
    cache = ClipCache(cache_dir, config)
    failures |= cache.fill(clips, reporter=reporter)
    clips = [clip for clip in clips if clip.clip_id not in failures]
    clips, n_with = _with_evidence(clips, cache, config, failures, reporter)
    modalities = _choose_modalities(n_with, len(clips), config, keeps_modalities, reporter)
    contents = cache.contents(clips)
    # A random split is said to be optimistic in any case.
    is_random = config.training.protocol == "random"
    recordings = contents if is_random else name_recordings(clips, cache, contents)
    config = dataclasses.replace(config, modalities=modalities, calibration=CalibrationConfig())
    return TrainingClips(clips, config, cache, contents, recordings, failures, left_out)


def _check_buildable(config: RunConfig) -> None:
    """Builds the network once and throws it away, so that a wrong setting is reported before hours of decoding."""
    check_pretrained(config)
    try:
        build_model(config)
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        words = first_line(error)
        raise ConfigError(f"model: {config.architecture} cannot be built with these settings ({words}).") from error


def _covered(clips: Sequence[Clip], config: RunConfig, reporter: Reporter) -> tuple[list[Clip], dict[str, int]]:
    covered = [clip for clip in clips if class_index(clip.emotion, config.class_names) is not None]
    others = Counter(clip.emotion for clip in clips if class_index(clip.emotion, config.class_names) is None)
    if others:
        named = ", ".join(f"{emotion} {n}" for emotion, n in sorted(others.items()))
        reporter.say(
            f"Left out, of emotions that the classes do not cover: {counted(others.total(), 'clip')} ({named}). "
            f"{HOW_TO_USE_OTHERS}"
        )
    return covered, dict(sorted(others.items()))


def _with_known_speakers(clips: list[Clip], config: RunConfig, reporter: Reporter) -> list[Clip]:
    """Leaves out clips of unknown speakers if the protocol keeps speakers apart and most speakers are known."""
    known = [clip for clip in clips if clip.speaker is not None]
    if config.training.protocol not in SPEAKER_INDEPENDENT or len(known) == len(clips):
        return clips
    if len(known) * 2 <= len(clips):
        check_speakers_known(clips, config.training.protocol)  # raises
    reporter.say(
        f"{len(clips) - len(known)} of {len(clips)} clips have no known speaker; they are left out, since "
        f"--protocol {config.training.protocol} keeps speakers apart."
    )
    return known


def _with_evidence(
    clips, cache: ClipCache, config: RunConfig, failures, reporter: Reporter
) -> tuple[list[Clip], dict[str, int]]:
    """Leaves out clips with neither face nor voice; returns the others, and how many hold each modality."""
    n_with = {"audio": 0, "video": 0}
    kept = []
    for clip in clips:
        media = cache.load(clip)
        found = {"audio": media.holds_voice, "video": len(media.crops) > 0}
        evidence = {name: there and name in config.modalities for name, there in found.items()}
        if clip.video_path and "video" in config.modalities and not evidence["video"]:
            reporter.say(f"{clip.video_path}: no face found.")
        if not any(evidence.values()):
            failures[clip.clip_id] = f"{clip.video_path or clip.audio_path}: neither a face nor a voice was found."
            continue
        kept.append(clip)
        for name, there in evidence.items():
            n_with[name] += there
    if not kept:
        reason = next(iter(failures.values()), "there are no clips")
        raise DatasetError(f"None of the {len(failures)} clips can be used. The first: {reason}")
    return kept, n_with


def _choose_modalities(
    n_with: Mapping[str, int], n_clips: int, config: RunConfig, keeps_all: bool, reporter: Reporter
) -> tuple[str, ...]:
    """Returns the modalities to train, and says what the clips lack; ``n_with`` clips hold each of them."""
    for name in config.modalities:
        what = {"audio": ("voice", "faces"), "video": ("faces", "voices")}[name]
        if not n_with[name]:
            outcome = (
                "so what the model makes of it stays as it was."
                if keeps_all
                else f"the model is trained on the {what[1]} alone and will use nothing else."
            )
            reporter.say(f"No clip holds {what[0]}{',' if keeps_all else ':'} {outcome}")
        elif n_with[name] < n_clips:
            reporter.say(f"{n_clips - n_with[name]} of {n_clips} clips hold no {what[0]}; they train the other branch.")
    return tuple(name for name in config.modalities if n_with[name] or keeps_all)
