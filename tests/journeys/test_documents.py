"""The documents are true: links work, paths exist, the reference is up to date, and commands run."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from document_commands import (
    COMMANDS,
    DOCUMENTS,
    NOT_RUN,
    ROOT,
    RUN_HERE,
    RUN_IN_MINUTES,
    follow,
    make_place,
    python_blocks,
)

sys.path.insert(0, str(ROOT / "docs"))
import make_reference

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def test_there_are_documents_and_commands():
    assert len(DOCUMENTS) > 12 and len(COMMANDS) > 50


# ---- Links ----


def anchors_of(path: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


documents = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


@documents
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


@documents
def test_modules_named_in_a_document_exist(path):
    """Paths such as ``inputs/faces/crops.py`` count from the project's folder or from ``emotion/``."""
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"`([\w/]+/[\w/]*(?:\.py)?)`", text):
        if (
            "NAME" not in name
            and name[0] != "/"
            and (name.endswith(".py") or (ROOT / "emotion" / name.split("/")[0]).is_dir())
        ):
            assert (ROOT / name).exists() or (ROOT / "emotion" / name).exists(), f"{path.name} names {name}"


# ---- The reference ----


@pytest.mark.parametrize("page", make_reference.PAGES)
def test_the_reference_is_what_the_programs_say(page):
    written = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert make_reference.PAGES[page]() == written, "run: python docs/make_reference.py"


def test_every_file_has_a_line():
    page = make_reference.write_files()
    files = [path.relative_to(ROOT / "emotion").as_posix() for path in (ROOT / "emotion").rglob("*.py")]
    rooms = {f"{room}/__init__.py" for room in make_reference.ROOMS}
    assert [name for name in files if name not in rooms and page.count(f"| `{name}` |") != 1] == []


@pytest.mark.parametrize("source", ["x = 1", '"""Cuts windows, and\njudges them."""', '""""""'])
def test_a_module_that_does_not_say_in_a_line_what_it_is_for_is_named(source, tmp_path):
    (tmp_path / "module.py").write_text(source, encoding="utf-8")
    with pytest.raises(ValueError, match=r"module\.py: its docstring"):
        make_reference.summary_of(tmp_path / "module.py")


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
    """Returns the command's parser and arguments, or None for a program that is not ours."""
    names = {**make_reference.PROGRAMS, "python -m benchmarks.precision": "benchmarks.precision",
             "python -m benchmarks.designs": "benchmarks.designs", "benchmarks/baselines.py": "benchmarks.baselines",
             "emotion-infer": "emotion.infer", "emotion-train": "emotion.train",
             "emotion-demo": "emotion.web_demo", "emotion-serve": "emotion.serve"}  # fmt: skip
    for name in sorted(names, key=len, reverse=True):
        known = name.split() if name.startswith(("python", "emotion-")) else ["python", name]
        if words[: len(known)] == known:
            return make_reference.build_parser(names[name]), words[len(known) :]
    return None


@pytest.mark.parametrize(("document", "command"), COMMANDS)
def test_a_command_has_valid_options_and_it_is_known_what_runs_it(document, command, monkeypatch):
    run = command in RUN_HERE or command in RUN_IN_MINUTES
    assert run or [pattern for pattern in NOT_RUN if re.match(pattern, command)], f"{document}: {command}"
    monkeypatch.setattr("emotion.models.hub.fetch_model", lambda repository, revision=None: Path(repository))
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


def test_the_table_of_what_runs_commands_is_up_to_date():
    commands = {command for _, command in COMMANDS}
    assert [command for command in (*RUN_HERE, *RUN_IN_MINUTES) if command not in commands] == []
    for pattern, place in NOT_RUN.items():
        assert any(re.match(pattern, command) for command in commands), pattern
        assert " " in place or (ROOT / place).is_file(), place


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_place(tmp_path_factory.mktemp("documents"))


@pytest.mark.trains
@pytest.mark.thorough
def test_the_commands_work_and_the_tutorial_leads_to_a_model(place):
    drawing, naming = python_blocks(ROOT / "docs" / "tutorial.md")
    # The only difference to the text: fewer clips.
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


@documents
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
