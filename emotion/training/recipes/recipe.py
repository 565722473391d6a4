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
| ``join_branches`` | both branches, validation data | |
| ``calibrate`` and ``score`` | the model, validation data | |
| ``write_model`` | all of that | the run folder |
| ``score_on_new_corpora`` | windows | ``voices-KEY/KEY/corpora/``: networks made without some corpora, their answers |
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
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.datasets.split_files import add_unlisted, write_splits
from emotion.datasets.splits import Split
from emotion.errors import DatasetError
from emotion.labels import EIGHT_EMOTIONS, SEVEN_EMOTIONS
from emotion.models.baseline_head import BaselineHead, FaceHead, VoiceHead, write_baseline
from emotion.models.calibration import softmax
from emotion.models.export_onnx import write_onnx
from emotion.models.half_precision import round_to_half
from emotion.models.run_folder import MODEL_FILE, SPLITS_FILE, load_run, time_window, write_metrics, write_run
from emotion.training.recipes import teacher
from emotion.training.recipes.card import write_card
from emotion.training.recipes.face_stages import SeenFaces, align_faces, check_faces, train_faces, usual_neutral
from emotion.training.recipes.joining import Branch, join_late, weigh_branches
from emotion.training.recipes.light_voice import Teaching, train_light_network
from emotion.training.recipes.new_corpora import (
    CorpusAnswers,
    deal_corpora,
    gather_answers,
    language_of_corpus,
    read_answers,
    score_corpora,
    write_answers,
)
from emotion.training.recipes.own_baseline import FEATURES, answer_with_baseline, fit_baseline_head
from emotion.training.recipes.scoring import (
    EVIDENCE,
    Answers,
    answer_photographs,
    answer_voices,
    choose_unsure,
    fit_temperatures,
    score_answers,
)
from emotion.training.recipes.settings import FACE_BASELINE, MFCC, MOBILENET, OWN_MEAN, WHISPER, Recipe, natural_prior
from emotion.training.recipes.voice_folds import N_FOLDS, cross_validate_voice
from emotion.training.recipes.voices import (
    VoiceBank,
    Voices,
    corpus_of,
    describe_corpora,
    keep_common,
    language_of,
    load_voices,
    make_bank,
)
from emotion.training.recipes.whisper_voice import Heard, describe_heard, hear, train_whisper_network
from emotion.training.recipes.whisper_weights import LICENCE, WHISPER_DIR, load_whisper_encoder
from emotion.training.recipes.work import Work, fingerprint, keep_network

VOICE_FOLDERS = ("ravdess", "emodb", "voices")
FACES = "FER2013 faces with FER+ votes, muxspace facial expressions, faces without labels"
LICENCE_FILE = "LICENCE-whisper.txt"
CORPORA_PROTOCOL = (
    "the voice branch alone on corpora that it never heard: corpora in folds, each judged by a branch trained on all "
    "others and calibrated on the answers about the others"
)
N_AT_ONCE = 64


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
    model, weights = join_branches(work, voice, face, heard, seen)
    answers = answer_validation_data(work, model, heard, seen)
    on_new_corpora = score_on_new_corpora(work, heard) if with_folds else None
    calibration, temperatures = calibrate(answers, weights, on_new_corpora)
    metrics = score(work, answers, temperatures, calibration, weights, heard)
    if on_new_corpora:
        metrics["new_corpora"] = on_new_corpora
    baseline = compare_people(work, voice, heard, seen, weights, calibration, on_new_corpora)
    write_model(work, model, calibration, metrics, output, heard, seen, baseline)
    if with_folds:
        metrics["folds"] = score_on_new_speakers(work, heard)
        write_scores(work, output, metrics)
    return metrics


def measure_new_corpora(
    recipe: Recipe, data_root: Path, work_dir: Path, *, left_out: str | None = None, reporter: Reporter = SILENT
) -> dict[str, Any]:
    """Trains a recipe's voice branch without corpora and scores it on them.

    Args:
        recipe, data_root, work_dir: as for ``make_shipped``, with which it shares results.
        left_out: the corpus to leave out; None to leave each out once, in folds.

    Returns:
        As ``score_on_new_corpora``. The answers about a single corpus are not calibrated.

    Raises:
        DatasetError: if a data set is missing or damaged, or there is no such corpus.
    """
    work = Work(recipe, data_root, work_dir, reporter)
    heard = cut_voices(work)
    if left_out is None:
        return score_on_new_corpora(work, heard)
    scores = score_corpora(answer_new_corpora(work, heard, (left_out,)), SEVEN_EMOTIONS)
    return {"protocol": f"the voice branch alone, trained without {left_out}, not calibrated", **scores}


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
        """Returns indices, in the banks, of the clips of ``train``, ``validation`` or ``unlabelled`` with speech."""
        wanted = {clip.clip_id for clip in getattr(self.sides, side)}
        spoken = self.banks[WHISPER].spoken()
        return np.flatnonzero([clip.clip_id in wanted for clip in self.sides.clips] & spoken)

    def usable(self, left_out: tuple[str, ...] = ()) -> np.ndarray:
        """Returns indices of all clips that may be learned from, but those of some corpora."""
        corpora = np.array([corpus_of(clip) for clip in self.sides.clips])
        usable = np.concatenate([self.chosen(side) for side in ("train", "validation", "unlabelled")])
        return np.sort(usable[~np.isin(corpora[usable], left_out)])

    def clips(self, side: str) -> list[Clip]:
        """Returns those clips."""
        return [self.sides.clips[index] for index in self.chosen(side)]


def cut_voices(work: Work) -> HeardVoices:
    """Sets speakers apart, and cuts and varies the windows of all clips; both designs, if one teaches the other."""
    recipe, choices = work.recipe, work.recipe.voices
    sides = load_voices(
        work.data_root, SEVEN_EMOTIONS, validation_fraction=choices.validation_fraction, seed=choices.seed,
        only_tested=choices.only_tested, without_labels=choices.without_labels,
    )  # fmt: skip
    configs = {name: dataclasses.replace(recipe.config(name), modalities=("audio",)) for name in (MFCC, WHISPER)}
    forms = [(config.audio, config.window) for config in configs.values()]
    key = fingerprint(work.data_root, VOICE_FOLDERS, choices.n_variants, choices.seed, forms)
    windows = work.folder / f"voices-{key}"
    caches = {name: ClipCache(work.folder / "clips", config) for name, config in configs.items()}
    banks = {}
    for name in dict.fromkeys((WHISPER, recipe.voice)):
        work.reporter.say(f"Windows of {len(sides.clips)} voices for {name}.")
        banks[name] = make_bank(
            sides.clips, caches[name], configs[name], n_variants=choices.n_variants, seed=choices.seed,
            folder=windows / name,
        )  # fmt: skip
    if len(banks) > 1:
        banks = dict(zip(banks, keep_common(*banks.values()), strict=True))
    blocks = f"{choices.whisper_blocks}-{'-'.join(map(str, choices.whisper_pooled))}"
    whisper = hear(banks[WHISPER], configs[WHISPER], _whisper_arrays(work), windows / f"heard-{blocks}")
    folder = windows / fingerprint(work.data_root, (), choices)
    return HeardVoices(sides, configs, caches, banks, whisper, folder)


def train_voice(work: Work, heard: HeardVoices) -> Branch:
    """Trains the voice branch: Whisper's, and for a light design its own with Whisper's as the teacher."""
    learned = np.concatenate([heard.chosen("train"), heard.chosen("unlabelled")])
    network = train_voice_network(work, heard, learned, SEVEN_EMOTIONS, heard.folder)
    return Branch(network, *network.get_layer("logits").get_weights())


def train_voice_network(
    work: Work, heard: HeardVoices, learned: np.ndarray, class_names: tuple[str, ...], folder: Path
) -> keras.Model:
    """Trains a voice network: from windows to logits.

    Args:
        learned: indices of the clips to learn from. From unlabelled ones only a pupil learns.
        folder: for the training.
    """
    choices, architecture = work.recipe.voices, work.recipe.voice
    configs = {name: dataclasses.replace(each, class_names=class_names) for name, each in heard.configs.items()}
    options = {"seed": choices.seed, "reporter": work.reporter}
    labelled = np.setdiff1d(learned, heard.chosen("unlabelled"))

    def train_teacher() -> keras.Model:
        bank = heard.banks[WHISPER]
        return train_whisper_network(
            bank, heard.whisper, labelled, configs[WHISPER], _whisper_arrays(work), choices.whisper,
            folder=folder / WHISPER, **options,
        )  # fmt: skip

    def train_pupil() -> keras.Model:
        teacher = keep_network(work, folder / f"{WHISPER}.keras", train_teacher)
        _, logits = describe_heard(teacher, heard.whisper, unchanged=not choices.whisper.epochs)
        teaching = Teaching(softmax(logits), heard.whisper.statistics)
        return train_light_network(
            heard.banks[architecture], learned, labelled, configs[architecture], choices.light, teaching,
            folder=folder / architecture, **options,
        )  # fmt: skip

    make = train_teacher if architecture == WHISPER else train_pupil
    return keep_network(work, folder / f"{architecture}.keras", make)


def score_on_new_speakers(work: Work, heard: HeardVoices) -> dict[str, Any]:
    """Cross-validates the voice branch by speaker."""
    work.reporter.say("Cross-validating the voice branch.")
    scores = cross_validate_voice(
        heard.banks[work.recipe.voice],
        heard.usable(),
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


def describe_windows(work: Work, heard: HeardVoices, network: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a voice network makes of all windows of its bank: features for its heads, and logits."""
    bank = heard.banks[work.recipe.voice]
    if work.recipe.voice == WHISPER:
        return describe_heard(network, heard.whisper, unchanged=not work.recipe.voices.whisper.epochs)
    layers = [network.get_layer(name).output for name in (FEATURES, "logits")]
    both = keras.Model(network.input, layers)
    parts = [
        both.predict_on_batch({"audio": bank.inputs(slice(start, start + N_AT_ONCE))})
        for start in range(0, len(bank), N_AT_ONCE)
    ]
    features, logits = (np.concatenate([np.asarray(part) for part in each]) for each in zip(*parts, strict=True))
    return features, logits


def fit_baseline(
    work: Work, heard: HeardVoices, features: np.ndarray, learned: np.ndarray, folder: Path
) -> keras.Model:
    """Fits the head that compares a person with themselves, on the labelled ones of the clips of these indices."""
    labelled = np.setdiff1d(learned, heard.chosen("unlabelled"))
    return keep_network(
        work, folder / f"{work.recipe.voice}-baseline.keras",
        lambda: fit_baseline_head(
            features, heard.banks[work.recipe.voice], labelled, SEVEN_EMOTIONS, work.recipe.voices.baseline,
            seed=work.recipe.voices.seed,
        ),
    )  # fmt: skip


def answer_new_corpora(work: Work, heard: HeardVoices, left_out: tuple[str, ...]) -> dict[str, CorpusAnswers]:
    """Makes the voice branch without some corpora and asks it about these.

    Raises:
        DatasetError: if there is no corpus of a name.
    """
    bank = heard.banks[work.recipe.voice]
    corpora = np.array([corpus_of(clip) for clip in bank.clips])
    unknown = sorted(set(left_out) - set(corpora.tolist()))
    if unknown:
        known = ", ".join(sorted(set(corpora.tolist())))
        raise DatasetError(f"No corpus is called {', '.join(unknown)}. There are {known}.")
    folder = heard.folder / "corpora" / "+".join(sorted(left_out))
    kept = folder / f"{work.recipe.voice}-answers.npz"
    if kept.is_file():
        return read_answers(kept)
    work.reporter.say(f"Without {', '.join(left_out)}.")
    learned = heard.usable(left_out)
    features, logits = describe_windows(work, heard, train_voice_network(work, heard, learned, SEVEN_EMOTIONS, folder))
    head = fit_baseline(work, heard, features, learned, folder)
    classes = bank.classes(SEVEN_EMOTIONS)
    labelled = np.setdiff1d(learned, heard.chosen("unlabelled"))
    is_asked = np.isin(classes, np.unique(classes[labelled])) & (classes >= 0) & bank.spoken()
    answers = {}
    for name in left_out:
        asked = np.flatnonzero(is_asked & (corpora == name))
        alone = gather_answers(bank, asked, lambda i: softmax(logits[bank.rows_of(i, plain=True)]), SEVEN_EMOTIONS)
        against = answer_with_baseline(
            head, features, bank, asked, SEVEN_EMOTIONS, seed=work.recipe.voices.seed
        )  # fmt: skip
        if alone is not None:
            with_baseline = gather_answers(bank, asked, against.get, SEVEN_EMOTIONS)
            answers[name] = CorpusAnswers(language_of_corpus(bank, name), alone, with_baseline)
    write_answers(kept, answers)
    return answers


def score_on_new_corpora(work: Work, heard: HeardVoices) -> dict[str, Any]:
    """Scores the voice branch on each corpus, after training without it and those of its fold."""
    answers: dict[str, CorpusAnswers] = {}
    for fold in deal_corpora(heard.banks[WHISPER], work.recipe.voices.corpus_folds):
        answers |= answer_new_corpora(work, heard, fold)
    return {"protocol": CORPORA_PROTOCOL, **score_corpora(answers, SEVEN_EMOTIONS)}


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
        predict, config, seen.validation, heard.clips("validation"), cache, seed=work.recipe.voices.seed
    )  # fmt: skip
    return {"photograph": photographs, **voices}


def calibrate(
    answers: dict[str, Answers], weights: tuple[float, float], on_new_corpora: dict[str, Any] | None
) -> tuple[CalibrationConfig, dict[str, float]]:
    """Fits a temperature for each kind of evidence, and the confidence below which the answer is ``unsure``.

    Args:
        answers: about validation data.
        weights: of the voice's and the face's logits in the model.
        on_new_corpora: what ``score_on_new_corpora`` returned; the temperature of voices and the least threshold are
            those for voices of corpora never heard. None to fit all to validation data.
    """
    temperatures = fit_temperatures(answers, weights[1])
    unsure_below = choose_unsure(answers, temperatures)
    if on_new_corpora:
        for_strangers = weights[0] * on_new_corpora["temperature"]
        # Pairs hold voices of the corpora that were learned from; on others they are too sure by as much.
        temperatures["both"] *= max(1.0, for_strangers / temperatures["voice"])
        temperatures["voice"] = for_strangers
        unsure_below = max(unsure_below, on_new_corpora["unsure_below"])
    named = {name: temperatures[name] for name in ("voice", "both")}
    return CalibrationConfig(face=weights[1], **named, unsure_below=unsure_below), temperatures


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
    work: Work, voice: Branch, heard: HeardVoices, seen: SeenFaces, weights: tuple[float, float],
    calibration: CalibrationConfig, on_new_corpora: dict[str, Any] | None,
) -> BaselineHead:  # fmt: skip
    """Makes what a person is compared with themselves by; see ``emotion.models.baseline_head``."""
    features, _ = describe_windows(work, heard, voice.network)
    learned = np.concatenate([heard.chosen("train"), heard.chosen("unlabelled")])
    head = fit_baseline(work, heard, features, learned, heard.folder)
    kernel, bias = (weights[0] * array for array in head.get_layer("logits").get_weights())
    temperature = weights[0] * on_new_corpora["temperature_with_baseline"] if on_new_corpora else calibration.voice
    return BaselineHead(
        **OWN_MEAN, temperature_both=calibration.both, temperature_face=calibration.face,
        temperature_voice=temperature, neutral_index=SEVEN_EMOTIONS.index("neutral"),
        face=FaceHead(neutral=usual_neutral(seen.train), prior=natural_prior(), **FACE_BASELINE),
        voice=VoiceHead(kernel, bias),
    )  # fmt: skip


def write_model(
    work: Work, model: keras.Model, calibration: CalibrationConfig, metrics: dict[str, Any], output: Path,
    heard: HeardVoices, seen: SeenFaces, baseline: BaselineHead,
) -> None:  # fmt: skip
    """Writes the run folder: what was learned from, the model as Keras and ONNX, its baseline, scores and card."""
    recipe = work.recipe
    clips = {"train": _learned_voices(recipe, heard), "validation": heard.clips("validation")}
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
    if recipe.architecture == MOBILENET:
        (output / teacher.LICENCE_FILE).write_text(teacher.LICENCE, encoding="utf-8")
    write_run(output, config, model, half_precision=True)
    write_onnx(output, work.reporter)
    write_baseline(output, baseline)
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
    return [*heard.clips("train"), *([] if recipe.voice == WHISPER else heard.clips("unlabelled"))]


def _sources(recipe: Recipe, learned: list[Clip], n_faces: int) -> tuple[DataSource, ...]:
    part = "the encoder's first blocks" if recipe.voice == WHISPER else "as a teacher only"
    eye = "the face branch" if recipe.architecture == MOBILENET else "as a teacher only"
    return (
        DataSource(FACES, "labels MIT, pictures without a stated licence; Apache-2.0", n_faces),
        *describe_corpora(learned),
        DataSource(f"Whisper tiny.en, {part} (OpenAI)", "MIT", 0),
        DataSource(f"HSEmotion mobilenet_7, trained on AffectNet, {eye}", "Apache-2.0; AffectNet: research only", 0),
    )
