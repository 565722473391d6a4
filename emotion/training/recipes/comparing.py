"""Joint fusion beside late fusion: the same branches, the same pairs, and what each makes of them."""

import dataclasses
from dataclasses import dataclass

import keras
import numpy as np

from emotion.config import RunConfig
from emotion.scores import compute_confusion_matrix, compute_scores
from emotion.training.recipes.joining import Branch, Features, answer_pairs, fit_late_weights, join_jointly
from emotion.training.recipes.scoring import Answers
from emotion.training.recipes.stills import Stills
from emotion.training.recipes.voices import VoiceBank
from emotion.training.recipes.weighing import face_features

N_AT_ONCE = 128
SMALLEST = 1e-12


@dataclass(frozen=True)
class JointChoices:
    """How the layers of the joint fusion are trained.

    Attributes:
        units, dropout: of the dense layer between the branches and the answer.
        n_faces: set in motion to draw pairs from, of each class as many.
        n_windows: of voices to draw pairs from, at most.
        n_steps, learning_rate, swapped: see ``join_jointly``.
    """

    units: int = 64
    dropout: float = 0.3
    n_faces: int = 2100
    n_windows: int = 4000
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
    rows = rng.permutation(bank.rows_of(chosen))[: choices.n_windows]
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


def compare_fusions(late: dict[str, Answers], joint: dict[str, Answers], n_classes: int) -> dict[str, dict[str, float]]:
    """Scores both ways of joining by the same pairs, each speaker by what was fitted on the other speakers.

    The weights of the late fusion were fitted on these pairs, which the joint layers never saw: so for this comparison
    they are fitted anew without the speaker who is judged, and so is the temperature of the joint fusion.

    Args:
        late, joint: answers for ``voice`` and ``both``.
        n_classes: number of classes.

    Returns:
        For ``late`` and ``joint`` the ``uar``, ``accuracy`` and ``nll``, the mean negative log likelihood of the truth.
    """
    truth = late["both"].classes
    answers = np.zeros((2, len(truth), n_classes))
    # In late fusion the logarithms of the answers are the branches' weighted logits, but for a constant.
    heard = [np.log(np.maximum(clip, SMALLEST)) for clip in late["voice"].clips]
    joined = [np.log(np.maximum(clip, SMALLEST)) for clip in late["both"].clips]
    seen = np.stack([np.mean(both - voice, axis=0) for both, voice in zip(joined, heard, strict=True)])
    for others, these in late["both"].apart():
        weights = fit_late_weights([heard[i] for i in others], seen[others], truth[others])
        answers[0, these] = answer_pairs([heard[i] for i in these], seen[these], weights)
        answers[1, these] = joint["both"].part(these).merged(joint["both"].part(others).fit_temperature())
    return {name: _score(rows, truth, n_classes) for name, rows in zip(("late", "joint"), answers, strict=True)}


def _score(answers: np.ndarray, truth: np.ndarray, n_classes: int) -> dict[str, float]:
    scores = compute_scores(compute_confusion_matrix(truth, answers.argmax(axis=1), n_classes))
    of_truth = np.maximum(answers[np.arange(len(truth)), truth], SMALLEST)
    return {"uar": scores["uar"], "accuracy": scores["accuracy"], "nll": float(-np.mean(np.log(of_truth)))}
