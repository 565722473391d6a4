"""How the models in ``saved_models/`` are made: their branches apart, from faces and from voices, then joined.

No set of labelled talking faces is open to all, so the networks never see a face and a voice of one person together:
they learn faces from FER+ and muxspace, voices from RAVDESS and EmoDB, and what to make of both from pairs of a face
and a voice that show the same emotion.

Each stage leaves its result in a work folder; a recipe that was stopped goes on where it was.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from emotion.config import CalibrationConfig, DataSource
from emotion.console import SILENT, Reporter
from emotion.datasets import emodb, ravdess
from emotion.datasets.clips import Clip
from emotion.datasets.split_files import add_unlisted, write_splits
from emotion.datasets.splits import Split
from emotion.labels import SEVEN_EMOTIONS
from emotion.models.export_onnx import write_onnx
from emotion.models.half_precision import round_to_half
from emotion.models.run_folder import MODEL_FILE, SPLITS_FILE, load_run, time_window, write_metrics, write_run
from emotion.training.recipes.card import write_card
from emotion.training.recipes.face_branch import answering_branch
from emotion.training.recipes.joining import Branch, join_late, weigh_branches
from emotion.training.recipes.scoring import (
    MODES,
    answer_faces,
    answer_voices,
    choose_unsure,
    fit_temperatures,
    score_answers,
)
from emotion.training.recipes.settings import WHISPER, Recipe
from emotion.training.recipes.stages import FaceStages, VoiceStages, check_face_data
from emotion.training.recipes.voice_folds import N_FOLDS, study_voices
from emotion.training.recipes.whisper_weights import LICENCE

Say = Callable[[str], None]
FACES = "FER2013 faces with FER+ votes, muxspace facial expressions"
LICENCE_FILE = "LICENCE-whisper.txt"


def make_shipped(
    recipe: Recipe,
    data_root: Path,
    output: Path,
    work_dir: Path,
    *,
    with_folds: bool = True,
    reporter: Reporter = SILENT,
) -> dict[str, Any]:
    """Makes a shipped model.

    Args:
        recipe: the choices, such as one of ``RECIPES``.
        data_root: folder with ``ferplus/``, ``muxspace/``, ``ravdess/`` and ``emodb/``.
        output: the run folder to write.
        work_dir: where each stage's result is kept. The recipes share the stages that are the same.
        with_folds: whether to cross-validate the voice branch in the end.

    Returns:
        The scores on validation data, as in ``metrics.json``.

    Raises:
        DatasetError: if a data set is missing or a voice cannot be read.
        WeightsError: if Whisper's weights cannot be had.
    """
    verbose, say = reporter.keras_verbose, reporter.say
    # What the data lacks comes to light here, not after hours of training.
    check_face_data(data_root)
    voices = VoiceStages(recipe, data_root, work_dir, verbose, say)
    for architecture in {recipe.architecture, WHISPER}:
        voices.bank(architecture)
    voices.whisper_arrays()
    faces = FaceStages(recipe, data_root, work_dir, verbose, say)
    chosen = recipe.faces
    face = answering_branch(
        faces.network(), chosen.answer, chosen.prior_shares, faces.train.prior(), chosen.disgust_offset
    )
    voice_network = voices.network(recipe.architecture)
    voice = Branch(voice_network, *voice_network.get_layer("logits").get_weights())
    config = recipe.config()
    say("Weighing the branches against each other.")
    weights = weigh_branches(
        voice, face, faces.validation, voices.bank(recipe.architecture), voices.chosen("validation"), config,
        seed=recipe.voices.seed,
    )  # fmt: skip
    model = join_late(config, voice, face, weights)
    round_to_half(model)
    say("Scoring on validation data.")
    heard_by = (faces.validation, voices.sides.validation, voices.cache(recipe.architecture))
    answers = {
        **answer_faces(traced(model), config, faces.validation),
        **answer_voices(traced(model), config, *heard_by, seed=recipe.voices.seed),
    }
    temperatures = fit_temperatures(answers)
    scores = {mode: score_answers(answers[mode], temperatures[mode], len(SEVEN_EMOTIONS)) for mode in MODES}
    threshold = choose_unsure(answers, temperatures)
    metrics = {
        "protocol": "validation data, speakers of the voices apart from training (seed "
        f"{recipe.voices.seed}); pairs of a face and a voice of the same emotion, of different people",
        "class_names": list(SEVEN_EMOTIONS),
        "unsure_below": threshold,
        "late_fusion_weights": {"voice": weights[0], "face": weights[1]},
        **scores,
    }
    calibration = CalibrationConfig(
        **{name: temperatures[name] for name in ("face", "voice", "both")}, unsure_below=threshold
    )
    config = dataclasses.replace(
        config, calibration=calibration, data=_sources(len(faces.train), voices, recipe.architecture)
    )
    output.mkdir(parents=True, exist_ok=True)
    write_record(voices, recipe.architecture, output, seed=recipe.voices.seed)
    if recipe.architecture == WHISPER:
        (output / LICENCE_FILE).write_text(LICENCE, encoding="utf-8")
    write_run(output, config, model, half_precision=True)
    write_onnx(output, reporter)
    metrics["megabytes"] = (output / MODEL_FILE).stat().st_size / 1e6
    metrics["window_milliseconds"] = 1000 * time_window(load_run(output))
    write_metrics(output, metrics)
    write_card(output, recipe, metrics, model.count_params())
    if with_folds:
        metrics["folds"] = cross_validate_voices(voices, recipe.architecture, say)
        write_metrics(output, metrics)
        write_card(output, recipe, metrics, model.count_params())
    return metrics


def cross_validate_voices(voices: VoiceStages, architecture: str, say: Say) -> dict[str, Any]:
    """Cross-validates the voice branch; see ``study_voices``."""
    say("Cross-validating the voice branch.")
    scores = study_voices(voices, (architecture,), voices.folder / "folds", say=say)[architecture]
    protocol = (
        f"RAVDESS speech by the voice branch alone, {N_FOLDS} folds by speaker, trained with eight classes; for "
        "seven, calm joins neutral in the answers"
    )
    return {"protocol": protocol, "by_number_of_classes": scores}


def traced(model: keras.Model) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """Returns a function from inputs to probabilities."""
    return lambda inputs: np.asarray(model.predict_on_batch(inputs))


def write_record(voices: VoiceStages, architecture: str, output: Path, *, seed: int) -> None:
    """Writes which voices the model met, so that no evaluation scores it on them unawares.

    The faces are too many to be listed, and lie in archives; the record says that they are missing from it.
    """
    clips = {"train": learned_voices(voices, architecture), "validation": voices.sides.validation}
    ids = {side: tuple(sorted(clip.clip_id for clip in clips[side])) for side in clips}
    split = Split(ids["train"], ids["validation"], (), "speaker", seed)
    every_clip = [*clips["train"], *clips["validation"]]
    write_splits(split, every_clip, output / SPLITS_FILE, voices.cache(architecture).contents(every_clip))
    add_unlisted(output / SPLITS_FILE, FACES, split)


def learned_voices(voices: VoiceStages, architecture: str) -> list[Clip]:
    """Returns the clips that a design's voice branch learns from; what has no label, a pupil can learn from too."""
    return [*voices.sides.train, *([] if architecture == WHISPER else voices.sides.unlabelled)]


def _sources(n_faces: int, voices: VoiceStages, architecture: str) -> tuple[DataSource, ...]:
    learned = learned_voices(voices, architecture)

    def n_clips(prefix: str) -> int:
        return sum(clip.clip_id.startswith(prefix) for clip in learned)

    part = "the encoder's first blocks" if architecture == WHISPER else "as a teacher only"
    return (
        DataSource(FACES, "labels MIT, pictures without a stated licence; Apache-2.0", n_faces),
        DataSource("RAVDESS speech", ravdess.LICENCE, n_clips("ravdess")),
        DataSource("EmoDB", emodb.LICENCE, n_clips("emodb")),
        DataSource(f"Whisper tiny.en, {part} (OpenAI)", "MIT", 0),
    )
