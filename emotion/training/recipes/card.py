"""The scores of a recipe's model on the console, and its model card (Mitchell et al. 2019).

All numbers come from the metrics of the model that lies beside the card.
"""

from pathlib import Path
from typing import Any

from emotion.config import RunConfig
from emotion.files import write_whole
from emotion.models.run_folder import CARD_FILE
from emotion.outputs.score_tables import format_table
from emotion.training.recipes.new_corpora import format_corpora
from emotion.training.recipes.settings import WHISPER, Recipe

TITLE = "# Model card: "
GROUPS = {"by_sex": "{}", "by_language": "language {}", "by_corpus": "corpus {}", "by_speaker": "speaker {}"}
MIN_CLIPS = 20  # below which a speaker's score says nothing

HEARS = {
    "mfcc_cnn_3d": "a 2D-CNN on MFCCs (40 x 44) of {towers} towers beside each other",
    WHISPER: "the first {blocks} blocks of Whisper tiny.en's encoder on a log-mel picture (80 x 300)",
}

SEES = {
    "mfcc_cnn_3d": "a 3D-CNN on aligned faces of 112 x 112",
    "whisper_mobilenet": "HSEmotion's MobileNetV1, trained on AffectNet, on aligned faces of 224 x 224, with a second "
    "head for photographs",
}

CITED = (
    "FER2013: Goodfellow et al. 2013. FER+: Barsoum et al. 2016. RAVDESS: Livingstone & Russo 2018. EmoDB: Burkhardt "
    "et al. 2005. Whisper: Radford et al. 2022."
)
CITED_EYE = " AffectNet: Mollahosseini et al. 2019. HSEmotion: Savchenko 2021."

LIMITS = """## What it cannot do

- It has never seen a labelled face that talks: it learned from photographs. `docs/models_shipped.md` gives its scores
  on 21 silent clips of people who talk.
- A resting face is not neutral for it: brows, lips and eyelids differ between people. Give it a neutral clip of the
  person (`--reference`), or several clips of one person (`--adapt`).
- It judges faces in profile, covered faces, and faces below about 30 pixels poorly or not at all.
- On corpora of speech that it never heard it is right much less often; see the table. Most voices are acted, in a few
  languages. It learned no singing or whispering, and surprise and disgust from few people.
- Whatever Silero VAD takes for speech counts as a voice: of the noises, chords and tones tried, one of 200 Hz did.
- It knows seven expressions. Contempt, boredom and mixtures have no class; calm counts as neutral.
- Most training faces and voices are those of Western actors and of people in news, film and stock photos. How well it
  does for others was not measured.

## Intended use

Research and teaching on expressions, demonstrations, and experiments with your own recordings, by consent.

It predicts what an expression looks and sounds like to the people who labelled the data, not what a person feels. The
European Union forbids inferring emotions at work and in schools (AI Act, Article 5); people must be told where an
emotion recognition system is used on them (Article 50). Do not use it to decide anything about a person.
"""


def is_made_by(output: Path, name: str) -> bool:
    """Whether a run folder holds a model that this recipe made."""
    card = output / CARD_FILE
    return card.is_file() and card.read_text(encoding="utf-8").startswith(f"{TITLE}{name}\n")


def write_card(output: Path, recipe: Recipe, config: RunConfig, metrics: dict[str, Any], n_weights: int) -> None:
    """Writes the card into a run folder, from the model's settings and from what ``make_shipped`` measured."""
    hears = HEARS[recipe.voice].format(blocks=recipe.voices.whisper_blocks, towers=len(recipe.voices.light.towers))
    sees = SEES[recipe.architecture]
    if recipe.voice != WHISPER and recipe.has_eye:
        sees += ", which learned from HSEmotion's AffectNet network"
    name = recipe.name or output.name
    parts = [
        f"{TITLE}{name}\n",
        f"Made by `python train_model.py --recipe {name} --data_root DIR`. `docs/models_shipped.md` tells how.\n",
        "**What it does.** From a window of 3 s it recognises seven expressions: neutral, happy, sad, angry, fearful, "
        "disgust, surprised; by the face, by the voice, or by both, and it says by which. It is "
        f"{hears} and {sees}, joined by a weighted sum of logits; "
        f"{n_weights / 1e6:.1f} million weights, stored as float16 and computed with as float32, "
        f"{metrics['megabytes']:.1f} MB.\n",
        "## Training data, and what follows from it\n",
        format_table(
            ["data", "licence", "pictures or clips"],
            [[source.name, source.licence, str(source.n_clips or "")] for source in config.data],
        ),
        f"\n{CITED}{CITED_EYE * recipe.has_eye}\n",
        "RAVDESS's licence forbids commercial use: **these weights are for non-commercial research.** Faces and voices "
        "come from different people; no video of a talking face was used. The training settings in `config.json` are "
        "the program's defaults; the recipe's own are in `emotion/training/recipes/settings.py`.\n",
        "## Scores\n",
        f"On {metrics['protocol']}. The faces are FER+ validation pictures with more than half of the votes on one "
        "class. Some of the recipe's settings were chosen on the same data, so expect less on other people and "
        "recordings.\n",
        _scores_table(metrics),
        "ECE is the expected calibration error: the mean gap between confidence and accuracy. For voices and pairs "
        "each speaker is scored at the temperature fitted on the others. In brackets: what chance alone would make of "
        "it on as many clips if every answer were right as often as its confidence says. Below a confidence of "
        f"{metrics['unsure_below']:.2f} the answer is `unsure`.\n",
        _folds_table(metrics),
        _corpora_table(metrics),
        f"Recall by emotion, and UAR by sex, language, corpus and speaker (with {MIN_CLIPS} clips or more). Some "
        "corpora hold neutral speech alone, which is easy.\n",
        _groups_table(metrics),
        "`splits.csv` lists the voices it was trained and validated on, with the SHA-256 of each file, so that "
        "`python -m emotion.evaluate` leaves them out. The faces are not listed: they lie in archives.\n",
        LIMITS,
    ]
    write_whole(output / CARD_FILE, "\n".join(part for part in parts if part))


def format_scores(metrics: dict[str, Any]) -> str:
    """Returns the scores that ``make_shipped`` measured, for the console."""
    better = metrics["voice"]["uar"]
    return "\n".join([
        f"{metrics['protocol']}:",
        _scores_table(metrics),
        f"pairs above the voice alone: {100 * (metrics['both']['uar'] - better):+.1f} points of UAR",
        f"unsure below a confidence of {metrics['unsure_below']:.2f}",
        _folds_table(metrics),
        _corpora_table(metrics),
        f"model file {metrics['megabytes']:.1f} MB; one window {metrics['window_milliseconds']:.0f} ms on this machine",
    ])  # fmt: skip


def _scores_table(metrics: dict[str, Any]) -> str:
    names = {
        "photograph": "face, as a photograph",
        "voice": "voice",
        "both": "voice and moving face",
    }
    rows = []
    for mode, words in names.items():
        scores = metrics[mode]
        ece = f"{scores['ece']:.3f} ({scores['ece_if_perfect']:.3f})"
        rows.append([words, _uar(scores), f"{scores['accuracy']:.1%}", ece, str(scores["n"])])
    return format_table(["evidence", "UAR (95 % interval)", "accuracy", "ECE (if perfect)", "n"], rows) + "\n"


def _folds_table(metrics: dict[str, Any]) -> str:
    if "folds" not in metrics:
        return ""
    by_number = metrics["folds"]["by_number_of_classes"]
    rows = [[number, _uar(scores), str(scores["n"])] for number, scores in by_number.items()]
    table = format_table(["classes", "UAR (95 % interval)", "n"], rows)
    return f"{metrics['folds']['protocol']}:\n\n{table}\n"


def _corpora_table(metrics: dict[str, Any]) -> str:
    if "new_corpora" not in metrics:
        return ""
    return f"UAR on {metrics['new_corpora']['protocol']}:\n\n{format_corpora(metrics['new_corpora'])}\n"


def _groups_table(metrics: dict[str, Any]) -> str:
    recalls = []
    for mode in ("photograph", "voice", "both"):
        by_class = [row["recall"] for row in metrics[mode]["per_class"].values()]
        recalls.append([mode, *("none" if recall is None else f"{recall:.0%}" for recall in by_class)])
    rows = []
    for kind, words in GROUPS.items():
        for group, scores in metrics["voice"][kind].items():
            if kind == "by_speaker" and scores["n"] < MIN_CLIPS:
                continue
            uars = (scores["uar"], metrics["both"][kind][group]["uar"])
            rows.append([words.format(group), *(f"{uar:.0%}" for uar in uars), str(scores["n"])])
    groups = format_table(["voices", "voice alone, UAR", "voice with a face, UAR", "n"], rows)
    return f"{format_table(['evidence', *metrics['class_names']], recalls)}\n\n{groups}\n"


def _uar(scores: dict[str, Any]) -> str:
    low, high = scores["intervals"]["uar"]
    return f"{scores['uar']:.1%} ({low:.1%} to {high:.1%})"
