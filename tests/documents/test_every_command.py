"""Runs the documents' commands that take minutes: make test-documents.

Synthetic clips stand in for data, one epoch for many, a local server for the hub.
"""

import shutil

import pytest
from document_commands import ROOT, RUN_IN_MINUTES, follow, make_place
from face_data import write_ferplus
from hub_server import TOKEN, HubServer

from emotion.datasets.synthetic.clips import write_synthetic_dataset
from emotion.labels import RAVDESS_EMOTIONS

# What stands in for a placeholder.
STAND_INS = {
    "CLIP [CLIP ...]": "clip.mp4 another.mp4", "--calibrate_on CLIPS": "--calibrate_on clip.mp4 another.mp4",
    "--data_dir DIR": "--data_dir data", "--data_dir DATA": "--data_dir data",
    "--dataset_dir DIR": "--dataset_dir dataset",
    "FOLDER": "scores",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = make_place(tmp_path_factory.mktemp("every"))
    for name in ("default", "accurate"):
        (place / "saved_models" / name).unlink()  # a link; exports are written into this folder
        shutil.copytree(ROOT / "saved_models" / name, place / "saved_models" / name)
    shutil.copytree(ROOT / "benchmarks", place / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "samples" / "astronaut.mp4", place / "another.mp4")
    shutil.rmtree(place / "dataset")
    emotions = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    write_synthetic_dataset(place / "dataset", emotions=emotions, n_speakers=10, n_repetitions=1)
    names = {code: emotion for code, emotion in RAVDESS_EMOTIONS.items() if emotion in emotions}
    paths = [path.relative_to(place) for path in sorted((place / "dataset").rglob("01-*.mp4"))]
    rows = [f"{path},{names[path.stem.split('-')[2]]},{path.stem.split('-')[6]}" for path in paths]
    (place / "clips.csv").write_text("\n".join(["path,emotion,speaker", *rows]) + "\n")
    (place / "train_sent_emo.csv").write_text("Utterance,Speaker,Emotion\nOh!,Joey,joy\nNo,Ross,anger\n")
    (place / "data" / "ferplus").mkdir(parents=True)
    (place / "data" / "ravdess").symlink_to(place / "dataset")
    write_ferplus(place / "data" / "ferplus" / "ferplus_train.npz", 64)
    write_ferplus(place / "data" / "ferplus" / "ferplus_valid.npz", 22)
    return place


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with HubServer() as server:
        home = str(tmp_path_factory.mktemp("hub"))
        yield {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HOME": home, "HF_HUB_DISABLE_XET": "1"}


@pytest.mark.parametrize("command", RUN_IN_MINUTES)
def test_a_command_works(command, place, hub):
    more = RUN_IN_MINUTES[command]
    for name, stand_in in STAND_INS.items():
        command = command.replace(name, stand_in)
    if "--model NAME" in command:
        command = command.replace("NAME", "logmel_cnn" if "audio" in command else "mobilefacenet_lstm")
    where, _, command = command.rpartition(" && ")
    done = follow(place / where.removeprefix("cd "), f"{command} {more}", **hub)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr
