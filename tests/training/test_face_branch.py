"""The recipes' face branches: photographs read and shown to the teacher, batches, heads, and what answers."""

import dataclasses
import io
import shutil
import zipfile

import cv2
import keras
import numpy as np
import pytest
from face_data import MadeTeacher, write_ferplus, write_unlabelled

from emotion.config import VideoConfig
from emotion.datasets.synthetic.faces import draw_face
from emotion.errors import DatasetError
from emotion.labels import FER2013_EMOTIONS, SEVEN_EMOTIONS
from emotion.training.recipes.affectnet_branch import StillHeadChoices, train_affectnet_branch
from emotion.training.recipes.face_branch import (
    FERPLUS,
    Animation,
    FaceChoices,
    FrameStage,
    StillBatches,
    answering_branch,
    build_headed_network,
    choose_stills,
    make_lessons,
    smooth,
    train_clip_network,
    train_picture_network,
)
from emotion.training.recipes.settings import RECIPES, Recipe
from emotion.training.recipes.stills import (
    LABEL_SETS,
    Look,
    divide_out_persons,
    join_stills,
    load_ferplus,
    load_folders,
    load_unlabelled,
    read_stills,
    save_stills,
)

FACES = FaceChoices(
    filters=(4, 4, 8, 8), units=8, stages=(FrameStage(32, 1, 1e-3), FrameStage(112, 1, 1e-3, 1.0)), n_hints=4,
    clip_epochs=1, clip_steps=2,
)  # fmt: skip
LOOK = Look(VideoConfig(image_size=64), MadeTeacher())


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("faces")
    write_ferplus(root / "ferplus.npz", 22)
    for emotion in SEVEN_EMOTIONS:
        (root / "muxspace" / emotion).mkdir(parents=True)
        cv2.imwrite(str(root / "muxspace" / emotion / "1.jpg"), draw_face(emotion, speaker_seed=3, size=112)[..., ::-1])
    return root


@pytest.fixture(scope="module")
def stills(data_root):
    return load_ferplus(data_root / "ferplus.npz", SEVEN_EMOTIONS, LOOK)


def test_each_set_of_labels_says_what_it_says_and_faces_of_no_class_are_left_out(stills):
    assert len(stills) == 21
    assert stills.images.shape == (21, 64, 64)
    np.testing.assert_allclose(stills.targets.sum(axis=2), np.tile([1, 1, 0], (21, 1)))
    assert [SEVEN_EMOTIONS[i] for i in stills.majority] == [FER2013_EMOTIONS[i % 7] for i in range(1, 22)]
    for name in ("ferplus", "fer2013"):
        np.testing.assert_array_equal(stills.targets[:, LABEL_SETS.index(name)].argmax(axis=1), stills.majority)


def test_pictures_in_folders_are_labelled_by_one_set_alone(data_root):
    stills = load_folders(data_root / "muxspace", SEVEN_EMOTIONS, LOOK)
    np.testing.assert_array_equal(stills.targets[:, LABEL_SETS.index("muxspace")], np.eye(7))
    assert not stills.targets[:, : LABEL_SETS.index("muxspace")].any()
    assert (stills.majority == -1).all()


def test_the_teacher_sees_each_face_in_its_own_crop_whether_or_not_the_pictures_are_kept(data_root, stills):
    np.testing.assert_allclose(stills.answers.sum(axis=1), 1, atol=1e-5)
    assert stills.features.shape == (21, MadeTeacher.N_FEATURES)
    unkept = load_ferplus(data_root / "ferplus.npz", SEVEN_EMOTIONS, Look(LOOK.video, LOOK.teacher, keeps_images=False))
    assert unkept.images.shape == (21, 0, 0)
    np.testing.assert_array_equal(unkept.features, stills.features)


def test_stills_are_kept_as_they_are(stills, tmp_path):
    save_stills(join_stills(stills, stills), tmp_path / "stills.npz")
    again = read_stills(tmp_path / "stills.npz")
    assert len(again) == 42
    np.testing.assert_array_equal(again.answers[21:], stills.answers)


# ---- Faces without labels ----


def test_faces_without_labels_teach_by_the_teacher_alone_and_unclear_licences_are_left_out(tmp_path):
    write_unlabelled(tmp_path / "faces")
    stills = load_unlabelled(tmp_path / "faces", SEVEN_EMOTIONS, LOOK)
    assert len(stills) == 4 and stills.images.any(axis=(1, 2)).all()
    assert not stills.targets.any() and (stills.majority == -1).all()
    np.testing.assert_allclose(stills.answers.sum(axis=1), 1, atol=1e-5)


def test_what_a_person_always_looks_like_is_no_expression():
    moody = np.tile([[0.1, 0.8, 0.1]], (6, 1))
    moody[5] = [0.1, 0.1, 0.8]
    stranger = np.array([[0.1, 0.8, 0.1]])
    divided = divide_out_persons(np.concatenate([moody, stranger]), np.array([*["p1"] * 6, "p2"]), 0)
    assert divided[0].argmax() == 0  # looks sad at all times, so now is neutral
    assert divided[5].argmax() == 2
    np.testing.assert_array_equal(divided[6], stranger[0])  # one picture says nothing about a person


@pytest.mark.parametrize("damage", ["no index", "no archive", "no picture", "no column"])
def test_a_damaged_set_of_faces_is_named(damage, tmp_path):
    root = tmp_path / "faces"
    write_unlabelled(root)
    index = root / "index.csv"
    if damage == "no index":
        index.unlink()
    elif damage == "no archive":
        (root / "talk.zip").unlink()
    elif damage == "no column":
        index.write_text(index.read_text().replace("mrx", "other"))
    else:
        with zipfile.ZipFile(root / "talk.zip", "w") as archive:
            for number in range(5):
                archive.writestr(f"talk/{number}.jpg", b"no picture")
    with pytest.raises(DatasetError, match="faces"):
        load_unlabelled(root, SEVEN_EMOTIONS, LOOK)


# ---- Batches ----


def test_a_target_of_nothing_stays_so_when_targets_are_smoothed():
    targets = np.array([[[1.0, 0, 0, 0], [0, 0, 0, 0]]], np.float32)
    smoothed = smooth(targets)
    np.testing.assert_allclose(smoothed.sum(axis=2), [[1, 0]])
    assert 0 < smoothed[0, 0, 1] < 0.05


def test_batches_of_faces_follow_from_seed_epoch_and_place_alone(stills):
    lessons = make_lessons(stills, 4)
    moving = Animation(n_frames=5)
    for animation, batch, n_frames in ((None, 1, 1), (moving, 1, 1), (moving, 2, 5)):
        options = {"size": 64, "batch_size": 4, "n_batches": 3, "seed": 1, "animation": animation}
        first, second = (StillBatches(stills, lessons, mixup=0.0 if animation else 0.2, **options) for _ in range(2))
        second[3 - batch]
        pictures, targets = first[batch]
        assert (
            pictures.shape == (4, n_frames, 64, 64, 3)
            and pictures.dtype == np.uint8
            and targets.shape == (4, 3 * 7 + 7 + 4)
        )
        np.testing.assert_array_equal(pictures, second[batch][0])
        second.set_epoch(1)
        assert (pictures != second[batch][0]).any()


# ---- Networks ----


@pytest.mark.thorough  # the recipes' test does it, too
@pytest.mark.trains
def test_the_light_branch_learns_from_pictures_and_then_from_pictures_in_motion(stills, tmp_path, monkeypatch):
    monkeypatch.setattr("emotion.training.recipes.face_branch.fastest_policy", lambda: "float32")
    config = Recipe("mfcc_cnn_3d", FACES).config()
    images = np.stack([cv2.resize(image, (112, 112)) for image in stills.images])
    large = join_stills(*[dataclasses.replace(stills, images=images)] * 4)  # more than a batch
    pictures = train_picture_network(large, config, FACES, tmp_path)
    clips = train_clip_network(pictures, large, config, FACES, tmp_path / "clips")
    before, after = (network.get_layer("video_stem").get_weights()[0] for network in (pictures, clips))
    assert (before != after).any()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["clips", "pictures1", "pictures2"]


def test_photographs_are_answered_by_the_raters_head_and_faces_in_motion_by_it_or_the_teachers():
    config = Recipe("mfcc_cnn_3d", FACES).config()
    network = build_headed_network(config, 4)
    prior = np.tile(np.arange(1, 8) / 28, (3, 1))
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 112, 112, 3), dtype=np.uint8)
    heads = np.asarray(network(frames))[:, :28].reshape(2, 4, 7)
    features = np.asarray(keras.Model(network.input, network.get_layer("video_features").output)(frames))
    by_teacher = answering_branch(network, prior, dataclasses.replace(FACES, moving_prior_share=None))
    np.testing.assert_allclose(by_teacher.logits(features), heads[:, -1], atol=1e-4)
    by_raters = answering_branch(network, prior, dataclasses.replace(FACES, moving_prior_share=0.2, disgust_offset=-1))
    offset = np.where(np.array(SEVEN_EMOTIONS) == "disgust", -1, 0)
    np.testing.assert_allclose(
        by_raters.logits(features), heads[:, FERPLUS] + 0.2 * np.log(prior[0]) + offset, atol=1e-4
    )
    for branch in (by_teacher, by_raters):
        still = features @ branch.still_kernel + branch.still_bias
        np.testing.assert_allclose(still, heads[:, FERPLUS] + 0.9 * np.log(prior[0]), atol=1e-4)


def test_faces_without_labels_are_learned_from_only_with_a_teacher(stills):
    bare = dataclasses.replace(stills, targets=np.where(np.arange(21)[:, None, None] < 5, 0, stills.targets))
    assert len(choose_stills(bare, FACES)) == 21
    alone = FaceChoices()
    assert not alone.has_teacher
    chosen = choose_stills(bare, alone)
    assert len(chosen) == 16 and (chosen.majority == stills.majority[5:]).all()


@pytest.mark.trains
def test_the_accurate_branch_decides_as_the_teacher_and_judges_photographs_by_what_it_sees(stills, tmp_path):
    recipe = Recipe("whisper_mobilenet", model=MadeTeacher.MODEL)
    config = recipe.config()
    teacher = MadeTeacher()
    choices = StillHeadChoices(epochs=2)
    branch = train_affectnet_branch(stills, config, teacher, choices, tmp_path, seed=0)
    faces = np.random.default_rng(0).integers(0, 256, (2, 1, *config.video_shape[1:]), dtype=np.uint8)
    _, answers = teacher(faces[:, 0])
    logits = branch.logits(np.asarray(branch.network(faces)))
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), answers, atol=1e-4)
    # Neither head looks at the other's features.
    assert not branch.kernel[-config.model["still_units"] :].any()
    assert not branch.still_kernel[: -config.model["still_units"]].any()


def test_every_recipe_sees_with_the_network_that_its_design_names():
    assert RECIPES["accurate"].config().video.crop == "box"
    assert RECIPES["default"].config().video.image_size == 112


# ---- Missing and damaged data ----


@pytest.mark.parametrize(
    "load",
    [
        lambda folder: load_folders(folder / "absent", SEVEN_EMOTIONS, LOOK),
        lambda folder: load_ferplus(folder / "absent.npz", SEVEN_EMOTIONS, LOOK),
        lambda folder: load_unlabelled(folder / "absent", SEVEN_EMOTIONS, LOOK),
    ],
)
def test_missing_faces_are_named(load, tmp_path):
    with pytest.raises(DatasetError, match=str(tmp_path)):
        load(tmp_path)


def test_a_damaged_file_of_faces_is_named(data_root, tmp_path):
    with np.load(data_root / "ferplus.npz") as data:
        arrays = dict(data)
    whole = (data_root / "ferplus.npz").read_bytes()
    listed = io.BytesIO()
    np.save(listed, np.zeros(3))
    damaged = {
        "half.npz": whole[: len(whole) // 2], "empty.npz": b"", "text.npz": b"<html>not found</html>",
        "array.npz": listed.getvalue(),
    }  # fmt: skip
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    np.savez(tmp_path / "votes.npz", **{**arrays, "votes": arrays["votes"][:, :8]})
    np.savez(tmp_path / "labels.npz", **{**arrays, "fer2013_label": arrays["fer2013_label"] + 5})
    for name in (*damaged, "other.npz", "votes.npz", "labels.npz"):
        with pytest.raises(DatasetError, match=name):
            load_ferplus(tmp_path / name, SEVEN_EMOTIONS, LOOK)


def test_an_emotion_without_pictures_and_a_damaged_picture_are_named(data_root, tmp_path):
    shutil.copytree(data_root / "muxspace", tmp_path / "muxspace")
    (tmp_path / "muxspace" / "sad").rename(tmp_path / "muxspace" / "sadness")
    with pytest.raises(DatasetError, match=" sad;"):
        load_folders(tmp_path / "muxspace", SEVEN_EMOTIONS, LOOK)
    (tmp_path / "muxspace" / "sad").mkdir()
    (tmp_path / "muxspace" / "sad" / "1.JPG").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"1\.JPG"):
        load_folders(tmp_path / "muxspace", SEVEN_EMOTIONS, LOOK)
