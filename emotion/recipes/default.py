"""How ``saved_models/default`` is made: its branches apart, from faces and from voices, then the layers that join them.

No set of labelled talking faces is open to all, so the network never sees a face and a voice of one person together:
it learns faces from FER+ and muxspace, voices from RAVDESS and EmoDB, and what to make of both from pairs of a face and
a voice that show the same emotion.

Each stage leaves its result in a work folder; a recipe that was stopped goes on with the first stage that is missing.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

import emotion.models.layers  # noqa: F401  (registers the layers that saved stages name)
from emotion.cache import ClipCache
from emotion.config import DataSource, RunConfig, TrainConfig
from emotion.datasets import emodb, ravdess
from emotion.datasets.clips import Clip
from emotion.errors import DatasetError
from emotion.generators import ClipWindows
from emotion.labels import SEVEN_EMOTIONS, class_index
from emotion.models import build_model
from emotion.protocols import split_by_speaker
from emotion.recipes.branches import save_network, train_frame_network, train_voice_network, tune_over_time
from emotion.recipes.fusion import compute_face_features, compute_voice_features, score_fused, train_fusion
from emotion.recipes.stills import Stills, join_stills, load_ferplus, load_folders, read_stills, save_stills
from emotion.runs import SPLITS_FILE, write_metrics, write_run
from emotion.split_files import add_unlisted, write_splits
from emotion.splits import Split

Say = Callable[[str], None]
FACES = "FER2013 faces with FER+ votes, muxspace facial expressions"
DATA_FOLDERS = ("ferplus", "muxspace", "ravdess", "emodb")


@dataclass(frozen=True)
class Recipe:
    """All choices of the recipe.

    Attributes:
        fer2013_share: weight of FER2013's own labels beside the raters' votes. The votes are truer, but raters call a
            third of all faces neutral; FER2013's labels notice weaker expressions.
        muxspace_smoothing: share of muxspace's targets spread over all classes; students labelled it.
        validation_fraction: share of the speakers of each set of voices that is not trained on.
        frame_epochs, clip_steps, voice_epochs, fusion_steps: length of each stage.
        swapped_voices: share of the fusion's pairs whose voice is of any emotion; see ``train_fusion``.
        n_fusion_faces: faces whose features the fusion is trained on.
        n_voice_passes: augmented variants of each voice it is trained on.
        seed: of everything drawn.
    """

    fer2013_share: float = 0.5
    muxspace_smoothing: float = 0.1
    validation_fraction: float = 0.2
    frame_epochs: int = 12
    frame_learning_rate: float = 2e-3
    clip_steps: int = 400
    clip_learning_rate: float = 3e-4
    voice_epochs: int = 40
    voice_learning_rate: float = 1e-3
    fusion_steps: int = 3000
    fusion_learning_rate: float = 1e-3
    swapped_voices: float = 0.3
    n_fusion_faces: int = 6000
    n_voice_passes: int = 4
    seed: int = 0


def make_default(
    data_root: Path, output: Path, work_dir: Path, *, recipe: Recipe | None = None, verbose: int = 1, say: Say = print
) -> dict[str, Any]:
    """Makes the default model.

    Args:
        data_root: folder with ``ferplus/``, ``muxspace/``, ``ravdess/`` and ``emodb/``.
        output: the run folder to write.
        work_dir: where each stage's result is kept.
        recipe: the choices; by default those the shipped model was made with.
        verbose: of Keras's progress bars.
        say: takes messages meant for the user.

    Returns:
        The scores on validation data, as in ``metrics.json``.

    Raises:
        DatasetError: if a data set is missing or a voice cannot be read.
    """
    recipe = recipe or Recipe()
    # Another recipe, or other data, never meets the stages of this one.
    work_dir = work_dir / fingerprint(data_root, recipe)
    work_dir.mkdir(parents=True, exist_ok=True)
    config = RunConfig(class_names=SEVEN_EMOTIONS, training=TrainConfig(seed=recipe.seed))
    train_faces, validation_faces = _load_faces(data_root, work_dir, config, recipe, say)
    voices = load_voices(data_root, recipe)
    cache = ClipCache(work_dir / "clips", config)
    failures = cache.fill([*voices.train, *voices.validation])
    if failures:
        raise DatasetError(f"{len(failures)} voices cannot be read, the first: {next(iter(failures.values()))}")

    options = {"config": config, "seed": recipe.seed, "verbose": verbose}
    frame_network = _stage(
        work_dir / "frames.keras",
        lambda: train_frame_network(
            train_faces, epochs=recipe.frame_epochs, learning_rate=recipe.frame_learning_rate, **options
        ),
        say,
    )
    clip_network = _stage(
        work_dir / "clips.keras",
        lambda: tune_over_time(
            frame_network, train_faces, n_steps=recipe.clip_steps, learning_rate=recipe.clip_learning_rate, **options
        ),
        say,
    )
    audio_config = dataclasses.replace(config, modalities=("audio",))
    voice_windows = ClipWindows(voices.train, cache, audio_config, training=True)
    voice_network = _stage(
        work_dir / "voices.keras",
        lambda: train_voice_network(
            voice_windows, epochs=recipe.voice_epochs, learning_rate=recipe.voice_learning_rate, **options
        ),
        say,
    )
    say("Joining the branches.")
    model = build_model(config)
    train_fusion(
        model,
        compute_face_features(clip_network, train_faces, recipe.n_fusion_faces, config, seed=recipe.seed),
        compute_voice_features(voice_network, voice_windows, recipe.n_voice_passes),
        clip_network=clip_network,
        voice_network=voice_network,
        n_steps=recipe.fusion_steps,
        learning_rate=recipe.fusion_learning_rate,
        swapped=recipe.swapped_voices,
        seed=recipe.seed,
    )
    metrics = {
        "protocol": "validation data, speakers of the voices apart (seed "
        f"{recipe.seed}); pairs of a face and a voice of the same emotion, of different people",
        **score_fused(model, validation_faces, voices.validation, cache, config, seed=recipe.seed),
    }
    config = dataclasses.replace(config, data=_sources(train_faces, voices))
    output.mkdir(parents=True, exist_ok=True)
    write_record(voices, cache.contents([*voices.train, *voices.validation]), output, seed=recipe.seed)
    write_metrics(output, metrics)
    write_run(output, config, model)
    return metrics


def fingerprint(data_root: Path, recipe: Recipe) -> str:
    """A short hash of a recipe's choices and of the names and sizes of all the files it is made from."""
    digest = hashlib.sha256(repr(recipe).encode())
    for name in DATA_FOLDERS:
        for path in sorted((data_root / name).rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(data_root)} {path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Voices:
    """Labelled speech, speakers apart."""

    train: list[Clip]
    validation: list[Clip]


def load_voices(data_root: Path, recipe: Recipe) -> Voices:
    """Reads RAVDESS and EmoDB and sets speakers of each apart."""
    train, validation = [], []
    for name, load in (("ravdess", ravdess.load), ("emodb", emodb.load)):
        clips = [c for c in load(data_root / name) if class_index(c.emotion, SEVEN_EMOTIONS) is not None]
        split = split_by_speaker(
            clips, validation_fraction=recipe.validation_fraction, test_fraction=0.0, seed=recipe.seed
        )
        train += [clip for clip in clips if split.sides[clip.clip_id] == "train"]
        validation += [clip for clip in clips if split.sides[clip.clip_id] == "validation"]
    return Voices(train, validation)


def write_record(voices: Voices, contents: dict[str, str], output: Path, *, seed: int) -> None:
    """Writes which voices the model met, so that no evaluation scores it on them unawares.

    The faces are too many to be listed, and lie in archives; the record says that they are missing from it.
    """
    ids = {side: tuple(sorted(clip.clip_id for clip in clips)) for side, clips in vars(voices).items()}
    split = Split(ids["train"], ids["validation"], (), "speaker", seed)
    write_splits(split, [*voices.train, *voices.validation], output / SPLITS_FILE, contents)
    add_unlisted(output / SPLITS_FILE, FACES, split)


def _load_faces(data_root: Path, work_dir: Path, config: RunConfig, recipe: Recipe, say: Say) -> tuple[Stills, Stills]:
    """Aligned faces to train on and, with the raters' votes alone as targets, to validate on."""
    names, size = config.class_names, config.video.image_size
    folder = data_root / "ferplus"
    share, smoothing = recipe.fer2013_share, recipe.muxspace_smoothing
    makers = {
        "ferplus_train": lambda: load_ferplus(folder / "ferplus_train.npz", names, fer2013_share=share, size=size),
        "muxspace": lambda: load_folders(data_root / "muxspace", names, smoothing=smoothing, size=size),
        "ferplus_valid": lambda: load_ferplus(folder / "ferplus_valid.npz", names, fer2013_share=0.0, size=size),
    }
    loaded = {}
    for name, make in makers.items():
        path = work_dir / f"{name}.npz"
        if not path.is_file():
            say(f"Aligning the faces of {name}.")
            save_stills(make(), path)
        loaded[name] = read_stills(path)
    return join_stills(loaded["ferplus_train"], loaded["muxspace"]), loaded["ferplus_valid"]


def _stage(path: Path, make: Callable[[], keras.Model], say: Say) -> keras.Model:
    """Returns a stage's network: from the work folder if it is there, else made and kept."""
    if not path.is_file():
        say(f"Training {path.stem}.")
        save_network(make(), path)
    return keras.saving.load_model(path, compile=False)


def _sources(faces: Stills, voices: Voices) -> tuple[DataSource, ...]:
    def n_clips(prefix: str) -> int:
        return sum(clip.clip_id.startswith(prefix) for clip in voices.train)

    return (
        DataSource(
            FACES,
            "labels MIT, pictures without a stated licence; Apache-2.0",
            len(faces),
        ),
        DataSource("RAVDESS speech", ravdess.LICENCE, n_clips("ravdess")),
        DataSource("EmoDB", emodb.LICENCE, n_clips("emodb")),
    )
