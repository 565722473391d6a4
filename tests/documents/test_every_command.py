"""Every command of the documents that test_documents does not run already, run as it stands there, one after the other.

Takes minutes: make test-documents. Made clips stand for data, one epoch for many, a server here for the hub.
"""

import re
import shutil

import pytest
from document_commands import COMMANDS, ROOT, RUN_HERE, follow, make_place
from face_data import write_ferplus
from hub_server import TOKEN, HubServer

from emotion.datasets.synthetic.clips import write_synthetic_dataset
from emotion.labels import RAVDESS_EMOTIONS

QUICK, RAVDESS = "--epochs 1 --no_progress", "--dataset ravdess --dataset_dir dataset"

# What stands for what a reader puts there.
STAND_INS = {
    "CLIP [CLIP ...]": "clip.mp4 another.mp4", "--calibrate_on CLIPS": "--calibrate_on clip.mp4 another.mp4",
    "--data_dir DIR": "--data_dir data", "--data_dir DATA": "--data_dir data",
    "--dataset_dir DIR": "--dataset_dir dataset",
    "FOLDER": "scores",
}  # fmt: skip

# In this order; and what each is given besides, so that it takes seconds or finds what the one before it left.
RUN_WITH = {
    "python train_model.py --list_models": "",
    "python train_model.py --demo": QUICK,
    "python train_model.py": f"{QUICK} --output saved_models/RUN",
    "python train_model.py --manifest clips.csv": QUICK,
    "python train_model.py --model logmel_cnn": f"{QUICK} --modality video --output saved_models/FACES",
    "python train_model.py --model NAME": QUICK,
    "python train_model.py --model NAME --modality audio": f"{QUICK} --output saved_models/VOICES",
    "python -m emotion.fuse --audio saved_models/VOICES --video saved_models/FACES --out saved_models/FUSED": "",
    "python train_model.py --fusion late --audio_model logmel_cnn --video_model mfcc_cnn_3d": QUICK,
    "python train_model.py --fusion late --audio_model logmel_cnn --video_model mfcc_cnn_3d --method product":
        f"{QUICK} --output saved_models/mine",
    "python run_inference.py --video_path clip.mp4 --model saved_models/RUN": "",
    "python run_inference.py --video_path clip.mp4 --model saved_models/mine": "--overwrite",
    "python -m emotion.export saved_models/RUN": "",
    "python -m emotion.export saved_models/RUN --format litert": "",
    "python -m emotion.export saved_models/RUN --precision int8 --calibrate_on CLIP [CLIP ...]": "",
    "python -m emotion.export saved_models/default --format onnx": "",
    "cd saved_models/default/export/onnx && python example.py": "",
    "python -m emotion.export saved_models/default --format savedmodel": "",
    "python -m emotion.export saved_models/default --format litert": "",
    "python -m emotion.export saved_models/default --precision int8 --calibrate_on clip.mp4 another.mp4": "",
    "python run_inference.py --video_path clip.mp4 --runtime int8": "--overwrite",
    "python -m emotion.hub push saved_models/RUN USER/NAME": "--license mit",
    "python -m emotion.hub push saved_models/mine USER/NAME --license cc-by-nc-sa-4.0": "",
    "python -m emotion.hub pull USER/NAME": "",
    "python run_inference.py --video_path clip.mp4 --model hf://USER/NAME": "--overwrite",
    f"python -m emotion.evaluate --model saved_models/RUN {RAVDESS} --modality audio": "",
    f"python -m emotion.evaluate folds {RAVDESS} --folds 5 --output saved_models/folds": QUICK,
    f"python -m emotion.evaluate protocols {RAVDESS} --folds 5 --output saved_models/protocols":
        QUICK,
    "python -m emotion.evaluate folds --protocol kfold --dataset_dir DIR --output FOLDER/kfold": f"{QUICK} --folds 5",
    "python -m emotion.evaluate folds --protocol random --dataset_dir DIR --output FOLDER/random": f"{QUICK} --folds 5",
    "python benchmarks/baselines.py --dataset_dir DIR": "--systems mfcc_svm",
    "python benchmarks/baselines.py --dataset_dir DIR --compare FOLDER": "--systems mfcc_svm",
    "python -m emotion.datasets convert-labels train_sent_emo.csv --output labels/": "",
    "python -m benchmarks.designs --data_dir DIR": "--models logmel_cnn --parts ears --voice_epochs 1",
    "python -m benchmarks.precision --data_dir DATA --calibrate_on CLIPS": "--faces 10",
}  # fmt: skip

# What stays out, and why. The first group is what CI and `make test-browser` do.
LEFT_OUT = {
    r"make |python -m emotion.web_demo": "a target of the Makefile, or the page: CI",
    r"docker |pip |python -m pip|python3 -m venv|hf auth": "installs, or asks for an account",
    r"python -m emotion.datasets download": "the network; tests/datasets/test_download.py has a server",
    r"python -m emotion.weights |.*--pretrained": "hundreds of megabytes; tests/models/test_pretrained.py has small ones",  # noqa: E501
    r"python -m benchmarks( |$)": "half an hour; tests/benchmarks/test_speed.py has short ones",
    r"python train_model.py --recipe": "hours, and other data sets; tests/training/test_recipes.py has a small one",
    r"python run_inference.py 0": "a camera; tests/inference/test_live.py has one that is made",
    r"python samples/make_astronaut_clip.py": "scikit-image, and it makes the sample anew",
}


def test_no_command_is_forgotten():
    known = {command for _, command in COMMANDS}
    assert [each for each in RUN_WITH if each not in known] == []
    missing = known - set(RUN_WITH) - set(RUN_HERE)
    assert [each for each in missing if not any(re.match(pattern, each) for pattern in LEFT_OUT)] == []


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = make_place(tmp_path_factory.mktemp("every"))
    (place / "saved_models" / "default").unlink()  # exports are written into it
    shutil.copytree(ROOT / "saved_models" / "default", place / "saved_models" / "default")
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


@pytest.mark.parametrize("command", RUN_WITH)
def test_a_command_does_what_it_is_there_for(command, place, hub):
    more = RUN_WITH[command]
    for name, stand_in in STAND_INS.items():
        command = command.replace(name, stand_in)
    if "--model NAME" in command:
        command = command.replace("NAME", "logmel_cnn" if "audio" in command else "mobilefacenet_lstm")
    where, _, command = command.rpartition(" && ")
    done = follow(place / where.removeprefix("cd "), f"{command} {more}", **hub)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr
