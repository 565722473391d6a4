"""The documents hold: links lead somewhere, the reference is the programs' own, and every command is run by a test."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from document_commands import COMMANDS, DOCUMENTS, ROOT, RUN_HERE, follow, make_place, python_blocks

sys.path.insert(0, str(ROOT / "docs"))
import make_reference

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

# What is not run in this file is run by another test, named here, or needs what no test has, for the reason given.
ELSEWHERE = {
    r"python train_model.py --demo": "tests/journeys/test_programs.py",
    r"python train_model.py --list_models": "tests/models/test_export_onnx.py",
    r"python train_model.py --recipe": "tests/journeys/test_programs.py",
    r"python train_model.py --fusion late|python -m emotion.fuse": "tests/training/test_late_fusion.py",
    r"python train_model.py( --model (NAME|logmel_cnn)( --modality audio)?)?$": "tests/journeys/test_programs.py",
    r"python train_model.py --model resnet18_ast --pretrained": "tests/journeys/test_programs.py",
    r"python train_model.py --manifest clips.csv": "tests/journeys/test_documents.py",
    r"python run_inference.py 0": "tests/inference/test_live.py",
    r"python run_inference.py .*--model saved_models/(RUN|mine)": "tests/journeys/test_programs.py",
    r"python run_inference.py .*--model hf://|python -m emotion.hub": "tests/models/test_hub.py",
    r"python -m emotion.export .*--format|cd saved_models/default/export/onnx": "tests/models/test_export_portable.py",
    r"python -m emotion.export .*--precision int8|python run_inference.py .*--runtime int8": "tests/models/test_export_onnx.py",  # noqa: E501
    r"python -m emotion.export saved_models/RUN$": "tests/models/test_export_onnx.py",
    r"python -m emotion.datasets download": "tests/datasets/test_download.py",
    r"python -m emotion.datasets convert-labels": "tests/datasets/check/test_label_conversion.py",
    r"python -m emotion.weights": "tests/models/test_pretrained.py",
    r"python -m emotion.evaluate (folds|protocols)|python -m emotion.evaluate --model saved_models/RUN":
        "tests/journeys/test_evaluate.py",
    r"python -m emotion.web_demo|make demo-web|make test-browser|emotion-demo": "tests/browser/test_page.py",
    r"python -m benchmarks|python -m benchmarks.precision|python -m benchmarks.designs": "tests/benchmarks/test_speed.py",  # noqa: E501
    r"python benchmarks/baselines.py": "tests/benchmarks/test_baselines.py",
    r"python samples/make_astronaut_clip.py": "it makes the sample anew, which is kept as it is",
    r"make (demo|test|lint)$": ".ci/run",
    r"make docs": "docs/make_reference.py",  # and test_the_site_is_built below, where MkDocs is installed
    r"make test-reference": "tests/reference",
    r"emotion-(infer|train)": "tests/journeys/test_packaging.py",
    r"pip |python -m pip |python3 -m venv|hf auth login|git |docker ": "needs the network, or an account",
}  # fmt: skip


def test_there_are_documents_and_commands():
    assert len(DOCUMENTS) > 12 and len(COMMANDS) > 50


# ---- Links ----


def anchors_of(path: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_what_is_there(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in LINK.findall(text):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.exists(), f"{path.name} links to {target}"
        if anchor and "site shows" not in place.read_text(encoding="utf-8"):
            assert anchor in anchors_of(place), f"{path.name} links to {target}"


# ---- The reference ----


@pytest.mark.parametrize("page", make_reference.PAGES)
def test_the_reference_is_what_the_programs_say(page):
    written = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert make_reference.PAGES[page]() == written, "run: python docs/make_reference.py"


def test_the_site_is_built_without_a_broken_link(tmp_path):
    pytest.importorskip("material", reason="make docs installs it, and runs this for itself")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    front = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "annotated.png" in front and "run_inference.py" in front
    assert not re.findall(r'(?:src|href)="https?://(?:fonts|cdn|unpkg)', front)


# ---- Commands ----


def parser_of(words: list[str]):
    """The parser of the program that a command starts, and its arguments; None for another's program."""
    names = {**make_reference.PROGRAMS, "python -m benchmarks.precision": "benchmarks.precision",
             "python -m benchmarks.designs": "benchmarks.designs", "benchmarks/baselines.py": "benchmarks.baselines",
             "emotion-infer": "emotion.infer", "emotion-train": "emotion.train",
             "emotion-demo": "emotion.web_demo"}  # fmt: skip
    for name in sorted(names, key=len, reverse=True):
        known = name.split() if name.startswith(("python", "emotion-")) else ["python", name]
        if words[: len(known)] == known:
            return make_reference.build_parser(names[name]), words[len(known) :]
    return None


@pytest.mark.parametrize(("document", "command"), COMMANDS)
def test_a_command_is_one_that_its_program_understands(document, command, monkeypatch):
    monkeypatch.setattr("emotion.models.hub.fetch", lambda repository, revision=None: Path(repository))
    if command.startswith("make "):
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert command.split()[1] in targets
        return
    for file in re.findall(r"requirements[\w/-]*\.txt", command):
        assert list(ROOT.glob(f"**/{file}"))
    parts = parser_of(shlex.split(command))
    if parts is not None:
        parser, arguments = parts
        arguments = ["logmel_cnn" if word == "NAME" else word for word in arguments]
        if "PYTHON" in arguments or "peer/bin/python" in arguments:
            arguments = [sys.executable if word in ("PYTHON", "peer/bin/python") else word for word in arguments]
        parser.parse_args(arguments)  # exits at what it does not know


def run_here(command: str) -> bool:
    return any(command == each for each in RUN_HERE)


# In this order, in one folder that holds the project, clip.mp4, clips/, my_clips/ and clips.csv.


@pytest.mark.parametrize(("document", "command"), [each for each in COMMANDS if not run_here(each[1])])
def test_a_command_that_is_not_run_here_is_run_elsewhere(document, command):
    """A file named for it is there and speaks of the program: that it runs it is for its reader to see."""
    places = [place for pattern, place in ELSEWHERE.items() if re.match(pattern, command)]
    assert places, f"{document}: no test runs {command}"
    for place in places:
        if " " in place or (ROOT / place).is_dir():
            continue
        text = (ROOT / place).read_text(encoding="utf-8")
        words = [word.removesuffix(".py") for word in shlex.split(command) if not word.startswith(("-", "python"))]
        program = re.search(r"-m ([\w.]+)", command)
        wanted = program.group(1) if program else words[-1 if words[0] == "cd" else 0]
        assert any(each in text for each in (wanted, wanted.split(".")[-1], wanted.split("/")[-1])), (place, command)


def test_what_is_run_here_stands_in_a_document():
    assert [command for command in RUN_HERE if command not in {each for _, each in COMMANDS}] == []


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_place(tmp_path_factory.mktemp("documents"))


def test_the_commands_do_what_they_are_there_for_and_the_tutorial_leads_to_a_model(place):
    drawing, naming = python_blocks(ROOT / "docs" / "tutorial.md")
    # Fewer clips, and an epoch instead of twenty, are the only differences to the text.
    drawing = drawing.replace("n_speakers=4, n_repetitions=2", "n_speakers=4, n_repetitions=1")
    exec(f"import os; os.chdir({str(place)!r})\n{drawing}", {"__name__": "tutorial"})
    for command in RUN_HERE:
        for path in place.glob("clip_emotion*"):  # of the command before
            path.unlink()
        if " clean " in command:
            shutil.rmtree(place / "clean", ignore_errors=True)
        done = follow(place, command)
        # 3: check found something.
        allowed = (0, 3) if " check " in command else (0,)
        assert done.returncode in allowed, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        if command.endswith("clean my_clips --output clean"):
            exec(f"import os; os.chdir({str(place)!r})\n{naming}", {"__name__": "tutorial"})
            assert "speaker" in (place / "clean" / "manifest.csv").read_text()
        if "run_inference.py" in command and "clip.mp4" in command:
            assert (place / "clip_emotion.mp4").is_file()
        if "saved_models/mine" in command:
            assert ("optimistic" in done.stdout) == ("random" in command)
    for name in ("emotion_results/summary.csv", "scores.json", "saved_models/mine/model.keras",
                 "saved_models/mine_apart/confusion_matrix.png"):  # fmt: skip
        assert (place / name).is_file(), name


@pytest.fixture(autouse=True)
def stay_here():
    before = Path.cwd()
    yield
    os.chdir(before)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_python_in_a_document_is_python(path):
    for block in python_blocks(path):
        if path.name != "python.md":  # where signatures stand
            compile(block, str(path), "exec")
        for module in re.findall(r"^from (emotion[\w.]*) import", block, re.MULTILINE):
            importlib.import_module(module)


def test_the_example_of_the_front_page_runs(capsys):
    (block,) = python_blocks(ROOT / "README.md")
    os.chdir(ROOT)
    exec(block, {"__name__": "readme"})
    assert capsys.readouterr().out.startswith("happy 0.9")
