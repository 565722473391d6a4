"""The page for users of other programs: it knows all their commands and options, and each row works here."""

import dataclasses
import importlib
import json
import re
import shlex
import shutil

import pytest
from document_commands import ROOT, Row, rows_of
from small_models import SMALL_SETTINGS, small_design

import train_model
from emotion import config, evaluate
from emotion.config_files import to_dict
from emotion.datasets.synthetic.clips import write_synthetic_dataset
from emotion.models import ARCHITECTURES

ROWS = rows_of(ROOT / "docs" / "coming_from.md")
# What their READMEs and parsers name, program by program, in November 2026.
THEIRS = {
    "3D-CNN and MFCCs, in Keras": "requirements.txt train_model.py run_inference.py --video_path "
        "dataset/audios/Actor_01/ dataset/videos/Actor_01/",
    "ResNet-18 and AST": "CSV_PATH config.py train.py inference.py checkpoints/best_model.pth",
    "MobileFaceNet and LSTM": "env.sh csv_convert.py clean_csv.py config.py train.py eval.py",
    "EfficientFace and a 1D-CNN": "extract_faces.py extract_audios.py create_annotations.py main.py "
        "--annotation_path --result_path --store_name --dataset --n_classes --model --num_heads --device --sample_size "
        "--sample_duration --learning_rate --momentum --lr_steps --dampening --weight_decay --lr_patience --batch_size "
        "--n_epochs --begin_epoch --resume_path --pretrain_path --no_train --no_val --test --test_subset --n_threads "
        "--video_norm_value --manual_seed --fusion --mask --only_inference --media_path --model_path --no_plot "
        "--save_plot --step_sec --efficientface_path --train_dir --val_dir --labels --epochs --lr --save_every "
        "--resume --video_len --audio_win --video --sample-rate --output --visualize --smooth --ravdess-dir "
        "--max-per-emotion --batch-size --num-frames --config --audio inference_late_fusion.ipynb",
    "wav2vec2 and a face model": "AUDIO_03_modeling_SER_random_split_v01.ipynb "
        "AUDIO_03_modeling_SER_speaker_independent_v01.ipynb VISUAL_01_modeling_FER_CREMA-D_video_v01.ipynb "
        "FUSION_02_multimodal_audio_visual_final_v01.ipynb DEMO_00_multimodal_emotion_recognition_no_code_v01.ipynb "
        "checkpoints/best_wav2vec2_speaker_indep.pt checkpoints/best_visual_model.keras",
}  # fmt: skip
COMMANDS = sorted({command for row in ROWS for command in row.commands})
# Not run here: parts of a command, with the test that runs it, or the reason.
ELSEWHERE = {
    "--pretrained": "tests/journeys/test_pretrained_experts.py",
    "--efficientface_path": "tests/journeys/test_pretrained_experts.py",
    "--model resnet18_ast": "tests/models/test_designs.py",
    "emotion.fuse": "tests/journeys/test_pretrained_experts.py",
    "emotion.web_demo": "tests/browser/test_page.py",
    "train_model.py --resume": "tests/training/test_fitting.py",
    "make ": "sets up",
}


def is_run_elsewhere(command: str) -> bool:
    return any(part in command for part in ELSEWHERE)


def modules_of(command: str):
    """Returns the module of one of our commands, and its arguments."""
    words = shlex.split(command)[1:]
    if words[0] != "-m":
        return importlib.import_module(words[0].removesuffix(".py")), words[1:]
    name = "emotion.datasets.__main__" if words[1] == "emotion.datasets" else words[1]
    return importlib.import_module(name), words[2:]


# ---- Complete ----


def test_each_command_and_option_of_theirs_has_a_row():
    named = {section: {word for row in ROWS if row.section == section for code in row.there for word in code.split()}
             for section in THEIRS}  # fmt: skip
    assert {row.section for row in ROWS} == set(THEIRS)
    for section, words in THEIRS.items():
        assert sorted(set(words.split()) - named[section]) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ", ".join(row.there) or row.text)
def test_a_row_says_what_there_is_here(row: Row):
    assert row.commands or re.search(r"[a-z]{4}", row.text)
    for code in row.here:
        if re.fullmatch(r"\w+\.\w+", code) and not (ROOT / code).exists() and not code.endswith((".csv", ".ipynb")):
            part, name = code.split(".")
            known = {field.name for field in dataclasses.fields(config.RunConfig)}
            assert part in known
            if part == "model":
                assert name in importlib.import_module(ARCHITECTURES["resnet18_ast"].module).default_config()
            else:
                assert name in to_dict(config.RunConfig())[part]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_ours_has_valid_options(command):
    if command.startswith("make "):
        assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return
    module, words = modules_of(command)
    if words[:1] == ["protocols"]:
        evaluate.build_protocols_parser().parse_args(words[1:])
    else:
        module.build_parser().parse_args(words)


def test_the_list_of_what_runs_elsewhere_is_up_to_date():
    for part, place in ELSEWHERE.items():
        assert any(part in command for command in COMMANDS), part
        assert " " in place or (ROOT / place).is_file(), place


# ---- True ----


@pytest.fixture(scope="module")
def place(dataset_dir, cache_dir, trained, tmp_path_factory):
    """A folder in which the commands of the page can be given."""
    folder = tmp_path_factory.mktemp("coming")
    shutil.copytree(dataset_dir, folder / "dataset")
    (folder / "saved_models").mkdir()
    for name in ("RUN", "av"):
        (folder / "saved_models" / name).symlink_to(trained.path)
    (folder / "results").mkdir()
    videos, sounds = sorted(folder.rglob("01-*.mp4")), sorted(folder.rglob("03-*.wav"))
    shutil.copy(videos[0], folder / "clip.mp4")
    shutil.copy(sounds[0], folder / "voice.wav")
    emotions = {"03": "happy", "04": "sad"}
    rows = [f"{path},{emotions[path.stem.split('-')[2]]},{path.stem.split('-')[6]}" for path in videos]
    (folder / "clips.csv").write_text("\n".join(["path,emotion,speaker", *rows]) + "\n")
    (folder / "train_sent_emo.csv").write_text("Utterance,Speaker,Emotion\nOh!,Joey,joy\nNo,Ross,anger\n")
    (folder / "settings.json").write_text(json.dumps(SMALL_SETTINGS))
    for number, path in enumerate(videos):
        side = ("train", "val", "test")[number % 3]
        named = folder / "DIR" / side / emotions[path.stem.split("-")[2]] / path.name
        named.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, named)
    return folder


QUICK = [command for command in COMMANDS if "train_model.py" not in command and " protocols " not in command]


@pytest.mark.parametrize("command", [command for command in QUICK if not is_run_elsewhere(command)])
def test_a_command_that_uses_a_model_works(command, place, call):
    module, words = modules_of(command)
    if "run_inference" in command:
        words += ["--overwrite", "--no_progress"]
        words += [] if re.search(r"_path |clip|voice", command) and "--model_path" not in words else ["clip.mp4"]
    elif "evaluate" in command:
        words += ["--no_progress"] + ([] if "--model" in words else ["--model", "saved_models/RUN"])
    elif "clean" in command:
        shutil.rmtree(place / "clean", ignore_errors=True)
    done = call(module, *words, cwd=place)
    if "--device cuda" in command and done.code == 2:
        assert "TensorFlow finds no GPU" in done.err
    elif "retinaface" in command and done.code == 2:
        assert "python -m emotion.weights retinaface" in done.err
    else:
        assert done.code == 0, done.err


TRAINING = [command for command in COMMANDS if "train_model.py" in command and not is_run_elsewhere(command)]
TRAINER_ROWS = [row for row in ROWS if row.program == "python train_model.py"]
TOGETHER = [command for row in TRAINER_ROWS for command in row.commands
            if command in TRAINING and not re.search("official|manifest|--model|--epochs", command)]  # fmt: skip


@pytest.mark.trains
def test_all_options_of_training_work_together(place, cache_dir, call, eagerly):
    """One training with every option that goes with the others, and every setting that the page names."""
    words = [command.removeprefix("python train_model.py ") for command in TOGETHER]
    assert len(words) > 7
    names = [code for row in TRAINER_ROWS for code in row.here if re.fullmatch(r"(training|video)\.\w+", code)]
    settings = json.loads(json.dumps(SMALL_SETTINGS))
    for part, name in (name.split(".") for name in names):
        settings.setdefault(part, {}).setdefault(name, to_dict(config.RunConfig())[part][name])
    (place / "named.json").write_text(json.dumps(settings))
    done = call(
        train_model, *shlex.split(" ".join(words)), "--config", "named.json", "--epochs", 1, "--no_progress",
        "--cache_dir", cache_dir, cwd=place,
    )  # fmt: skip
    assert done.code == 0, done.err
    made = json.loads((place / "saved_models" / "NEW" / "config.json").read_text())
    assert made["training"]["seed"] == 1 and made["video"]["n_frames"] == 15 and made["class_names"] == ["happy", "sad"]


@pytest.mark.trains
@pytest.mark.thorough
@pytest.mark.parametrize("command", [command for command in TRAINING if command not in TOGETHER])
def test_a_command_that_trains_works(command, place, cache_dir, tmp_path, call, eagerly):
    module, words = modules_of(command)
    if "--model" in words:
        small = small_design(words[words.index("--model") + 1])
        (tmp_path / "small.json").write_text(json.dumps(to_dict(small)))
        words += ["--config", tmp_path / "small.json"]
    elif "--config" not in words:
        words += ["--config", "settings.json"]
    done = call(
        module, *words, "--epochs", 1, "--no_progress", "--cache_dir", cache_dir, "--output", tmp_path / "made",
        cwd=place,
    )  # fmt: skip
    assert done.code == 0, done.err


def test_pairs_of_folders_for_sound_and_pictures_are_read_as_one_clip_each(tmp_path):
    """As *Multimodal Emotion Recognition Using Audio and Video Fusion* asks for its data."""
    from emotion.datasets import DATASETS

    write_synthetic_dataset(tmp_path / "made", emotions=("happy",), n_speakers=2, n_repetitions=1)
    for path in sorted((tmp_path / "made").rglob("0*.*")):
        kind = {"mp4": "videos", "wav": "audios"}[path.suffix[1:]]
        target = tmp_path / "dataset" / kind / f"Actor_{path.stem[-2:]}" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    clips = DATASETS["ravdess"].load(tmp_path / "dataset")
    assert len(clips) == 2
    assert all("/videos/" in clip.video_path and "/audios/" in clip.audio_path for clip in clips)
