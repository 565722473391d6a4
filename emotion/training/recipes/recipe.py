"""How the shipped models are made, stage by stage.

No data set of labelled talking faces is open to all. So the networks never see a face and a voice of one person: they
learn faces from photographs (FER+, muxspace), voices from RAVDESS and EmoDB, and how much each counts from pairs of a
face and a voice that show the same emotion.

| stage | reads | leaves in the work folder |
|---|---|---|
| ``check_data`` | the data folder | (it finds what is missing before hours of training) |
| ``cut_voices`` | ``ravdess/``, ``emodb/`` | ``voices-KEY/``: decoded clips, their windows, what Whisper hears |
| ``align_faces`` | ``ferplus/``, ``muxspace/`` | ``faces-KEY/*.npz`` |
| ``train_faces`` | aligned faces | ``faces-KEY/KEY/frames.keras``, ``clips.keras`` |
| ``train_voice`` | windows, Whisper's weights | ``voices-KEY/KEY/*.keras`` |
| ``join_branches`` | both branches, validation data | |
| ``calibrate`` and ``score`` | the model, validation data | |
| ``write_model`` | all of that | the run folder |
| ``score_on_new_speakers`` | windows | ``voices-KEY/KEY/folds/`` |

A KEY is a hash of the data's contents and of the choices that the stage depends on. A stage that finds its result takes
it; one that was killed goes on with the epoch it was in.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from emotion.config import CalibrationConfig, DataSource, RunConfig
from emotion.console import SILENT, Reporter
from emotion.datasets import emodb, ravdess
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.datasets.split_files import add_unlisted, write_splits
from emotion.datasets.splits import Split
from emotion.labels import EIGHT_EMOTIONS, SEVEN_EMOTIONS
from emotion.models.calibration import softmax
from emotion.models.export_onnx import write_onnx
from emotion.models.half_precision import round_to_half
from emotion.models.run_folder import MODEL_FILE, SPLITS_FILE, load_run, time_window, write_metrics, write_run
from emotion.training.recipes.card import write_card
from emotion.training.recipes.face_stages import SeenFaces, align_faces, check_faces, train_faces
from emotion.training.recipes.joining import Branch, join_late, weigh_branches
from emotion.training.recipes.light_voice import Teaching, train_light_network
from emotion.training.recipes.scoring import (
    EVIDENCE,
    Answers,
    answer_photographs,
    answer_voices,
    choose_unsure,
    fit_temperatures,
    score_answers,
)
from emotion.training.recipes.settings import MFCC, WHISPER, Recipe
from emotion.training.recipes.voice_folds import N_FOLDS, cross_validate_voice
from emotion.training.recipes.voices import VoiceBank, Voices, check_same_windows, load_voices, make_bank
from emotion.training.recipes.whisper_voice import Heard, hear, predict_heard, train_whisper_network
from emotion.training.recipes.whisper_weights import LICENCE, WHISPER_DIR, load_whisper_encoder
from emotion.training.recipes.work import Work, fingerprint, keep_network

VOICE_FOLDERS = ("ravdess", "emodb")
FACES = "FER2013 faces with FER+ votes, muxspace facial expressions, faces without labels"
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
        work_dir: keeps each stage's result; recipes share the stages that are the same.
        with_folds: whether to cross-validate the voice branch in the end.

    Returns:
        The scores on validation data, as in ``metrics.json``.

    Raises:
        DatasetError: if a data set is missing or damaged.
        WeightsError: if Whisper's weights cannot be had.
    """
    work = Work(recipe, data_root, work_dir, reporter)
    check_data(work)
    heard = cut_voices(work)
    seen = align_faces(work)
    face = train_faces(work, seen)
    voice = train_voice(work, heard)
    model, weights = join_branches(work, voice, face, heard, seen)
    answers = answer_validation_data(work, model, heard, seen)
    calibration, temperatures = calibrate(answers, weights)
    metrics = score(work, answers, temperatures, calibration, weights)
    write_model(work, model, calibration, metrics, output, heard, seen)
    if with_folds:
        metrics["folds"] = score_on_new_speakers(work, heard)
        write_scores(work, output, metrics)
    return metrics


def check_data(work: Work) -> None:
    """Makes sure that the faces can be read and Whisper's weights are here, before hours are spent on other stages."""
    check_faces(work)
    _whisper_arrays(work)


# ---- Voices ----


@dataclass(frozen=True)
class HeardVoices:
    """Speech, ready to train on.

    Attributes:
        sides: clips, speakers apart.
        configs, caches, banks: by architecture; each network has its own sample rate and features.
        whisper: what Whisper's unchanged blocks make of the windows.
        folder: for the networks.
    """

    sides: Voices
    configs: dict[str, RunConfig]
    caches: dict[str, ClipCache]
    banks: dict[str, VoiceBank]
    whisper: Heard
    folder: Path

    def chosen(self, side: str) -> np.ndarray:
        """Returns indices, in the banks, of the clips of ``train``, ``validation`` or ``unlabelled``."""
        wanted = {clip.clip_id for clip in getattr(self.sides, side)}
        return np.flatnonzero([clip.clip_id in wanted for clip in self.sides.clips])


def cut_voices(work: Work) -> HeardVoices:
    """Sets speakers apart, and cuts and varies the windows of all clips; both designs, if one teaches the other."""
    recipe, choices = work.recipe, work.recipe.voices
    sides = load_voices(
        work.data_root, SEVEN_EMOTIONS, validation_fraction=choices.validation_fraction, seed=choices.seed
    )
    configs = {name: dataclasses.replace(recipe.config(name), modalities=("audio",)) for name in (MFCC, WHISPER)}
    forms = [(config.audio, config.window) for config in configs.values()]
    key = fingerprint(
        work.data_root, VOICE_FOLDERS, choices.validation_fraction, choices.n_variants, choices.seed, forms
    )
    windows = work.folder / f"voices-{key}"
    caches = {name: ClipCache(windows / "clips", config) for name, config in configs.items()}
    banks = {}
    for name in dict.fromkeys((WHISPER, recipe.voice)):
        work.reporter.say(f"Windows of {len(sides.clips)} voices for {name}.")
        banks[name] = make_bank(
            sides.clips, caches[name], configs[name], n_variants=choices.n_variants, seed=choices.seed,
            folder=windows / name,
        )  # fmt: skip
        check_same_windows(banks[WHISPER], banks[name])
    blocks = f"{choices.whisper_blocks}-{'-'.join(map(str, choices.whisper_pooled))}"
    whisper = hear(banks[WHISPER], configs[WHISPER], _whisper_arrays(work), windows / f"heard-{blocks}")
    folder = windows / fingerprint(work.data_root, (), choices)
    return HeardVoices(sides, configs, caches, banks, whisper, folder)


def train_voice(work: Work, heard: HeardVoices) -> Branch:
    """Trains the voice branch: Whisper's, and for a light design its own with Whisper's as the teacher."""
    learned = heard.chosen("train")
    if work.recipe.voice != WHISPER:
        learned = np.concatenate([learned, heard.chosen("unlabelled")])
    network = train_voice_network(work, heard, learned, SEVEN_EMOTIONS, heard.folder)
    return Branch(network, *network.get_layer("logits").get_weights())


def train_voice_network(
    work: Work, heard: HeardVoices, learned: np.ndarray, class_names: tuple[str, ...], folder: Path
) -> keras.Model:
    """Trains a voice network on the clips of these indices: from windows to logits."""
    choices, architecture = work.recipe.voices, work.recipe.voice
    configs = {name: dataclasses.replace(each, class_names=class_names) for name, each in heard.configs.items()}
    options = {"seed": choices.seed, "reporter": work.reporter}

    def train_teacher() -> keras.Model:
        bank = heard.banks[WHISPER]
        labelled = learned[bank.classes(class_names)[learned] >= 0]
        return train_whisper_network(
            bank, heard.whisper, labelled, configs[WHISPER], _whisper_arrays(work), choices.whisper,
            folder=folder / WHISPER, **options,
        )  # fmt: skip

    def train_pupil() -> keras.Model:
        teacher = keep_network(work, folder / f"{WHISPER}.keras", train_teacher)
        teaching = Teaching(softmax(predict_heard(teacher, heard.whisper)), heard.whisper.statistics)
        return train_light_network(
            heard.banks[architecture], learned, configs[architecture], choices.light, teaching,
            folder=folder / architecture, **options,
        )  # fmt: skip

    make = train_teacher if architecture == WHISPER else train_pupil
    return keep_network(work, folder / f"{architecture}.keras", make)


def score_on_new_speakers(work: Work, heard: HeardVoices) -> dict[str, Any]:
    """Cross-validates the voice branch by speaker."""
    work.reporter.say("Cross-validating the voice branch.")
    scores = cross_validate_voice(
        heard.banks[work.recipe.voice],
        lambda learned, folder: train_voice_network(work, heard, learned, EIGHT_EMOTIONS, folder),
        heard.folder / "folds",
        seed=work.recipe.voices.seed,
        reporter=work.reporter,
    )
    protocol = (
        f"RAVDESS speech by the voice branch alone, {N_FOLDS} folds by speaker, trained with eight classes; for "
        "seven, calm joins neutral in the answers"
    )
    return {"protocol": protocol, "by_number_of_classes": scores}


def _whisper_arrays(work: Work) -> dict[str, np.ndarray]:
    return load_whisper_encoder(WHISPER_DIR, work.recipe.voices.whisper_blocks, reporter=work.reporter)


# ---- Both ----


def join_branches(
    work: Work, voice: Branch, face: Branch, heard: HeardVoices, seen: SeenFaces
) -> tuple[keras.Model, tuple[float, float]]:
    """Joins the branches; returns the model and the weights of voice and face, fitted on pairs of validation data."""
    work.reporter.say("Weighing the branches against each other.")
    config, bank = work.recipe.config(), heard.banks[work.recipe.voice]
    weights = weigh_branches(
        voice, face, seen.validation, bank, heard.chosen("validation"), config, seed=work.recipe.voices.seed
    )
    model = join_late(config, voice, face, weights)
    round_to_half(model)
    return model, weights


def answer_validation_data(work: Work, model: keras.Model, heard: HeardVoices, seen: SeenFaces) -> dict[str, Answers]:
    """Asks the model about all validation data, by each kind of evidence."""
    work.reporter.say("Scoring on validation data.")
    config, cache = work.recipe.config(), heard.caches[work.recipe.voice]

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return np.asarray(model.predict_on_batch(inputs))

    photographs = answer_photographs(predict, config, seen.validation)
    voices = answer_voices(
        predict, config, seen.validation, heard.sides.validation, cache, seed=work.recipe.voices.seed
    )  # fmt: skip
    return {"photograph": photographs, **voices}


def calibrate(answers: dict[str, Answers], weights: tuple[float, float]) -> tuple[CalibrationConfig, dict[str, float]]:
    """Fits a temperature for each kind of evidence, and the confidence below which the answer is ``unsure``."""
    temperatures = fit_temperatures(answers, weights[1])
    named = {name: temperatures[name] for name in ("voice", "both")}
    return CalibrationConfig(face=weights[1], **named, unsure_below=choose_unsure(answers, temperatures)), temperatures


def score(
    work: Work, answers: dict[str, Answers], temperatures: dict[str, float], calibration: CalibrationConfig, weights
) -> dict[str, Any]:
    """Scores the calibrated answers."""
    return {
        "protocol": "validation data, speakers of the voices apart from training (seed "
        f"{work.recipe.voices.seed}); pairs of a face and a voice of the same emotion, of different people",
        "class_names": list(SEVEN_EMOTIONS),
        "unsure_below": calibration.unsure_below,
        "late_fusion_weights": {"voice": weights[0], "face": weights[1]},
        **{mode: score_answers(answers[mode], mode, temperatures[mode], SEVEN_EMOTIONS) for mode in EVIDENCE},
    }


def write_model(
    work: Work, model: keras.Model, calibration: CalibrationConfig, metrics: dict[str, Any], output: Path,
    heard: HeardVoices, seen: SeenFaces,
) -> None:  # fmt: skip
    """Writes the run folder: what was learned from, the model as Keras and ONNX, scores and card."""
    recipe = work.recipe
    clips = {"train": _learned_voices(recipe, heard), "validation": heard.sides.validation}
    config = dataclasses.replace(
        recipe.config(), calibration=calibration, data=_sources(recipe, clips["train"], len(seen.train))
    )
    output.mkdir(parents=True, exist_ok=True)
    # The faces are too many to be listed, and lie in archives; the record says that they are missing from it.
    ids = {side: tuple(sorted(clip.clip_id for clip in clips[side])) for side in clips}
    split = Split(ids["train"], ids["validation"], (), "speaker", recipe.voices.seed)
    every_clip = [*clips["train"], *clips["validation"]]
    contents = heard.caches[recipe.voice].contents(every_clip)
    write_splits(split, every_clip, output / SPLITS_FILE, contents)
    add_unlisted(output / SPLITS_FILE, FACES, split)
    if recipe.voice == WHISPER:
        (output / LICENCE_FILE).write_text(LICENCE, encoding="utf-8")
    write_run(output, config, model, half_precision=True)
    write_onnx(output, work.reporter)
    metrics["megabytes"] = (output / MODEL_FILE).stat().st_size / 1e6
    metrics["window_milliseconds"] = 1000 * time_window(load_run(output))
    write_scores(work, output, metrics)


def write_scores(work: Work, output: Path, metrics: dict[str, Any]) -> None:
    """Writes ``metrics.json`` and the card of a model that is written."""
    run = load_run(output)
    write_metrics(output, metrics)
    write_card(output, work.recipe, run.config, metrics, run.model.count_params())


def _learned_voices(recipe: Recipe, heard: HeardVoices) -> list[Clip]:
    """Returns the clips that the voice branch learns from; a pupil also learns from those without a label."""
    return [*heard.sides.train, *([] if recipe.voice == WHISPER else heard.sides.unlabelled)]


def _sources(recipe: Recipe, learned: list[Clip], n_faces: int) -> tuple[DataSource, ...]:
    def n_clips(prefix: str) -> int:
        return sum(clip.clip_id.startswith(prefix) for clip in learned)

    part = "the encoder's first blocks" if recipe.voice == WHISPER else "as a teacher only"
    return (
        DataSource(FACES, "labels MIT, pictures without a stated licence; Apache-2.0", n_faces),
        DataSource("RAVDESS speech", ravdess.LICENCE, n_clips("ravdess")),
        DataSource("EmoDB", emodb.LICENCE, n_clips("emodb")),
        DataSource(f"Whisper tiny.en, {part} (OpenAI)", "MIT", 0),
    )
