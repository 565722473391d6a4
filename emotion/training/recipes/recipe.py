"""How the shipped models are made, stage by stage.

No data set of labelled talking faces is open to all. So the networks never see a face and a voice of one person: they
learn faces from photographs (FER+, muxspace), voices from RAVDESS, EmoDB and other corpora of speech, and how much each
counts from pairs of a face and a voice that show the same emotion.

| stage | reads | leaves in the work folder |
|---|---|---|
| ``check_data`` | the data folder | (it finds what is missing before hours of training) |
| ``cut_voices`` | ``ravdess/``, ``emodb/``, ``voices/`` | ``clips/``; in ``voices-KEY/`` windows, what Whisper hears |
| ``align_faces`` | ``ferplus/``, ``muxspace/``, ``faces/`` | ``faces-KEY/*.npz`` |
| ``train_faces`` | aligned faces | ``faces-KEY/KEY/pictures.keras``, ``clips.keras``, or ``still_head/`` |
| ``train_voice`` | windows, Whisper's weights | ``voices-KEY/KEY/*.keras`` |
| ``answer_about_strangers`` | windows | ``voices-KEY/KEY/corpora/``: networks without corpora, their answers |
| ``join_branches`` | both branches, answers about strangers, validation faces | |
| ``calibrate`` and ``score`` | the model, validation data | |
| ``write_model`` | all of that | the run folder |
| ``score_on_new_speakers`` | windows | ``voices-KEY/KEY/folds/`` |

The stages of faces and voices are in ``face_stages.py`` and ``voice_stages.py``, the others here.

A KEY is a hash of the data's contents and of the choices that the stage depends on. A stage that finds its result takes
it; one that was killed goes on with the epoch it was in.
"""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from emotion.config import CalibrationConfig, DataSource
from emotion.console import SILENT, Reporter
from emotion.datasets.clips import Clip
from emotion.datasets.split_files import add_unlisted, write_splits
from emotion.datasets.splits import Split
from emotion.files import make_folder, write_whole
from emotion.labels import SEVEN_EMOTIONS
from emotion.models.baseline_head import BaselineHead, FaceHead, VoiceHead, write_baseline
from emotion.models.export_onnx import write_onnx
from emotion.models.half_precision import round_to_half
from emotion.models.run_folder import MODEL_FILE, SPLITS_FILE, load_run, write_metrics, write_run
from emotion.models.trained_model import Run, time_window
from emotion.training.calibrating import Answers, choose_unsure
from emotion.training.recipes import teacher
from emotion.training.recipes.card import write_card
from emotion.training.recipes.face_stages import SeenFaces, align_faces, check_faces, train_faces, usual_neutral
from emotion.training.recipes.joining import Branch, Joining, answer_windows, join_late, weigh_branches
from emotion.training.recipes.new_corpora import (
    CorpusAnswers,
    fit_confidence,
    fit_everywhere,
    join_equal,
    score_corpora,
)
from emotion.training.recipes.scoring import EVIDENCE, answer_photographs, answer_voices, score_answers
from emotion.training.recipes.settings import FACE_BASELINE, MOBILENET, OWN_MEAN, WHISPER, Recipe, natural_prior
from emotion.training.recipes.stills import Stills
from emotion.training.recipes.voice_bank import decode_voices
from emotion.training.recipes.voice_stages import (
    HeardVoices,
    answer_about_strangers,
    answer_new_corpora,
    cut_voices,
    describe_windows,
    fit_baseline,
    score_on_new_speakers,
    train_voice,
    whisper_arrays,
)
from emotion.training.recipes.voices import corpus_of, describe_corpora, language_of
from emotion.training.recipes.whisper_weights import LICENCE
from emotion.training.recipes.work import Work

FACES = "FER2013 faces with FER+ votes, muxspace facial expressions"
UNLABELLED_FACES = f"{FACES}, faces without labels"
LICENCE_FILE = "LICENCE-whisper.txt"
NEUTRAL_INDEX = SEVEN_EMOTIONS.index("neutral")
CORPORA_PROTOCOL = (
    "the voice branch alone on corpora that it never heard: corpora in folds, each judged by a branch trained on all "
    "others and calibrated on the answers about the others"
)


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
        data_root: folder with ``ferplus/``, ``muxspace/``, ``faces/``, ``ravdess/``, ``emodb/`` and ``voices/``.
        output: the run folder to write.
        work_dir: keeps each stage's result; recipes share the stages that are the same.
        with_folds: whether to cross-validate the voice branch, by corpus and by speaker. Without, the confidence of
            voices is calibrated on speakers of corpora that it knows, and too high for others.

    Returns:
        The scores on validation data, as in ``metrics.json``.

    Raises:
        DatasetError: if a data set is missing or damaged.
        WeightsError: if Whisper's weights cannot be had, or the teacher's were not fetched.
    """
    work = Work(recipe, data_root, work_dir, reporter)
    check_data(work)
    heard = cut_voices(work)
    seen = align_faces(work)
    face = train_faces(work, seen)
    voice = train_voice(work, heard)
    strangers = answer_about_strangers(work, heard) if with_folds else {}
    model, joining = join_branches(work, voice, face, heard, seen, strangers)
    answers = answer_validation_data(work, model, heard, seen)
    calibration, temperatures = calibrate(answers, joining, strangers)
    metrics = score(work, answers, temperatures, calibration, joining.weights, heard)
    if strangers:
        metrics["new_corpora"] = {"protocol": CORPORA_PROTOCOL, **score_corpora(strangers, SEVEN_EMOTIONS)}
    baseline = compare_people(work, voice, face, heard, seen, joining.weights, calibration, strangers)
    run = write_model(work, model, calibration, metrics, output, heard, seen, baseline)
    if with_folds:
        metrics["folds"] = score_on_new_speakers(work, heard)
        write_scores(work, run, metrics)
    return metrics


def measure_new_corpora(
    recipe: Recipe, data_root: Path, work_dir: Path, *, left_out: str | None = None, reporter: Reporter = SILENT
) -> dict[str, Any]:
    """Trains a recipe's voice branch without corpora and scores it on them.

    Args:
        recipe, data_root, work_dir: as for ``make_shipped``, with which it shares results.
        left_out: the corpus to leave out; None to leave each out once, in folds.

    Returns:
        As ``score_corpora``, with the ``protocol``. The answers about a single corpus are not calibrated.

    Raises:
        DatasetError: if a data set is missing or damaged, or there is no such corpus.
    """
    work = Work(recipe, data_root, work_dir, reporter)
    heard = cut_voices(work)
    if left_out is None:
        scores = score_corpora(answer_about_strangers(work, heard), SEVEN_EMOTIONS)
        return {"protocol": CORPORA_PROTOCOL, **scores}
    scores = score_corpora(answer_new_corpora(work, heard, (left_out,)), SEVEN_EMOTIONS)
    return {"protocol": f"the voice branch alone, trained without {left_out}, not calibrated", **scores}


def check_data(work: Work) -> None:
    """Makes sure that the faces can be read and Whisper's weights are here, before hours are spent on other stages."""
    check_faces(work)
    whisper_arrays(work)


def join_branches(
    work: Work, voice: Branch, face: Branch, heard: HeardVoices, seen: SeenFaces, strangers: dict[str, CorpusAnswers]
) -> tuple[keras.Model, Joining]:
    """Joins the branches; returns the model, and how voice and face count in it.

    Args:
        strangers: as of ``answer_about_strangers``, whose corpora count alike; without any, validation voices count.
    """
    work.reporter.say("Weighing the branches against each other.")
    config, bank, seed = work.recipe.config(), heard.banks[work.recipe.voice], work.recipe.voices.seed
    if strangers:
        correction = fit_everywhere(strangers, SEVEN_EMOTIONS)
        voice = voice.shifted(NEUTRAL_INDEX, correction.neutral_offset)
        voices = join_equal([each.alone for each in strangers.values()])
        voices = voices.shifted(NEUTRAL_INDEX, correction.neutral_offset)
    else:
        voices = answer_windows(voice, bank, heard.chosen("validation"), SEVEN_EMOTIONS)
    joining = weigh_branches(voices, face, seen.validation, config, seed=seed)
    model = join_late(config, voice, face, joining.weights)
    round_to_half(model)
    return model, joining


def answer_validation_data(work: Work, model: keras.Model, heard: HeardVoices, seen: SeenFaces) -> dict[str, Answers]:
    """Asks the model about all validation data, by each kind of evidence."""
    work.reporter.say("Scoring on validation data.")
    config, cache = work.recipe.config(), heard.caches[work.recipe.voice]

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return np.asarray(model.predict_on_batch(inputs))

    clips = heard.clips("validation")
    decode_voices(clips, cache)  # their windows may have been kept longer than they were
    photographs = answer_photographs(predict, config, seen.validation)
    voices = answer_voices(predict, config, seen.validation, clips, cache, seed=work.recipe.voices.seed)
    return {"photograph": photographs, **voices}


def calibrate(
    answers: dict[str, Answers], joining: Joining, strangers: dict[str, CorpusAnswers]
) -> tuple[CalibrationConfig, dict[str, float]]:
    """Fits a temperature for each kind of evidence, and the confidence below which the answer is ``unsure``.

    Args:
        answers: about validation data.
        strangers: voices of corpora never heard, to which all is fitted but the face; without any, validation data.
    """
    weight_of_voice, weight_of_face = joining.weights
    if strangers:
        correction = fit_everywhere(strangers, SEVEN_EMOTIONS)
        temperatures = {"voice": weight_of_voice * correction.temperature, "both": joining.temperature}
    else:
        temperatures = {mode: answers[mode].fit_temperature() for mode in ("voice", "both")}
    # By itself a face needs no other temperature than its own weight.
    temperatures["photograph"] = weight_of_face
    unsure_below = choose_unsure(answers, temperatures)
    if strangers:
        unsure_below = max(unsure_below, correction.unsure_below)
    calibration = CalibrationConfig(
        face=weight_of_face, voice=temperatures["voice"], both=temperatures["both"], unsure_below=unsure_below
    )
    return calibration, temperatures


def score(
    work: Work, answers: dict[str, Answers], temperatures: dict[str, float], calibration: CalibrationConfig,
    weights: tuple[float, float], heard: HeardVoices,
) -> dict[str, Any]:  # fmt: skip
    """Scores the calibrated answers; those about voices also by language and corpus."""
    voices = heard.clips("validation")
    groups = {
        "by_language": np.array([language_of(clip) for clip in voices]),
        "by_corpus": np.array([corpus_of(clip) for clip in voices]),
    }

    def score_mode(mode: str) -> dict[str, Any]:
        of_voices = None if mode == "photograph" else groups
        return score_answers(answers[mode], mode, temperatures[mode], SEVEN_EMOTIONS, of_voices)

    return {
        "protocol": "validation data, speakers of the voices apart from training (seed "
        f"{work.recipe.voices.seed}); pairs of a face and a voice of the same emotion, of different people",
        "class_names": list(SEVEN_EMOTIONS),
        "unsure_below": calibration.unsure_below,
        "late_fusion_weights": {"voice": weights[0], "face": weights[1]},
        **{mode: score_mode(mode) for mode in EVIDENCE},
    }


def compare_people(
    work: Work, voice: Branch, face: Branch, heard: HeardVoices, seen: SeenFaces, weights: tuple[float, float],
    calibration: CalibrationConfig, strangers: dict[str, CorpusAnswers],
) -> BaselineHead:  # fmt: skip
    """Makes what a person is compared with themselves by; see ``emotion.models.baseline_head``."""
    features, _ = describe_windows(work, heard, voice.network)
    neutral = usual_neutral(seen.train, face, work.recipe.config())
    learned = np.concatenate([heard.chosen("train"), heard.chosen("unlabelled")])
    head = fit_baseline(work, heard, features, learned, heard.folder)
    kernel, bias = (weights[0] * array for array in head.get_layer("logits").get_weights())
    against = [each.with_baseline for each in strangers.values() if each.with_baseline is not None]
    temperature = weights[0] * fit_confidence(against).temperature if against else calibration.voice
    return BaselineHead(
        **OWN_MEAN, temperature_both=calibration.both, temperature_face=calibration.face,
        temperature_voice=temperature, neutral_index=NEUTRAL_INDEX,
        face=FaceHead(neutral=neutral, prior=natural_prior(), **FACE_BASELINE),
        voice=VoiceHead(kernel, bias),
    )  # fmt: skip


def write_model(
    work: Work, model: keras.Model, calibration: CalibrationConfig, metrics: dict[str, Any], output: Path,
    heard: HeardVoices, seen: SeenFaces, baseline: BaselineHead,
) -> Run:  # fmt: skip
    """Writes the run folder: what was learned from, the model as Keras and ONNX, its baseline, scores and card.

    Returns:
        The run, loaded.
    """
    recipe = work.recipe
    clips = {"train": _learned_voices(recipe, heard), "validation": heard.clips("validation")}
    config = dataclasses.replace(
        recipe.config(), calibration=calibration, data=_sources(recipe, clips["train"], seen.train)
    )
    make_folder(output)
    # The faces are too many to be listed, and lie in archives; the record says that they are missing from it.
    ids = {side: tuple(sorted(clip.clip_id for clip in clips[side])) for side in clips}
    split = Split(ids["train"], ids["validation"], (), "speaker", recipe.voices.seed)
    every_clip = [*clips["train"], *clips["validation"]]
    contents = heard.caches[recipe.voice].contents(every_clip)
    write_splits(split, every_clip, output / SPLITS_FILE, contents)
    add_unlisted(output / SPLITS_FILE, UNLABELLED_FACES if recipe.faces.has_teacher else FACES, split)
    if recipe.voice == WHISPER:
        write_whole(output / LICENCE_FILE, LICENCE)
    if recipe.architecture == MOBILENET:
        write_whole(output / teacher.LICENCE_FILE, teacher.LICENCE)
    write_run(output, config, model, half_precision=True)
    write_onnx(output, work.reporter)
    write_baseline(output, baseline)
    metrics["megabytes"] = (output / MODEL_FILE).stat().st_size / 1e6
    run = load_run(output)
    metrics["window_milliseconds"] = 1000 * time_window(run)
    write_scores(work, run, metrics)
    return run


def write_scores(work: Work, run: Run, metrics: dict[str, Any]) -> None:
    """Writes ``metrics.json`` and the card of a model that is written."""
    write_metrics(run.path, metrics)
    write_card(run.path, work.recipe, run.config, metrics, run.model.count_params())


def _learned_voices(recipe: Recipe, heard: HeardVoices) -> list[Clip]:
    """Returns the clips that the voice branch learns from; a pupil also learns from those without a label."""
    return [*heard.clips("train"), *([] if recipe.voice == WHISPER else heard.clips("unlabelled"))]


def _sources(recipe: Recipe, learned: list[Clip], faces: Stills) -> tuple[DataSource, ...]:
    part = "the encoder's first blocks" if recipe.voice == WHISPER else "as a teacher only"
    whisper = DataSource(f"Whisper tiny.en, {part} (OpenAI)", "MIT", 0)
    licence = "labels MIT, pictures without a stated licence; Apache-2.0"
    n_labelled = int(faces.targets.any(axis=(1, 2)).sum())
    shown = DataSource(FACES, licence, n_labelled)
    if recipe.faces.has_teacher:  # a pupil also learns from faces without labels
        shown = DataSource(UNLABELLED_FACES, licence, len(faces))
    if not recipe.has_eye:
        return shown, *describe_corpora(learned), whisper
    eye = "the face branch" if recipe.architecture == MOBILENET else "as a teacher only"
    return (
        shown,
        *describe_corpora(learned),
        whisper,
        DataSource(f"HSEmotion mobilenet_7, trained on AffectNet, {eye}", "Apache-2.0; AffectNet: research only", 0),
    )
