"""``python -m emotion.evaluate`` as a person uses it: what it prints, what it writes, how it ends."""

import csv
import hashlib
import json

import media_files
import pytest
from small_models import EMOTIONS, TINY_DESIGN, tiny_config

from emotion import evaluate
from emotion.config_files import write_config

KEYS = {
    "protocol", "n", "n_skipped", "classes", "accuracy", "uar", "macro_f1", "weighted_f1", "per_class",
    "confusion_matrix", "ece", "intervals", "by_speaker", "by_sex", "coverage_accuracy", "evidence", "model", "command",
}  # fmt: skip


@pytest.fixture
def call(call, cache_dir):
    """The program in this process, on the shared folder of decoded clips unless the test names another."""

    def call_evaluate(*arguments):
        cache = () if "--cache_dir" in arguments else ("--cache_dir", cache_dir)
        return call(evaluate, *arguments, *cache, "--no_progress")

    return call_evaluate


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.json"
    write_config(tiny_config(), path)
    return path


def write_manifest(path, rows, columns=("path", "emotion", "speaker", "sex")):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def test_a_data_set_is_scored_with_every_number_and_plot(call, trained, dataset_dir, tmp_path):
    plots, scores = tmp_path / "plots", tmp_path / "scores.json"
    code, out, err = call(
        "--model", trained.path, "--dataset", "ravdess", "--root", dataset_dir, "--json", scores, "--plots", plots,
        "--predictions", tmp_path / "predictions.csv",
    )  # fmt: skip
    assert (code, err) == (0, "")
    report = json.loads(scores.read_text())
    assert set(report) >= KEYS
    assert report["classes"] == list(EMOTIONS)
    assert report["n"] == trained.metrics["test"]["n"]
    assert report["uar"] == trained.metrics["test"]["uar"]
    assert report["model"]["sha256"] == hashlib.sha256((trained.path / "model.keras").read_bytes()).hexdigest()
    assert report["command"].split()[1:4] == ["-m", "emotion.evaluate", "--model"]
    assert report["human_accuracy"] == {"audio": 0.62}
    assert "protocol: speaker-independent" in out
    assert "UAR (recall averaged over the emotions):" in out
    names = {"confusion_matrix.png", "reliability.png", "coverage_accuracy.png", "recall_by_modality.png"}
    assert {path.name for path in plots.iterdir()} == names
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == report["n"] + 1


def test_one_manifest_may_hold_videos_sounds_and_pictures(call, trained, clips, tmp_path):
    still = media_files.make_still(tmp_path / "grey.png")
    rows = [
        [clips[0].video_path, "joy", "me", "f"],
        [clips[1].audio_path, "happiness", "me", "f"],
        [still, "sad", "you", "m"],
        [tmp_path / "gone.mp4", "sad", "you", "m"],
        [clips[2].video_path, "boredom", "you", "m"],
    ]
    manifest = write_manifest(tmp_path / "mine.csv", rows)
    code, out, err = call(
        "--model", trained.path, "--manifest", manifest, "--include_seen", "--json", tmp_path / "s.json"
    )
    assert code == 3
    report = json.loads((tmp_path / "s.json").read_text())
    assert (report["n"], report["n_clips"], report["n_skipped"]) == (2, 5, 2)
    assert report["left_out"]["no_such_class"] == {"boredom": 1}
    assert "boredom 1" in out
    assert "gone.mp4" in err and "grey.png" in err
    assert report["by_sex"]["female"]["n"] == 2


@pytest.mark.parametrize("modality", ["audio", "video"])
def test_one_modality_alone_can_be_scored(call, trained, dataset_dir, tmp_path, modality):
    code, _, _ = call(
        "--model", trained.path, "--root", dataset_dir, "--modality", modality, "--json", tmp_path / "s.json"
    )
    assert code == 0
    report = json.loads((tmp_path / "s.json").read_text())
    assert report["evidence"][f"{modality}_only"] == report["n"]


def test_mistakes_are_named_before_anything_is_loaded(call, trained, clips, dataset_dir, tmp_path):
    manifest = write_manifest(tmp_path / "bad.csv", [[clips[0].video_path, "joy", "me", "f"], ["", "sad", "me", "f"]])
    (tmp_path / "file").write_text("")
    for arguments, words in (
        (["--model", tmp_path / "none", "--root", dataset_dir], str(tmp_path / "none")),
        (["--model", trained.path, "--root", tmp_path / "nowhere"], "nowhere"),
        (["--model", trained.path, "--manifest", tmp_path / "none.csv"], "none.csv"),
        (["--model", trained.path, "--root", dataset_dir, "--json", tmp_path / "a" / "b.json"], str(tmp_path / "a")),
        (["--model", trained.path, "--root", dataset_dir, "--json", tmp_path], str(tmp_path)),
        (["--model", trained.path, "--root", dataset_dir, "--plots", tmp_path / "file" / "plots"], "file/plots"),
        (["--model", trained.path, "--manifest", manifest], "line 3"),
        (["--manifest", "a.csv", "--dataset", "ravdess"], "--manifest"),
        (["--dataset", "manifest"], "--manifest FILE"),
    ):
        code, out, err = call(*arguments)
        assert code in (1, 2), (arguments, err)
        assert words in err
        assert "Traceback" not in err
        assert "UAR" not in out


def test_folds_without_a_place_for_decoded_clips_end_in_a_line(call, dataset_dir, config_file, tmp_path, tiny_design):
    (tmp_path / "file").write_text("")
    code, _, err = call("folds", "--root", dataset_dir, "--config", config_file, "--cache_dir", tmp_path / "file")
    assert code == 1
    assert err.startswith("error: ") and "file" in err and "Traceback" not in err


@pytest.mark.trains
def test_folds_are_trained_and_tabled(call, dataset_dir, config_file, tmp_path, eagerly, tiny_design):
    arguments = ("folds", "--root", dataset_dir, "--config", config_file, "--folds", 2, "--output", tmp_path / "cv")
    code, out, err = call(*arguments)
    assert (code, err) == (0, "")
    assert "| fold | clips | speakers |" in out
    assert "protocol: speaker-independent, k-fold (seed 0), 2 folds pooled" in out
    assert {"folds.json", "folds.png", "predictions.csv", "fold_01", "fold_02"} <= {
        path.name for path in (tmp_path / "cv").iterdir()
    }
    code, again, _ = call(*arguments)
    assert code == 0
    assert again.count("finished already") == 2
    assert again.split("| fold |")[1] == out.split("| fold |")[1]


@pytest.mark.trains
def test_two_protocols_stand_side_by_side(call, dataset_dir, config_file, tmp_path, eagerly, tiny_design):
    code, out, _ = call(
        "protocols", "--root", dataset_dir, "--config", config_file, "--modality", "audio", "--epochs", 1,
        "--output", tmp_path / "both",
    )  # fmt: skip
    assert code == 0
    report = json.loads((tmp_path / "both" / "protocols.json").read_text())
    assert [row["protocol"] for row in report["rows"]] == ["speakers apart", "random"]
    assert {row["system"] for row in report["rows"]} == {f"{TINY_DESIGN} (audio)"}
    assert report["human_accuracy"] == 0.62
    assert (tmp_path / "both" / "protocols.png").stat().st_size > 1000
    assert "speakers apart" in out and "random" in out
    assert report["speakers apart"]["protocol"] == "speaker-independent (seed 0)"
    assert "protocols" in report["speakers apart"]["command"]
    assert "optimistic" in report["random"]["protocol"]
    code, _, err = call(
        "protocols", "--root", dataset_dir, "--config", config_file, "--folds", 2, "--output", tmp_path / "both"
    )
    assert code == 2
    assert str(tmp_path / "both") in err


def test_several_corpora_stand_in_one_table(call, trained, clips, tmp_path):
    columns = ("path", "emotion", "speaker", "sex", "language", "corpus")
    of = {"one": clips[:8], "two": clips[8:]}
    tables = []
    for (name, chosen), language in zip(of.items(), ("en", "de"), strict=True):
        rows = [
            (clip.video_path, clip.emotion, clip.speaker.replace(":", "-"), clip.sex, language, corpus)
            for clip, corpus in zip(chosen, "aabb" * 2, strict=True)
        ]
        tables.append(write_manifest(tmp_path / f"{name}.csv", rows, columns))
    scores = tmp_path / "scores.json"
    code, out, _ = call("--model", trained.path, "--manifest", *tables, "--include_seen", "--json", scores)
    assert code == 0
    report = json.loads(scores.read_text())
    assert set(report["corpora"]) == {f"manifest {name}.csv, {corpus}" for name in of for corpus in "ab"}
    assert report["all"]["n"] == sum(each["n"] for each in report["corpora"].values()) == 16
    assert {name: each["n"] for name, each in report["by_language"].items()} == {"en": 8, "de": 8}
    assert sum(each["n"] for each in report["by_sex"].values()) == 16
    for words in ("| manifest one.csv, a", "| language de", "| female speakers", "right if answered"):
        assert words in out


def test_a_corpus_that_cannot_be_scored_is_named_beside_the_others(call, trained, clips, tmp_path):
    rows = [(clip.video_path, clip.emotion, "", "") for clip in clips[:4]]
    good = write_manifest(tmp_path / "good.csv", rows)
    bad = write_manifest(tmp_path / "bad.csv", [(path, "boredom", "", "") for path, *_ in rows])
    code, out, err = call("--model", trained.path, "--manifest", good, bad, "--include_seen")
    assert code == 0 and "manifest bad.csv: not scored" in out and "boredom" in err
    assert call("--model", trained.path, "--manifest", good, bad, "--plots", tmp_path / "plots").code == 2
