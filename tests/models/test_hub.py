"""Models go to the hub with their card and come back the same, and nothing else comes with them."""

import functools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hub_server import TOKEN, HubServer
from small_models import random_inputs, small_config, write_small_run

from emotion.config_files import load_config
from emotion.console import Reporter
from emotion.errors import ConfigError
from emotion.models import hub
from emotion.models.hub import HubError, build_card, fetch_model, hub_dir, pull, push
from emotion.models.names import resolve_model
from emotion.models.run_folder import RunError, load_run, write_metrics
from emotion.places import default_run, project_dir

NAME = "somebody/reads-faces"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = write_small_run(tmp_path_factory.mktemp("runs") / "mine", small_config())
    scores = {"uar": 0.5, "accuracy": 0.625, "n": 16, "n_speakers": 2}
    write_metrics(folder, {"protocol": "speaker-independent (seed 0)", "test": scores})
    (folder / "splits.csv").write_text("clip_id,side\n", encoding="utf-8")
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "events").write_bytes(b"log")
    (folder / "notes.py").write_text("raise SystemExit('executed')", encoding="utf-8")
    return folder


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The stand-in, which this process takes for the hub."""
    from huggingface_hub import constants

    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


def call_apart(*command: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs a program of the project as a process of its own."""
    return subprocess.run(
        [sys.executable, *command], cwd=project_dir(), env={**os.environ, **environment}, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip


def test_a_model_goes_there_and_comes_back_the_same(server, run, tmp_path):
    address = push(run, NAME, licence="cc-by-nc-sa-4.0")
    assert address.startswith(f"{server.url}/{NAME}/commit/")
    sent = server.repositories[NAME]
    assert set(sent) == {"README.md", "config.json", "metrics.json", "model.keras", "splits.csv"}
    output = pull(NAME, tmp_path / "pulled", cache_dir=tmp_path / "cache")
    assert {path.name for path in output.iterdir()} == {*sent, "MODEL_CARD.md"} - {"README.md"}
    assert not any(path.is_symlink() for path in output.iterdir())
    inputs = random_inputs(small_config())
    np.testing.assert_array_equal(load_run(output).predict(inputs), load_run(run).predict(inputs))


def test_a_network_in_two_parts_goes_there_and_comes_back_with_both(server, exported, tmp_path):
    push(exported, NAME)
    output = pull(NAME, tmp_path / "pulled", cache_dir=tmp_path / "cache")
    parts = {"model.onnx", "model.onnx.sha256", "head.onnx", "head.onnx.sha256"}
    assert parts <= set(server.repositories[NAME]) and parts <= {path.name for path in output.iterdir()}
    loaded = load_run(output, runtime="onnx")
    assert loaded.context_frames == 1 and loaded.model.head is not None


def test_the_card_says_scores_protocol_limits_and_how_to_use_it(server, run):
    push(run, NAME, licence="cc-by-nc-sa-4.0")
    card = server.repositories[NAME]["README.md"].decode()
    assert card.startswith("---\nlibrary_name: keras\nlicense: cc-by-nc-sa-4.0\n")
    for words in ("speaker-independent (seed 0)", "| test | 50.0% | 62.5% | 16 | 2 |", f"--model hf://{NAME}", "AI Act",
                  "by the voice and the face", "`mfcc_cnn_3d`"):  # fmt: skip
        assert words in card
    own = build_card(default_run(), load_run(default_run(), runtime="onnx").config, NAME)
    assert own.endswith((default_run() / "MODEL_CARD.md").read_text(encoding="utf-8"))


def test_only_the_files_of_a_model_are_fetched_and_then_found_without_a_network(server, run, tmp_path, monkeypatch):
    from huggingface_hub import constants

    push(run, NAME)
    strangers = {"setup.py": b"boom", "sitecustomize.py": b"boom", "model.pkl": b"boom", "emotion/__init__.py": b"boom"}
    server.repositories[NAME] |= strangers
    folder = fetch_model(NAME, cache_dir=tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.json", "metrics.json", "model.keras", "splits.csv",
    }  # fmt: skip
    assert not [path for path in server.asked if any(name in path for name in strangers)]
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert fetch_model(NAME, cache_dir=tmp_path) == folder


def test_a_network_that_carries_code_is_refused_and_not_executed(server, run, tmp_path):
    """A Lambda layer's function, marshalled into a .keras file, is what would run."""
    import keras

    marker = str(tmp_path / "executed")
    frames = keras.Input((3,), name="audio")
    out = keras.layers.Lambda(lambda x: (__import__("os").makedirs(marker, exist_ok=True), x)[1])(frames)
    keras.Model(frames, out).save(tmp_path / "evil.keras")
    shutil.rmtree(marker)  # building it ran it
    push(run, NAME)
    server.repositories[NAME]["model.keras"] = (tmp_path / "evil.keras").read_bytes()
    with pytest.raises(RunError):
        pull(NAME, tmp_path / "out", cache_dir=tmp_path / "cache")
    assert not Path(marker).exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["faces", "a/b/c", "../../etc", "a/..", "a b/c", ""])
def test_what_is_no_name_is_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="USER/NAME"):
        fetch_model(name, cache_dir=tmp_path)


def test_what_is_not_there_or_no_model_is_told_in_a_sentence(server, run, tmp_path):
    with pytest.raises(HubError, match="hf://no/such: .*hf auth login"):
        fetch_model("no/such", cache_dir=tmp_path)
    server.repositories["an/other"] = {"config.json": b"{}", "model.safetensors": b""}
    with pytest.raises(HubError, match="hf://an/other: "):
        fetch_model("an/other", cache_dir=tmp_path)
    push(run, NAME)
    with pytest.raises(HubError, match="@REVISION"):
        fetch_model(NAME, revision="v9", cache_dir=tmp_path)


def test_a_damaged_network_is_told_before_anything_is_kept_and_nothing_is_overwritten(server, run, tmp_path):
    push(run, NAME)
    server.repositories[NAME]["model.keras"] = b"PK but no more"
    with pytest.raises(RunError, match="model.keras"):
        pull(NAME, tmp_path / "out", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine.txt").write_text("here first")
    with pytest.raises(RunError, match="--output"):
        pull(NAME, tmp_path, cache_dir=tmp_path / "cache")
    assert (tmp_path / "mine.txt").read_text() == "here first"


def test_a_model_of_gigabytes_is_not_fetched(server, run, tmp_path, monkeypatch):
    push(run, NAME)
    server.asked.clear()
    monkeypatch.setattr(hub, "MAX_BYTES", 1000)
    with pytest.raises(HubError, match=f"hf://{NAME}: has .* GB"):
        fetch_model(NAME, cache_dir=tmp_path)
    assert not list(tmp_path.rglob("model.keras"))


def test_the_revision_used_is_shown_and_pins_that_very_model(server, run, tmp_path, capsys):
    push(run, NAME)
    first = server.revision(NAME)
    fetch_model(NAME, cache_dir=tmp_path, reporter=Reporter())
    assert f"hf://{NAME}@{first}" in "".join(capsys.readouterr())
    server.repositories[NAME]["metrics.json"] = b"{}"  # the maker changes something
    assert fetch_model(NAME, cache_dir=tmp_path).name == server.revision(NAME) != first
    assert fetch_model(NAME, revision=first, cache_dir=tmp_path).name == first


def test_what_is_no_run_is_not_sent_and_nothing_without_a_token(server, run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "half")
    (tmp_path / "half" / "model.keras").unlink()
    with pytest.raises(RunError, match="model.keras"):
        push(tmp_path / "half", NAME)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError, match=f"{NAME}.*hf auth login"):
        push(run, NAME)
    assert NAME not in server.repositories


def test_what_is_pulled_and_pushed_again_keeps_its_licence_and_has_one_header(run, tmp_path):
    config = load_config(run / "config.json")
    (tmp_path / "MODEL_CARD.md").write_text(build_card(run, config, "a/b", "cc-by-nc-sa-4.0"), encoding="utf-8")
    text = build_card(tmp_path, config, "c/d")
    assert text.count("library_name") == 1 and "license: cc-by-nc-sa-4.0" in text and "\n# b\n" in text
    assert "license: mit" in build_card(tmp_path, config, "c/d", "mit")
    (tmp_path / "MODEL_CARD.md").write_text("# mine\n\n---\n\ntext\n", encoding="utf-8")
    assert build_card(tmp_path, config, "c/d").endswith("---\n\n# mine\n\n---\n\ntext\n")


@pytest.mark.parametrize(
    "side", [{"n": 3}, {"n": 3, "uar": None, "accuracy": 0.5}, {"n": "x", "uar": 1, "accuracy": 1}]
)
def test_damaged_scores_count_as_none(run, tmp_path, side):
    (tmp_path / "metrics.json").write_text(json.dumps({"test": side}), encoding="utf-8")
    assert "No scores are kept" in build_card(tmp_path, load_config(run / "config.json"), "c/d")


def test_a_name_is_told_to_be_wrong_after_the_options_are():
    call = functools.partial(call_apart, "run_inference.py", "samples/astronaut.mp4")
    done = call("--model", "hf://bad name")
    assert done.returncode == 2 and "USER/NAME" in done.stderr
    assert call("--model", "hf://no/such", "--help").returncode == 0
    done = call("--model", "hf://no/such", "--nonsense")
    assert "--nonsense" in done.stderr and "no/such" not in done.stderr


@pytest.fixture
def kept_cache():
    """What a program of its own keeps lies in the project's cache, and is taken away again."""
    yield
    for name in (NAME, "no/such"):
        for folder in (hub_dir(), hub_dir() / ".locks"):
            shutil.rmtree(folder / f"models--{name.replace('/', '--')}", ignore_errors=True)


def test_the_commands_and_inference_by_name_work_as_typed(server, kept_cache, tmp_path):
    """The shipped model, sent, fetched, and used on the sample by its name."""
    call = functools.partial(
        call_apart, HF_ENDPOINT=server.url, HF_TOKEN=TOKEN, HF_HOME=str(tmp_path / "home"), HF_HUB_DISABLE_XET="1"
    )
    done = call("-m", "emotion.hub", "push", "saved_models/default", NAME, "--private")
    assert done.returncode == 0 and done.stdout.startswith("sent: http"), done.stderr
    assert NAME in server.private and "model.onnx.sha256" in server.repositories[NAME]
    pulled = tmp_path / "pulled"
    done = call("-m", "emotion.hub", "pull", f"hf://{NAME}", "--output", str(pulled))
    assert done.returncode == 0 and f"model: {pulled}" in done.stdout, done.stderr
    assert json.loads((pulled / "config.json").read_text()) == json.loads((default_run() / "config.json").read_text())
    assert zipfile.is_zipfile(pulled / "model.keras")
    output = tmp_path / "labelled.mp4"
    done = call(
        "run_inference.py", "--video_path", "samples/astronaut.mp4", "--model", f"hf://{NAME}", "--output", str(output)
    )
    assert done.returncode == 0 and "happy" in done.stdout and output.is_file(), done.stderr
    done = call("run_inference.py", "samples/astronaut.mp4", "--model", "hf://no/such", "--no_video")
    assert done.returncode == 2 and "\nerror: hf://no/such: " in done.stderr and "Traceback" not in done.stderr


def test_other_names_mean_what_they_meant():
    assert resolve_model("default") == default_run()
    assert resolve_model("some/where") == Path("some/where")
