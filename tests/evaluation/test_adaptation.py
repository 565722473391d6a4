"""Labelled clips are scored relative to their speakers, and the protocol says so."""

import numpy as np
import pytest

from emotion.datasets import Clip
from emotion.datasets.manifest import load, write_manifest
from emotion.datasets.synthetic.clips import draw_clip, write_clip
from emotion.evaluation.adaptation import choose_references
from emotion.evaluation.model_report import assess
from emotion.models.run_folder import load_run


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two speakers' faces, three clips each."""
    folder = tmp_path_factory.mktemp("clips")
    times, made = np.arange(0, 1.2, 0.1), []
    for speaker in (1, 2):
        for emotion in ("neutral", "happy", "sad"):
            path = folder / f"{speaker}_{emotion}.mp4"
            write_clip(path, draw_clip(emotion, times, np.zeros(12), speaker_seed=speaker, size=200), 10.0)
            made.append(Clip(f"made:{path.stem}", emotion, f"made:{speaker}", str(path)))
    return made


@pytest.fixture(scope="module")
def run(run_with_baseline):
    return load_run(run_with_baseline)


def test_the_report_says_what_answers_are_relative_to(run, clips):
    plain = assess(run, clips)
    assert plain.report["adaptation"] == {"by": None, "n_compared": {}, "n_references": 0}
    own = assess(run, clips, adapt="clips")
    assert own.report["adaptation"] == {"by": "clips", "n_compared": {"own clips": 6}, "n_references": 0}
    assert own.report["protocol"].startswith(plain.report["protocol"])
    assert "mean over all their clips given here, without their labels (6 of 6 clips)" in own.report["protocol"]
    assert [j.clip_id for j in own.judgements] == [j.clip_id for j in plain.judgements]
    assert not np.allclose(own.judgements[0].probabilities, plain.judgements[0].probabilities, atol=1e-4)
    calm = assess(run, clips, adapt="reference")
    assert calm.report["adaptation"] == {"by": "reference", "n_compared": {"reference": 4}, "n_references": 2}
    assert {j.clip_id.split("_")[1] for j in calm.judgements} == {"happy", "sad"}
    assert "2 neutral clips served as references and are not scored" in calm.report["protocol"]


def test_a_manifests_column_names_references_and_they_are_kept(clips, tmp_path):
    listed = tmp_path / "clips.csv"
    rows = [f"{clip.video_path},{clip.emotion},{clip.speaker},{clips[0].video_path}" for clip in clips[:3]]
    listed.write_text("\n".join(["path,emotion,speaker,reference", *rows]) + "\n")
    loaded = load(listed)
    assert {clip.reference for clip in loaded} == {clips[0].video_path}
    write_manifest(loaded, tmp_path / "copy.csv", tmp_path)
    assert [clip.reference for clip in load(tmp_path / "copy.csv")] == [clip.reference for clip in loaded]
    chosen = choose_references(loaded, ("video",))
    assert len(chosen.by_clip) == 3 and not chosen.not_scored
    assert {(r.video_path, r.audio_path) for named in chosen.by_clip.values() for r in named} == {
        (clips[0].video_path, None)
    }


def test_speakers_without_neutral_clips_and_strangers_have_no_reference(clips):
    strangers = [Clip("made:x", "neutral", None, "x.mp4"), *clips[1:3]]
    assert choose_references(strangers).by_clip == {}
    many = [Clip(f"made:{i}", "neutral", "made:me", f"{i}.mp4") for i in range(7)]
    chosen = choose_references(many)
    assert len(chosen.not_scored) == 5 and len(chosen.by_clip["made:6"]) == 5
