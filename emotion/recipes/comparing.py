"""Joint fusion beside late fusion: the same branches, the same pairs, and what each makes of them."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from emotion.config import RunConfig
from emotion.recipes.fusion import Branch, Features, join_jointly
from emotion.recipes.scoring import Answers
from emotion.recipes.stills import Stills
from emotion.recipes.voices import VoiceBank
from emotion.recipes.weighing import face_features

N_AT_ONCE = 128


@dataclass(frozen=True)
class JointChoices:
    """How the layers of the joint fusion are trained.

    Attributes:
        units, dropout: of the dense layer between the branches and the answer.
        n_faces: set in motion to draw pairs from, of each class as many.
        n_steps, learning_rate, swapped: see ``join_jointly``.
    """

    units: int = 64
    dropout: float = 0.3
    n_faces: int = 2100
    n_steps: int = 2000
    learning_rate: float = 1e-3
    swapped: float = 0.3


def train_joint_model(
    config: RunConfig, voice: Branch, face: Branch, faces: Stills, bank: VoiceBank, chosen: np.ndarray,
    choices: JointChoices, *, seed: int,
) -> keras.Model:  # fmt: skip
    """Joins two branches by layers that learn from pairs of the faces and voices the branches learned from.

    Args:
        config: of the late fusion.
        voice, face: the branches.
        faces, bank, chosen: faces, windows of voices, and the indices of the clips to draw from.
        choices: how to train.
        seed: of weights and draws.
    """
    settings = {"fusion_units": choices.units, "fusion_dropout": choices.dropout, "fusion_still": False}
    joint_config = dataclasses.replace(config, model={**config.model, **settings})
    rng = np.random.default_rng(seed)
    of_class = [np.flatnonzero(faces.majority == index) for index in range(len(config.class_names))]
    n_each = max(1, choices.n_faces // len(of_class))
    shown = np.concatenate([rng.permutation(part)[:n_each] for part in of_class])
    rows = bank.rows_of(chosen)
    listener = keras.Model(voice.network.input, voice.network.get_layer("audio_features").output)
    heard = [
        np.asarray(listener.predict_on_batch({"audio": np.stack([bank.window(row) for row in part])}))
        for part in np.array_split(rows, max(1, len(rows) // N_AT_ONCE))
    ]
    voices = Features(np.concatenate(heard), bank.classes(config.class_names)[bank.clip_of(rows)])
    seen = Features(face_features(face, faces, shown, config), faces.majority[shown])
    return join_jointly(
        joint_config, voice, face, voices, seen, n_steps=choices.n_steps, learning_rate=choices.learning_rate,
        swapped=choices.swapped, seed=seed,
    )  # fmt: skip


def compare_fusions(answers: dict[str, dict[str, Answers]], score: Callable) -> dict[str, dict[str, dict[str, float]]]:
    """Scores each way of joining by voices alone and by pairs, each at the temperature that fits it.

    Args:
        answers: by the fusion's name, then by evidence mode.
        score: of ``Answers`` and a temperature, such as ``score_answers``.

    Returns:
        By fusion and mode ``uar``, ``accuracy`` and ``nll``, the mean negative log likelihood of the truth.
    """
    return {
        fusion: {mode: _compare(of_mode, score) for mode, of_mode in by_mode.items() if mode in ("voice", "both")}
        for fusion, by_mode in answers.items()
    }


def _compare(answers: Answers, score: Callable) -> dict[str, float]:
    temperature = answers.fit_temperature()
    merged = answers.merged(temperature)
    truth = np.maximum(merged[np.arange(len(merged)), answers.classes], 1e-12)
    scores = score(answers, temperature)
    return {"uar": scores["uar"], "accuracy": scores["accuracy"], "nll": float(-np.mean(np.log(truth)))}
