"""The stages of a recipe that concern voices: windows, training, and scores on speakers and corpora never heard."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from emotion.config import RunConfig
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.errors import DatasetError
from emotion.labels import EIGHT_EMOTIONS, SEVEN_EMOTIONS
from emotion.models.calibration import softmax
from emotion.models.mfcc_cnn_3d import join_towers
from emotion.training.recipes.joining import Branch
from emotion.training.recipes.light_voice import Teaching, Tower, train_light_network
from emotion.training.recipes.new_corpora import (
    CorpusAnswers,
    deal_corpora,
    gather_answers,
    language_of_corpus,
    read_answers,
    write_answers,
)
from emotion.training.recipes.own_baseline import FEATURES, answer_with_baseline, fit_baseline_head
from emotion.training.recipes.settings import MFCC, WHISPER
from emotion.training.recipes.voice_bank import VoiceBank, keep_common, make_bank
from emotion.training.recipes.voice_folds import N_FOLDS, cross_validate_voice
from emotion.training.recipes.voices import Voices, corpus_of, load_voices
from emotion.training.recipes.whisper_voice import hear, judge_heard, train_whisper_network
from emotion.training.recipes.whisper_weights import WHISPER_DIR, load_whisper_encoder
from emotion.training.recipes.work import Work, fingerprint, keep_network

VOICE_FOLDERS = ("ravdess", "emodb", "voices")
N_AT_ONCE = 64


@dataclass(frozen=True)
class HeardVoices:
    """Speech, ready to train on.

    Attributes:
        sides: clips, speakers apart.
        configs, caches, banks: by architecture; each network has its own sample rate and features.
        whisper: what Whisper's unchanged blocks make of the windows, ``(n, n_statistics)``.
        folder: for the networks.
    """

    sides: Voices
    configs: dict[str, RunConfig]
    caches: dict[str, ClipCache]
    banks: dict[str, VoiceBank]
    whisper: np.ndarray
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
    whisper = hear(banks[WHISPER], configs[WHISPER], whisper_arrays(work), windows / f"heard-{blocks}")
    folder = windows / fingerprint(work.data_root, (), choices)
    return HeardVoices(sides, configs, caches, banks, whisper, folder)


def train_voice(work: Work, heard: HeardVoices) -> Branch:
    """Trains the voice branch: Whisper's, and for a light design its own with Whisper's as the teacher."""
    learned = np.concatenate([heard.chosen("train"), heard.chosen("unlabelled")])
    network = train_voice_network(work, heard, learned, SEVEN_EMOTIONS, heard.folder)
    return Branch(network, *network.get_layer("logits").get_weights())


def train_voice_network(
    work: Work, heard: HeardVoices, learned: np.ndarray, class_names: tuple[str, ...], folder: Path, *,
    is_fold: bool = False,
) -> keras.Model:  # fmt: skip
    """Trains a voice network: from windows to logits.

    Args:
        learned: indices of the clips to learn from. From unlabelled ones only a pupil learns.
        is_fold: whether the network is only to be tested; a pupil then learns for fewer epochs.
    """
    choices, architecture = work.recipe.voices, work.recipe.voice
    configs = {name: dataclasses.replace(each, class_names=class_names) for name, each in heard.configs.items()}
    options = {"seed": choices.seed, "reporter": work.reporter}
    labelled = np.setdiff1d(learned, heard.chosen("unlabelled"))

    def train_teacher() -> keras.Model:
        bank = heard.banks[WHISPER]
        return train_whisper_network(
            bank, heard.whisper, labelled, configs[WHISPER], whisper_arrays(work), choices.whisper,
            folder=folder / WHISPER, **options,
        )  # fmt: skip

    if architecture == WHISPER:
        return keep_network(work, folder / f"{architecture}.keras", train_teacher)

    config = dataclasses.replace(configs[architecture], model=configs[architecture].model | {"audio_towers": 1})
    bank = heard.banks[architecture]

    def train_tower(name: str, tower: Tower) -> keras.Model:
        teacher = keep_network(work, folder / f"{WHISPER}.keras", train_teacher)
        logits = judge_heard(teacher, heard.whisper)
        of_tower = [not tower.corpora or corpus_of(bank.clips[index]) in tower.corpora for index in learned]
        return train_light_network(
            bank, learned[of_tower], np.intersect1d(learned[of_tower], labelled), config, choices.light,
            Teaching(softmax(logits), heard.whisper),
            epochs=tower.fold_epochs if is_fold else tower.epochs, folder=folder / name, **options,
        )  # fmt: skip

    towers = {"-".join((architecture, *tower.corpora)): tower for tower in choices.light.towers}
    networks = [
        keep_network(work, folder / f"{name}.keras", partial(train_tower, name, tower))
        for name, tower in towers.items()
    ]
    return join_towers(configs[architecture], networks, [tower.share for tower in towers.values()])


def score_on_new_speakers(work: Work, heard: HeardVoices) -> dict[str, Any]:
    """Cross-validates the voice branch by speaker."""
    work.reporter.say("Cross-validating the voice branch.")
    scores = cross_validate_voice(
        heard.banks[work.recipe.voice],
        heard.usable(),
        lambda learned, folder: train_voice_network(work, heard, learned, EIGHT_EMOTIONS, folder, is_fold=True),
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
        return heard.whisper, judge_heard(network, heard.whisper)
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
    network = train_voice_network(work, heard, learned, SEVEN_EMOTIONS, folder, is_fold=True)
    features, logits = describe_windows(work, heard, network)
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


def answer_about_strangers(work: Work, heard: HeardVoices) -> dict[str, CorpusAnswers]:
    """Asks about each corpus a voice branch that learned from neither it nor the others of its fold."""
    answers: dict[str, CorpusAnswers] = {}
    for fold in deal_corpora(heard.banks[WHISPER], work.recipe.voices.corpus_folds):
        answers |= answer_new_corpora(work, heard, fold)
    return answers


def whisper_arrays(work: Work) -> dict[str, np.ndarray]:
    """Returns the weights of the blocks of Whisper that the recipe takes."""
    return load_whisper_encoder(WHISPER_DIR, work.recipe.voices.whisper_blocks, reporter=work.reporter)
