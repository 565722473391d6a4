"""The shipped model's recipe, from folders of data to a run folder, on a handful of drawn faces and made voices."""

import cv2
import numpy as np
import pytest
import soundfile

from emotion.datasets import emodb
from emotion.errors import DatasetError
from emotion.labels import EMODB_EMOTIONS, FER2013_EMOTIONS, FERPLUS_VOTES, RAVDESS_EMOTIONS, SEVEN_EMOTIONS
from emotion.recipes.default import Recipe, fingerprint, load_voices, make_default
from emotion.recipes.stills import load_ferplus, load_folders
from emotion.runs import load_run
from emotion.seen import load_seen
from emotion.synthetic_faces import draw_face
from emotion.synthetic_voices import synthesize_voice

TINY = Recipe(
    frame_epochs=1, clip_steps=2, voice_epochs=1, fusion_steps=20, n_fusion_faces=14, n_voice_passes=1,
    validation_fraction=0.4,
)  # fmt: skip


def write_ferplus(path, n):
    names = [FER2013_EMOTIONS[i % 7] for i in range(n)]
    faces = [draw_face(name, speaker_seed=i % 24 + 1, size=96) for i, name in enumerate(names)]
    images = np.stack([cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (48, 48)) for face in faces])
    votes = np.zeros((n, 10), np.uint8)
    votes[np.arange(n), [FERPLUS_VOTES.index(name) for name in names]] = 8
    votes[:, 8] = 2  # two raters who did not know
    votes[0] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 10]  # not a face
    np.savez(path, images=images, votes=votes, fer2013_label=np.arange(n, dtype=np.int8) % 7)


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
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
    return root


def test_the_recipe_makes_a_model_that_loads_and_says_what_it_was_made_from(data_root, tmp_path, monkeypatch):
    metrics = make_default(data_root, tmp_path / "out", tmp_path / "work", recipe=TINY, verbose=0, say=lambda _: None)
    run = load_run(tmp_path / "out")
    assert run.config.class_names == SEVEN_EMOTIONS
    assert set(run.model.input) == {"audio", "video"}
    assert {source.name for source in run.config.data} >= {"RAVDESS speech", "EmoDB"}
    assert metrics["face"]["n"] == 21
    seen = load_seen(tmp_path / "out" / "splits.csv")
    learned = [clip for clip in emodb.load(data_root / "emodb") if clip.emotion != "boredom"]
    assert all(seen.has_met(clip, {}) for clip in learned)
    assert seen.describe(["emodb:99"]).endswith("muxspace facial expressions)")
    assert metrics["voice"]["n"] == metrics["pair"]["n"] > 0

    # A second call finds every stage in the work folder and trains no branch again.
    def must_not_run(*_, **__):
        raise AssertionError("a finished stage was made again")

    for name in ("train_frame_network", "tune_over_time", "train_voice_network", "load_ferplus"):
        monkeypatch.setattr(f"emotion.recipes.default.{name}", must_not_run)
    again = make_default(data_root, tmp_path / "again", tmp_path / "work", recipe=TINY, verbose=0, say=lambda _: None)
    assert again["face"]["confusion_matrix"] == metrics["face"]["confusion_matrix"]


def test_another_recipe_or_other_data_has_another_fingerprint(data_root, tmp_path):
    assert fingerprint(data_root, TINY) == fingerprint(data_root, TINY)
    assert fingerprint(data_root, TINY) != fingerprint(data_root, Recipe())
    assert fingerprint(data_root, TINY) != fingerprint(tmp_path, TINY)


def test_votes_become_targets_and_faces_of_no_class_are_left_out(data_root):
    stills = load_ferplus(data_root / "ferplus" / "ferplus_valid.npz", SEVEN_EMOTIONS, fer2013_share=0.0, size=64)
    assert len(stills) == 21
    assert stills.images.shape == (21, 64, 64)
    np.testing.assert_allclose(stills.targets.sum(axis=1), 1)
    assert [SEVEN_EMOTIONS[i] for i in stills.majority] == [FER2013_EMOTIONS[i % 7] for i in range(1, 22)]
    np.testing.assert_array_equal(stills.targets.argmax(axis=1), stills.majority)


def test_labels_that_are_often_wrong_are_smoothed(data_root):
    stills = load_folders(data_root / "muxspace", SEVEN_EMOTIONS, smoothing=0.14, size=64)
    np.testing.assert_array_equal(stills.targets.argmax(axis=1), np.arange(7))
    np.testing.assert_allclose(stills.targets.max(axis=1), 0.88, atol=1e-6)


def test_emodb_is_learned_from_without_boredom(data_root):
    clips = emodb.load(data_root / "emodb")
    assert "boredom" in {clip.emotion for clip in clips}
    voices = load_voices(data_root, Recipe())
    clips = [clip for clip in (*voices.train, *voices.validation) if clip.clip_id.startswith("emodb:")]
    assert len(clips) == 4 * 6
    assert {clip.emotion for clip in clips} == set(SEVEN_EMOTIONS) - {"surprised"}
    assert {(clip.speaker, clip.sex) for clip in clips} == {
        ("emodb:03", "male"), ("emodb:08", "female"), ("emodb:10", "male"), ("emodb:13", "female"),
    }  # fmt: skip


def test_missing_data_is_named(tmp_path):
    with pytest.raises(DatasetError, match=str(tmp_path)):
        emodb.load(tmp_path)
    with pytest.raises(DatasetError, match=str(tmp_path)):
        load_folders(tmp_path / "absent", SEVEN_EMOTIONS, smoothing=0, size=8)
    with pytest.raises(DatasetError, match=str(tmp_path)):
        load_ferplus(tmp_path / "absent.npz", SEVEN_EMOTIONS, fer2013_share=0, size=8)
