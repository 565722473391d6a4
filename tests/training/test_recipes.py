"""The shipped model's recipe, from folders of data to a run folder, on a handful of drawn faces and made voices."""

import dataclasses
import json

import cv2
import keras
import numpy as np
import pytest
import soundfile
from face_data import MadeTeacher, write_ferplus, write_unlabelled

from emotion.config import RECIPE_NAMES
from emotion.console import SILENT
from emotion.datasets import emodb
from emotion.datasets.cache import ClipCache
from emotion.datasets.clips import Clip
from emotion.datasets.synthetic.faces import draw_face
from emotion.datasets.synthetic.voices import synthesize_voice
from emotion.errors import DatasetError
from emotion.evaluation.training_record import load_seen
from emotion.labels import EIGHT_EMOTIONS, EMODB_EMOTIONS, RAVDESS_EMOTIONS, SEVEN_EMOTIONS
from emotion.models import mfcc_cnn_3d
from emotion.models.calibration import softmax
from emotion.models.run_folder import load_run
from emotion.training.calibrating import Answers, measure_calibration
from emotion.training.loop import fit_annealed
from emotion.training.recipes.affectnet_branch import StillHeadChoices
from emotion.training.recipes.card import format_scores
from emotion.training.recipes.face_branch import (
    FaceChoices,
    FrameStage,
    build_headed_network,
)
from emotion.training.recipes.face_stages import align_faces, train_faces
from emotion.training.recipes.joining import Branch, join_late
from emotion.training.recipes.light_voice import LightChoices, Tower, compute_hints
from emotion.training.recipes.recipe import make_shipped, measure_new_corpora
from emotion.training.recipes.scoring import score_answers
from emotion.training.recipes.settings import RECIPES, Recipe, VoiceChoices
from emotion.training.recipes.voice_bank import VoiceBank, keep_common, make_bank, merge_windows
from emotion.training.recipes.voice_folds import join_calm
from emotion.training.recipes.voice_stages import (
    answer_about_strangers,
    cut_voices,
    score_on_new_speakers,
    train_voice,
)
from emotion.training.recipes.voices import load_voices
from emotion.training.recipes.whisper_voice import WhisperChoices
from emotion.training.recipes.work import Work, fingerprint

FACES = FaceChoices(
    filters=(4, 4, 8, 8), units=8, n_hints=4, stages=(FrameStage(32, 1, 1e-3), FrameStage(112, 1, 1e-3)),
    clip_epochs=1, clip_steps=2,
)  # fmt: skip
TOWERS = (Tower(0.7, 1, 1), Tower(0.3, 1, 1, ("ravdess", "emodb")))
VOICES = VoiceChoices(
    validation_fraction=0.4, n_variants=1, whisper_blocks=2, whisper_pooled=(1, 2),
    whisper=WhisperChoices(head_epochs=1), light=LightChoices(TOWERS, n_hints=4),
    only_tested=(), without_labels=(), corpus_folds=(("played", "ravdess"), ("emodb",)),
)  # fmt: skip
RECIPES_ROOM = "emotion.training.recipes"
NARROW = {"whisper_width": 16, "whisper_heads": 2}
NARROW_VOICE = {"audio_filters": [4, 8], "audio_units": 8}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_unlabelled(root / "faces")
    (root / "ferplus").mkdir()
    write_ferplus(root / "ferplus" / "ferplus_train.npz", 64)
    write_ferplus(root / "ferplus" / "ferplus_valid.npz", 22)
    for emotion in SEVEN_EMOTIONS:
        (root / "muxspace" / emotion).mkdir(parents=True)
        cv2.imwrite(str(root / "muxspace" / emotion / "1.jpg"), draw_face(emotion, speaker_seed=3, size=112)[..., ::-1])
    for speaker in ("01", "02", "03", "04"):
        folder = root / "ravdess" / f"Actor_{speaker}"
        folder.mkdir(parents=True)
        for code, emotion in RAVDESS_EMOTIONS.items():
            voice = synthesize_voice(emotion, speaker_seed=int(speaker), duration_seconds=1.5)
            soundfile.write(folder / f"03-01-{code}-01-01-01-{speaker}.wav", voice, 22050)
    (root / "emodb").mkdir()
    for speaker in ("03", "08", "10", "13"):
        for letter, emotion in EMODB_EMOTIONS.items():
            voice = synthesize_voice(emotion or "calm", speaker_seed=50 + int(speaker), duration_seconds=1.5)
            soundfile.write(root / "emodb" / f"{speaker}a01{letter}a.wav", voice, 22050)
    write_corpora(root / "voices")
    return root


def write_corpora(folder):
    """Two corpora in a manifest: played emotions with listeners' votes, and calm talk."""
    rows = ["path,emotion,speaker,sex,corpus,language,licence,votes"]
    for corpus, emotions in (("played", ("neutral", "happy", "sad", "other")), ("calm_talk", ("neutral", "neutral"))):
        (folder / corpus).mkdir(parents=True)
        for number in range(4):
            sex = ("female", "male")[number % 2]
            for i, emotion in enumerate(emotions):
                path = f"{corpus}/{number}-{i}.wav"
                seed = 90 + number + 10 * len(corpus)
                voice = synthesize_voice(
                    "calm" if emotion == "other" else emotion, speaker_seed=seed, duration_seconds=1.5
                )
                soundfile.write(folder / path, voice, 16000)
                votes = "neutral=3 sad=1 bored=4" if emotion == "sad" else ""
                rows.append(f"{path},{emotion},{corpus}:{number},{sex},{corpus},tr,CC0,{votes}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def whisper_arrays():
    """Random weights of the shapes of a narrow encoder, by the names in OpenAI's file."""
    rng = np.random.default_rng(0)
    width = NARROW["whisper_width"]

    def draw(*shape):
        return (rng.standard_normal(shape) * 0.05).astype(np.float32)

    arrays = {"conv1.weight": draw(width, 80, 3), "conv2.weight": draw(width, width, 3)}
    arrays |= {f"conv{i}.bias": draw(width) for i in (1, 2)}
    for block in range(2):
        name = f"blocks.{block}"
        arrays |= {f"{name}.{norm}.weight": 1 + draw(width) for norm in ("attn_ln", "mlp_ln")}
        arrays |= {f"{name}.{norm}.bias": draw(width) for norm in ("attn_ln", "mlp_ln")}
        arrays |= {f"{name}.attn.{part}.weight": draw(width, width) for part in ("query", "key", "value", "out")}
        arrays |= {f"{name}.attn.{part}.bias": draw(width) for part in ("query", "value", "out")}
        arrays |= {f"{name}.mlp.0.weight": draw(4 * width, width), f"{name}.mlp.0.bias": draw(4 * width)}
        arrays |= {f"{name}.mlp.2.weight": draw(width, 4 * width), f"{name}.mlp.2.bias": draw(width)}
    return arrays


class NarrowRecipe(Recipe):
    """Hears with few filters, or with a narrower encoder than Whisper's smallest."""

    def config(self, architecture=""):
        config = super().config(architecture)
        narrow = NARROW_VOICE if config.architecture == "mfcc_cnn_3d" else NARROW
        return dataclasses.replace(config, model=config.model | narrow)


def made_recipe(architecture):
    is_accurate = architecture == "whisper_mobilenet"
    return NarrowRecipe(
        architecture, FACES, StillHeadChoices(epochs=1), VOICES, model=MadeTeacher.MODEL if is_accurate else {}
    )


def check_new_corpora(metrics, card, with_folds):
    """Voices are calibrated on corpora left out, whose scores are in the card."""
    on_new = metrics.get("new_corpora")
    assert (on_new is not None) == with_folds
    if on_new:
        assert set(on_new["corpora"]) == {"ravdess", "emodb", "played", "calm_talk"}
        weight = metrics["late_fusion_weights"]["voice"]
        assert metrics["voice"]["temperature"] == pytest.approx(weight * on_new["temperature"])
        assert on_new["corpora"]["played"]["language"] == "tr" and "| played" in card
        assert on_new["corpora"]["ravdess"]["n_emotions"] == 6  # nobody else teaches surprise


def train_outside_folds(network, *args, folder, **options):
    if not {"folds", "corpora"} & set(folder.parts):
        fit_annealed(network, *args, folder=folder, **options)


@pytest.fixture
def quick_stages(whisper_arrays, monkeypatch):
    """Stages with small networks. Folds train as the network that is shipped does, so here they train nothing."""
    monkeypatch.setattr(f"{RECIPES_ROOM}.voice_stages.load_whisper_encoder", lambda *_, **__: whisper_arrays)
    monkeypatch.setattr(f"{RECIPES_ROOM}.face_stages.Teacher", MadeTeacher)
    monkeypatch.setattr(f"{RECIPES_ROOM}.voice_folds.N_FOLDS", 2)
    monkeypatch.setattr(f"{RECIPES_ROOM}.recipe.time_window", lambda _: 0.001)
    for module in ("face_branch", "whisper_voice", "light_voice"):
        # Networks as small as these gain nothing by half precision, whatever the machine says of larger ones.
        monkeypatch.setattr(f"{RECIPES_ROOM}.{module}.fastest_policy", lambda: "float32")
    for module in ("whisper_voice", "light_voice"):
        monkeypatch.setattr(f"{RECIPES_ROOM}.{module}.fit_annealed", train_outside_folds)


def check_made(folder, architecture, metrics, data_root, *, with_folds):
    """A model that loads and says what it was made from."""
    run = load_run(folder)
    assert run.config.architecture == architecture and run.config.class_names == SEVEN_EMOTIONS
    assert run.config.calibration.unsure_below == metrics["unsure_below"]
    assert [run.config.calibration.face, run.config.calibration.voice, run.config.calibration.both] == [
        metrics[mode]["temperature"] for mode in ("photograph", "voice", "both")
    ]
    assert run.context_frames == 1 and run.baseline.face is not None and run.baseline.voice is not None
    sources = {source.name.split(",")[0] for source in run.config.data}
    assert sources >= {"RAVDESS speech", "EmoDB", "played", "calm_talk", "Whisper tiny.en"}
    assert (folder / "LICENCE-whisper.txt").is_file() == (architecture[0] == "w")
    assert metrics["photograph"]["n"] == 21
    assert metrics["voice"]["n"] == metrics["both"]["n"] > 0
    assert set(metrics["voice"]["by_sex"]) == {"male", "female"}
    assert json.loads((folder / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    assert ("folds" in metrics) == with_folds
    card = (folder / "MODEL_CARD.md").read_text()
    for scores in (metrics["photograph"], metrics["both"]):
        assert f"{scores['uar']:.1%}" in card and f"{scores['uar']:.1%}" in format_scores(metrics)
    check_new_corpora(metrics, card, with_folds)
    validated = {
        clip.speaker for clip in load_voices(data_root, SEVEN_EMOTIONS, validation_fraction=0.4, seed=0).validation
    }
    seen = load_seen(folder / "splits.csv")
    for clip in emodb.load(data_root / "emodb"):
        # Only the one that learns from a teacher hears what has no label, and only from speakers it learns from.
        heard = clip.emotion != "boredom" or (architecture[0] == "m" and clip.speaker not in validated)
        assert seen.has_met(clip, {}) == heard
    faces = "muxspace facial expressions" if architecture[0] == "m" else "faces without labels"
    assert seen.describe(["emodb:99"]).endswith(f"{faces})")


@pytest.mark.trains
def test_the_light_recipe_makes_a_model_that_loads_and_says_what_it_was_made_from(
    data_root, quick_stages, tmp_path, monkeypatch, eagerly
):
    recipe, work = made_recipe("mfcc_cnn_3d"), tmp_path / "work"
    metrics = make_shipped(recipe, data_root, tmp_path / "made", work)
    check_made(tmp_path / "made", recipe.architecture, metrics, data_root, with_folds=True)
    assert (tmp_path / "made" / "model.onnx").is_file()
    folds = metrics["folds"]["by_number_of_classes"]
    assert all(scores["n"] == 32 and len(scores["uar_by_fold"]) == 2 for scores in (folds["8"], folds["7"]))

    # What is finished is found in the work folder, and nothing is trained again.
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("a finished stage was trained again"))
    for name in (
        "face_stages.load_ferplus", "face_stages.train_picture_network", "voice_stages.train_whisper_network",
        "voice_stages.train_light_network",
    ):  # fmt: skip
        monkeypatch.setattr(f"{RECIPES_ROOM}.{name}", lambda *_, **__: pytest.fail("a stage was made again"))
    again = Work(recipe, data_root, work, SILENT)
    heard = cut_voices(again)
    train_faces(again, align_faces(again))
    train_voice(again, heard)
    assert set(answer_about_strangers(again, heard)) == set(metrics["new_corpora"]["corpora"])
    assert score_on_new_speakers(again, heard) == metrics["folds"]


@pytest.mark.trains
@pytest.mark.thorough
def test_the_accurate_recipe_makes_a_model_that_loads_and_says_what_it_was_made_from(
    data_root, quick_stages, tmp_path, monkeypatch
):
    monkeypatch.setattr(f"{RECIPES_ROOM}.recipe.write_onnx", lambda *_: None)  # test_export_onnx.py writes every design
    recipe = made_recipe("whisper_mobilenet")
    work = tmp_path / "work"
    metrics = make_shipped(recipe, data_root, tmp_path / "made", work, with_folds=False)
    check_made(tmp_path / "made", recipe.architecture, metrics, data_root, with_folds=False)
    alone = measure_new_corpora(recipe, data_root, work, left_out="played")
    assert list(alone["corpora"]) == ["played"] and alone["temperature"] != 1.0
    assert alone["corpora"]["played"]["temperature"] == 1.0 and "without played" in alone["protocol"]
    with pytest.raises(DatasetError, match="No corpus is called iemocap"):
        measure_new_corpora(recipe, data_root, work, left_out="iemocap")


def test_of_eight_emotions_calm_and_neutral_join_by_their_share_of_the_clips():
    counts = np.full(8, 30)
    counts[EIGHT_EMOTIONS.index("neutral")], counts[EIGHT_EMOTIONS.index("calm")] = 10, 30
    matrix = join_calm(counts)
    assert matrix[EIGHT_EMOTIONS.index("neutral"), SEVEN_EMOTIONS.index("neutral")] == 0.25
    assert matrix[EIGHT_EMOTIONS.index("calm"), SEVEN_EMOTIONS.index("neutral")] == 0.75
    others = [i for i, name in enumerate(EIGHT_EMOTIONS) if name not in ("neutral", "calm")]
    np.testing.assert_array_equal(matrix[others][:, 1:], np.eye(6))


def test_other_data_and_other_choices_have_another_fingerprint(data_root, tmp_path):
    assert fingerprint(data_root, ("emodb",), FACES) == fingerprint(data_root, ("emodb",), FACES)
    assert fingerprint(data_root, ("emodb",), FACES) != fingerprint(data_root, ("emodb",), VOICES)
    assert fingerprint(data_root, ("emodb",), FACES) != fingerprint(tmp_path, ("emodb",), FACES)
    found = set()
    (tmp_path / "emodb").mkdir()
    for content in (b"one", b"two"):  # of one size
        (tmp_path / "emodb" / "03a01Fa.wav").write_bytes(content)
        found.add(fingerprint(tmp_path, ("emodb",)))
    assert len(found) == 2


def test_every_recipe_that_is_offered_can_be_built():
    assert tuple(RECIPES) == RECIPE_NAMES
    for recipe in RECIPES.values():
        assert recipe.config().class_names == SEVEN_EMOTIONS


# ---- Voices ----


def test_emodb_is_learned_from_without_boredom_which_is_kept_without_a_label(data_root):
    assert "boredom" in {clip.emotion for clip in emodb.load(data_root / "emodb")}
    voices = load_voices(data_root, SEVEN_EMOTIONS, validation_fraction=0.2, seed=0)
    clips = [clip for clip in (*voices.train, *voices.validation) if clip.clip_id.startswith("emodb:")]
    assert len(clips) == 4 * 6
    assert {clip.emotion for clip in clips} == set(SEVEN_EMOTIONS) - {"surprised"}
    assert {(clip.speaker, clip.sex) for clip in clips} == {
        ("emodb:03", "male"), ("emodb:08", "female"), ("emodb:10", "male"), ("emodb:13", "female"),
    }  # fmt: skip
    learned = {clip.speaker for clip in voices.train}
    unlabelled = [clip for clip in voices.unlabelled if clip.clip_id.startswith("emodb:")]
    assert {clip.emotion for clip in unlabelled} == {"boredom"}
    assert {clip.speaker for clip in unlabelled} <= learned
    assert learned.isdisjoint({clip.speaker for clip in voices.validation})


def test_a_bank_knows_which_window_belongs_to_which_clip():
    windows = np.arange(10, dtype=np.float16).reshape(10, 1, 1, 1)
    bank = VoiceBank(windows, np.array([0, 0, 1, 1, 2, 2, 0, 0, 2, 2]), 6, (None, None, None), np.ones(10, bool))
    np.testing.assert_array_equal(bank.rows_of(np.array([0, 1])), [0, 1, 2, 3, 6, 7])
    np.testing.assert_array_equal(bank.rows_of(2, plain=True), [8, 9])
    assert bank.inputs(np.array([3, 1])).ravel().tolist() == [3, 1]
    rng = np.random.default_rng(0)
    assert {bank.draw_row(2, rng) for _ in range(100)} == {4, 5, 8, 9}
    assert {bank.draw_row(1, rng) for _ in range(100)} == {2, 3}  # a clip without plain windows
    bank = dataclasses.replace(bank, is_heard=~np.isin(np.arange(10), [0, 1, 4, 8]))
    assert bank.rows_of(np.array([0, 2])).tolist() == [5, 6, 7, 9] and bank.spoken().tolist() == [True, False, True]
    assert {bank.draw_row(0, rng) for _ in range(100)} == {6, 7}


def test_windows_are_averaged_clip_by_clip():
    probabilities = np.array([[1.0, 0], [0, 1], [0.2, 0.8], [0.4, 0.6]])
    merged = merge_windows(probabilities, np.array([5, 5, 2, 2]), np.array([2, 5]))
    np.testing.assert_allclose(merged, [[0.3, 0.7], [0.5, 0.5]])


def test_hints_are_uncorrelated_and_of_one_scale():
    rng = np.random.default_rng(0)
    statistics = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 10)) * 50 + 7
    hints = compute_hints(statistics, np.arange(150), 3)
    np.testing.assert_allclose(np.cov(hints[:150].T), np.eye(3), atol=0.02)


# ---- Fusion ----


@pytest.fixture(scope="module")
def branches():
    """Random branches, their fused model's settings, and inputs."""
    config = Recipe("mfcc_cnn_3d", FACES).config()
    keras.utils.set_random_seed(0)
    voice_network = mfcc_cnn_3d.build_voice_network(dataclasses.replace(config, modalities=("audio",)))
    voice = Branch(voice_network, *voice_network.get_layer("logits").get_weights())
    rng = np.random.default_rng(0)
    heads = [rng.standard_normal((8, 7)).astype(np.float32) for _ in range(2)]
    biases = [rng.standard_normal(7).astype(np.float32) for _ in range(2)]
    face = Branch(build_headed_network(config, 4), heads[0], biases[0], heads[1], biases[1])
    inputs = {
        "audio": rng.standard_normal((2, *config.audio_shape)).astype(np.float32),
        "video": rng.integers(0, 256, (2, *config.video_shape), dtype=np.uint8),
    }
    return config, voice, face, inputs


def features_of(branch, frames):
    network = keras.Model(branch.network.input, branch.network.get_layer("video_features").output)
    return np.asarray(network(frames))


def test_late_fusion_answers_by_each_branch_alone_and_by_their_product(branches):
    config, voice, face, inputs = branches
    model = join_late(config, voice, face, (0.5, 2.0))
    heard = 0.5 * np.asarray(voice.network({"audio": inputs["audio"]}))
    seen = 2.0 * face.logits(features_of(face, inputs["video"]))
    nothing = {name: np.zeros_like(value) for name, value in inputs.items()}
    photograph = inputs["video"][:, :1]
    of_photograph = 2.0 * (features_of(face, photograph) @ face.still_kernel + face.still_bias)
    for given, logits in (
        ({"audio": nothing["audio"], "video": photograph}, of_photograph),
        (inputs, heard + seen),
        ({**inputs, "video": nothing["video"]}, heard),
        ({**inputs, "audio": nothing["audio"]}, seen),
    ):
        np.testing.assert_allclose(np.asarray(model(given)), softmax(logits), atol=1e-5)


def draw_answers(sharpness, n=600, n_classes=4, seed=0):
    """Answers that are right as often as they say, then sharpened, for ten speakers."""
    rng = np.random.default_rng(seed)
    honest = softmax(2 * rng.standard_normal((n, n_classes)))
    classes = np.array([rng.choice(n_classes, p=row) for row in honest])
    sharpened = softmax(sharpness * np.log(honest))
    return Answers([row[None] for row in sharpened], classes, (np.arange(n) % 10).astype(str), np.array(["male"] * n))


def test_confidence_that_is_no_chance_is_told_from_chance():
    for sharpness, is_honest in ((1.0, True), (4.0, False)):
        answers = draw_answers(sharpness)
        error, if_perfect = measure_calibration(answers.merged(), answers.classes)
        assert (error < 2 * if_perfect) == is_honest
    # Fitted on the other speakers, a temperature makes honest answers of both.
    scores = score_answers(answers, "voice", 1.0, tuple("abcd"))
    assert scores["ece"] < 2 * scores["ece_if_perfect"] < 0.1


def test_each_speaker_is_judged_by_what_was_fitted_on_the_others():
    answers = draw_answers(1.0)
    parts = answers.apart()
    assert sorted(np.concatenate([these for _, these in parts]).tolist()) == list(range(600))
    for others, these in parts:
        assert not set(answers.groups[others]) & set(answers.groups[these])
    alone = dataclasses.replace(answers, groups=np.array(["one"] * 600))
    assert [len(part) for part in alone.apart()[0]] == [600, 600]


def test_missing_voices_are_named(tmp_path):
    with pytest.raises(DatasetError, match=str(tmp_path)):
        emodb.load(tmp_path)


def test_nothing_is_learned_from_a_recording_in_which_nobody_speaks(tmp_path):
    heard = synthesize_voice("happy", speaker_seed=1, duration_seconds=1.5)
    for letter, voice in (("F", heard), ("T", np.zeros(33075))):
        soundfile.write(tmp_path / f"03a01{letter}a.wav", voice, 22050)
    config = dataclasses.replace(Recipe("mfcc_cnn_3d").config(), modalities=("audio",))
    clips, cache = emodb.load(tmp_path), ClipCache(tmp_path / "c", config)
    bank = make_bank(clips, cache, config, n_variants=1, seed=0, folder=tmp_path / "bank")
    assert bank.spoken().tolist() == [True, False] and len(bank) == 4
    with pytest.raises(DatasetError, match="None of 1 voices"):
        make_bank(clips[1:], cache, config, n_variants=1, seed=0, folder=tmp_path / "silent")


def test_windows_that_two_networks_do_not_share_teach_nothing():
    clips = tuple(Clip(f"emodb:{i}", "sad", "emodb:03", audio_path=f"{i}.wav") for i in range(2))

    def bank(owners, is_heard=(True,) * 5):
        return VoiceBank(np.zeros((5, 1, 1, 1), np.float16), np.array([0, 1, *owners]), 2, clips, np.array(is_heard))

    kept = keep_common(bank([0, 0, 1]), bank([0, 0, 1], (True, True, False, True, True)))
    assert [each.is_heard.tolist() for each in kept] == [[True, True, False, True, True]] * 2
    with pytest.raises(DatasetError, match=r"0\.wav, 1\.wav"):
        keep_common(bank([0, 0, 1]), bank([0, 1, 1]))
