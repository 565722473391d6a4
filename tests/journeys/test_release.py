"""What describes a release to other programs agrees with the project: workflow, containers, conda, licences, lock."""

import json
import re
import shlex
import sys
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import emotion
from emotion import infer, serve, web_demo
from emotion.inputs.faces.detection import YUNET_FILE
from emotion.inputs.voice.speech import WEIGHTS_FILE
from emotion.places import project_dir

ROOT = project_dir()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ["3.11", "3.12", "3.13"]
# conda-forge's names for packages that are called otherwise there.
CONDA_NAMES = {
    "tensorflow-cpu": "tensorflow", "opencv-python-headless": "py-opencv", "matplotlib": "matplotlib-base",
    "soundfile": "pysoundfile", "soxr": "soxr-python", "prometheus-client": "prometheus_client",
}  # fmt: skip


def read_yaml(path: str):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def requirements(*files: str) -> list[Requirement]:
    lines = [line for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line.split("  #")[0]) for line in lines if line and line[0] not in "#-"]


NEEDED = requirements("requirements.txt", "requirements-web.txt")


def test_the_pythons_of_the_matrix_are_those_that_the_package_takes():
    taken = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}.0" in taken] == PYTHONS
    assert [name.split(" :: ")[-1] for name in PROJECT["classifiers"] if "Python :: 3." in name] == PYTHONS
    jobs = read_yaml(".github/workflows/test.yml")["jobs"]
    assert [jobs[name]["strategy"]["matrix"]["python"] for name in ("test", "install")] == [PYTHONS, PYTHONS]
    assert all("timeout-minutes" in job for job in jobs.values())


def test_the_workflow_runs_what_there_is():
    jobs = read_yaml(".github/workflows/test.yml")["jobs"]
    lines = [line for job in jobs.values() for step in job["steps"] for line in step.get("run", "").splitlines()]
    assert ".ci/run" in lines and (ROOT / ".ci" / "run").is_file()
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [line.split()[1] for line in lines if line.startswith("make ") and line.split()[1] not in targets] == []
    programs = [line.split()[0] for line in lines if line.startswith("emotion-")]
    assert set(programs) == set(PROJECT["scripts"])
    (labelling,) = [line for line in lines if line.startswith("emotion-infer")]
    infer.build_parser().parse_args(shlex.split(labelling)[1:])


def test_the_services_start_commands_that_exist_and_listen_to_this_computer_alone():
    services = read_yaml("compose.yaml")["services"]
    for name, door in (("page", web_demo), ("service", serve)):
        door.build_parser().parse_args(services[name]["command"][1:])
        assert services[name]["command"][0] in PROJECT["scripts"]
        assert all(port.startswith("127.0.0.1:") for port in services[name]["ports"])
    assert services["label"]["entrypoint"] == ["emotion-infer"] and services["label"]["network_mode"] == "none"
    assert all(service["build"] == "." and service["cap_drop"] == ["ALL"] for service in services.values())
    assert "ports" not in services["label"]


def test_the_conda_recipe_needs_what_the_project_needs():
    recipe = read_yaml("conda/recipe.yaml")
    found = {}
    for line in recipe["requirements"]["run"]:
        name, _, versions = line.partition(" ")
        found[name] = SpecifierSet(versions)
    wanted = {CONDA_NAMES.get(needed.name, needed.name): needed.specifier for needed in NEEDED}
    assert found == {"python": SpecifierSet(PROJECT["requires-python"]), **wanted}
    system = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    assert {line.replace(" ", "") for line in recipe["requirements"]["host"][2:]} == set(system)
    assert recipe["context"]["version"] == emotion.__version__ and recipe["package"]["name"] == PROJECT["name"]
    points = dict(point.split(" = ") for point in recipe["build"]["python"]["entry_points"])
    assert points == PROJECT["scripts"]
    assert all((ROOT / name).is_file() for name in recipe["about"]["license_file"])


def test_the_conda_environment_installs_the_same_lists():
    python, pip, packages = read_yaml("conda/environment.yml")["dependencies"]
    assert SpecifierSet(python.removeprefix("python ")) == SpecifierSet(PROJECT["requires-python"]) and pip == "pip"
    files = [line.removeprefix("-r ") for line in packages["pip"]]
    assert [(ROOT / "conda" / name).resolve().name for name in files] == ["requirements.txt", "requirements-web.txt"]


def test_the_lock_holds_a_fitting_release_with_hashes_of_everything_needed():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))
    normal = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in locked.items()}
    for needed in NEEDED:
        version = normal.get(re.sub(r"[-_.]+", "-", needed.name).lower())
        assert version is not None and version in needed.specifier, needed
    blocks = re.findall(r"^[\w.-]+==[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert len(blocks) == len(re.findall(r"^[\w.-]+==", text, re.MULTILINE)) > 100
    assert "://" not in text  # no address of a package index


# ---- Licences ----


def test_the_licences_of_all_data_and_parts_are_listed():
    text = (ROOT / "LICENCES.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    for model in ("default", "accurate"):
        for source in json.loads((ROOT / "saved_models" / model / "config.json").read_text())["data"]:
            if source["n_clips"] == 0:  # a network, not data
                continue
            for part in source["name"].split(", ")[: 2 if "FER2013" in source["name"] else 1]:
                row = rows[part.removesuffix(" speech")]
                assert f"`{model}`" in row or "both" in row
                assert any(licence in row for licence in source["licence"].split("; ")), row
    assert YUNET_FILE in text and WEIGHTS_FILE in text
    for file in (ROOT / "saved_models").glob("*/LICENCE-*"):
        assert file.relative_to(ROOT).as_posix() in text
    assert set(PROJECT["license-files"]) == {"LICENSE", "LICENCES.md"}


def test_the_bill_of_materials_names_the_networks_with_their_hashes(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "release"), *sys.path])
    import make_sbom

    found = {part["name"]: part for part in make_sbom.list_networks(ROOT / "saved_models" / "default")}
    assert {YUNET_FILE, WEIGHTS_FILE, "default/model.onnx", "default/head.onnx", "default/model.keras"} == set(found)
    told = (ROOT / "saved_models" / "default" / "model.onnx.sha256").read_text().split()[0]
    assert found["default/model.onnx"]["hashes"] == [{"alg": "SHA-256", "content": told}]
    assert all(part["licenses"] and part["type"] == "machine-learning-model" for part in found.values())
