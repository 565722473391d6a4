"""Neutral references, clips of one person and long clips, from the command to the tables."""

import json

import numpy as np
import pytest
from refusals import refused
from small_models import small_config, write_small_run

import run_inference
from emotion.datasets.synthetic.clips import draw_clip, write_clip
from emotion.datasets.synthetic.voices import compute_mouth_opening, synthesize_voice
from emotion.errors import ConfigError, MediaError
from emotion.inference.predictor import EmotionPredictor
from emotion.inference.request import read_references
from emotion.outputs.tables import to_json
from emotion.settings import InferenceSettings

RATE = 22050


def write_face(path, *, emotion="happy", seconds=1.2, people=(1,), with_voice=True):
    """A clip of drawn faces side by side; the first one speaks."""
    times = np.arange(0, seconds, 0.1)
    voice = synthesize_voice(emotion, speaker_seed=1, duration_seconds=seconds, sample_rate=RATE)
    mouth = compute_mouth_opening(voice, RATE, times)
    still = np.zeros(len(times))
    frames = [
        draw_clip(emotion, times, mouth if seed == people[0] else still, speaker_seed=seed, size=200) for seed in people
    ]
    waveform = voice if with_voice else None
    write_clip(path, np.concatenate(frames, axis=2), 10.0, waveform=waveform, sample_rate=RATE)
    return path


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    write_face(folder / "calm.mp4", emotion="neutral")
    write_face(folder / "clip.mp4", people=(1, 2))
    (folder / "one").mkdir()
    for emotion in ("happy", "sad"):
        write_face(folder / "one" / f"{emotion}.mp4", emotion=emotion)
    return folder


@pytest.fixture(scope="module")
def predictor(run_with_baseline):
    return EmotionPredictor(run_with_baseline, InferenceSettings(adapts=False), runtime="keras")


def test_a_reference_changes_the_persons_answers_and_both_are_kept(predictor, media):
    plain = predictor.predict(media / "clip.mp4")
    assert plain.baselines == () and plain.without_baseline is None
    related = predictor.with_reference({"Anna": media / "calm.mp4"}).predict(media / "clip.mp4")
    (use,) = related.baselines
    assert (use.face_id, use.kind) == (1, "reference")
    assert use.face_seconds == pytest.approx(1.2, abs=0.15) == use.voice_seconds
    assert [track.name for track in related.tracks] == ["Anna", "face 2"]
    kept = related.without_baseline
    for face_id in (1, 2):
        same = np.allclose(related.by_face[face_id].probabilities, plain.by_face[face_id].probabilities, atol=1e-4)
        assert same == (face_id == 2)
        np.testing.assert_allclose(kept.by_face[face_id].probabilities, plain.by_face[face_id].probabilities, atol=1e-4)
    assert "Anna is compared with a neutral reference (1.2 s of face and 1.2 s of voice)" in related.notes[-1]
    table = to_json(related)
    assert table["baselines"][0] == {
        "face": "Anna", "kind": "reference", "face_seconds": pytest.approx(use.face_seconds, abs=1e-3),
        "voice_seconds": pytest.approx(use.voice_seconds, abs=1e-3),
    }  # fmt: skip
    assert table["faces"][0]["probabilities"] != table["without_baseline"]["faces"][0]["probabilities"]
    assert [row["face"] for row in table["without_baseline"]["faces"]] == ["Anna", "face 2"]
    assert len(table["without_baseline"]["windows"]) == len(table["windows"])


def test_in_a_long_varied_clip_people_are_compared_with_their_own_mean_unless_told_not_to(predictor, tmp_path):
    faces = [draw_clip(e, np.arange(0, 1.5, 0.1), np.zeros(15), speaker_seed=1, size=200) for e in ("happy", "sad")]
    write_clip(tmp_path / "long.mp4", np.concatenate(faces), 10.0)
    adapting = EmotionPredictor(predictor.run)
    (use,) = adapting.predict(tmp_path / "long.mp4").baselines
    assert (use.face_id, use.kind, use.voice_seconds) == (1, "own clip", 0)
    assert predictor.predict(tmp_path / "long.mp4").baselines == ()
    assert adapting.predict(write_face(tmp_path / "short.mp4")).baselines == ()


def test_people_whom_no_reference_shows_are_judged_as_they_are_and_a_note_says_so(predictor, media, tmp_path):
    others = write_face(tmp_path / "others.mp4", people=(5, 6))
    prediction = predictor.with_reference(media / "calm.mp4").predict(others)
    assert prediction.baselines == ()
    assert prediction.notes[-1] == "nobody in it is known from the references"


def test_a_reference_must_show_one_person(predictor, media, tmp_path):
    with refused(MediaError, "clip.mp4", "2 faces"):
        predictor.with_reference(media / "clip.mp4")
    write_clip(tmp_path / "empty.mp4", np.full((15, 120, 160, 3), 90, np.uint8), 10.0)
    with refused(MediaError, "empty.mp4", "no face and no voice"):
        predictor.with_reference([tmp_path / "empty.mp4"])
    with refused(MediaError, "gone.mp4"):
        predictor.with_reference(tmp_path / "gone.mp4")


def test_the_command_writes_both_answers_and_the_references(call, run_with_baseline, media, tmp_path):
    code, out, err = call(
        run_inference, media / "one" / "sad.mp4", "--model", run_with_baseline, "--reference", media / "calm.mp4",
        "--no_video", "--no_plot", "--json", tmp_path / "a.json", "--no_progress",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "compared with a neutral reference" in out
    table = json.loads((tmp_path / "a.json").read_text())
    assert table["settings"]["references"] == [{"name": None, "clips": [str(media / "calm.mp4")]}]
    assert table["overall"]["probabilities"] != table["without_baseline"]["overall"]["probabilities"]


def test_clips_of_one_folder_are_compared_with_their_mean(call, run_with_baseline, media, tmp_path):
    code, out, _ = call(
        run_inference, media / "one", "--model", run_with_baseline, "--adapt", "--json", "--no_video", "--no_plot",
        "--output_dir", tmp_path, "--no_progress",
    )  # fmt: skip
    assert code == 0, out
    for name in ("happy", "sad"):
        table = json.loads((tmp_path / f"{name}_emotion.json").read_text())
        assert {use["kind"] for use in table["baselines"]} == {"own clips"}
        assert table["baselines"][0]["face_seconds"] == pytest.approx(2.4, abs=0.3)
        assert len(table["settings"]["adapted_to"]) == 2


def test_what_contradicts_itself_is_refused_before_a_model_is_loaded(call, run_with_baseline, media, tmp_path):
    clip, model = media / "clip.mp4", ("--model", run_with_baseline)
    bare = write_small_run(tmp_path / "bare", small_config())
    for words, facts in (
        ((clip, *model, "--adapt"), ("--adapt", "several clips")),
        ((media, *model, "--adapt", "--no_adapt"), ("--adapt", "--no_adapt")),
        ((media, *model, "--adapt", "--reference", clip), ("--adapt", "--reference")),
        ((clip, "--model", bare, "--reference", clip), ("--reference", "baseline.npz")),
        ((clip, *model, "--reference", tmp_path / "gone.mp4"), ("gone.mp4",)),
        (("7", *model, "--reference", clip), ("--reference", "camera")),
        ((clip, *model, "--reference", f"face 1={clip}"), ("face 1",)),
    ):
        code, _, err = call(run_inference, *words, "--output_dir", tmp_path / "out", "--no_progress")
        assert code in (1, 2) and all(fact in err for fact in facts), err


def test_references_are_read_by_name(tmp_path):
    assert {name: [str(p) for p in paths] for name, paths in read_references(["Anna=a.mp4", "Ben=b", "Anna=c"]).items()
            } == {"Anna": ["a.mp4", "c"], "Ben": ["b"]}  # fmt: skip
    odd = tmp_path / "a=b.mp4"
    odd.touch()
    assert list(read_references([str(odd), "c.mp4"])) == [None]
    for words in (["Anna=a.mp4", "b.mp4"], ["=a.mp4"], ["Anna="]):
        with refused(ConfigError, "--reference"):
            read_references(words)
