"""Model folders on the Hugging Face hub: sent with their card, fetched, and found by name."""

import functools
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from emotion.config import RunConfig
from emotion.console import SILENT, Reporter
from emotion.errors import ConfigError, RunError
from emotion.fetching import hub_library
from emotion.files import folder_written_whole
from emotion.models.baseline_head import BASELINE_FILE
from emotion.models.onnx_runtime import HASH_SUFFIX, HEAD_FILE, INT8_FILE, ONNX_FILE
from emotion.models.run_folder import (
    CARD_FILE,
    CONFIG_FILE,
    EARLIER_SPLITS_FILE,
    METRICS_FILE,
    MODEL_FILE,
    SPLITS_FILE,
    check_run,
    load_run,
)
from emotion.places import HUB_SCHEME, kept_dir

HUB_CARD_FILE = "README.md"
NETWORK_FILES = (MODEL_FILE, *(name + end for name in (ONNX_FILE, HEAD_FILE, INT8_FILE) for end in ("", HASH_SUFFIX)))
RUN_FILES = (CONFIG_FILE, METRICS_FILE, SPLITS_FILE, EARLIER_SPLITS_FILE, BASELINE_FILE, *NETWORK_FILES)
LICENCES = "LICENCE-*.txt"  # of parts that others trained
MAX_BYTES = 2_000_000_000  # of all files of a model
NAME = re.compile(r"[\w.-]+/[\w.-]+")
LICENCE = "other"  # where none is named
FRONT_MATTER = re.compile(r"---\n.*?\n---\n", re.DOTALL)  # what the hub reads of a page, before its text
CARD = """# {name}

Recognises {n_classes} expressions ({classes}) by {evidence}, in windows of {seconds:g} s. Design: `{design}`.

{scores}

## Use

With the project's code:

```
python run_inference.py --video_path clip.mp4 --model hf://{repository}
```

## Limits

An expression is not a feeling: the model reports what a face and a voice look and sound like to the people who
labelled its training data. It must not be used to judge people at work or at school (EU AI Act, Article 5).
"""


def hub_dir() -> Path:
    """Where fetched models are kept."""
    return kept_dir() / "hub"


class HubError(RunError):
    """A model that cannot be sent to the hub, or fetched from it."""


def check_name(repository: str) -> None:
    """Raises ConfigError for anything but ``USER/NAME``."""
    if not NAME.fullmatch(repository) or ".." in repository:
        raise ConfigError(f"{repository}: is not a name on the hub. Give USER/NAME.")


def fetch_model(
    repository: str, *, revision: str | None = None, cache_dir: Path | None = None, reporter: Reporter = SILENT
) -> Path:
    """Fetches a model folder from the hub, or finds it in the cache if there is no network.

    Args:
        repository: ``USER/NAME``.
        revision: a branch, tag or commit; by default the newest.
        cache_dir: where it is kept; by default ``hub_dir()``.

    Returns:
        The folder, in the cache.

    Raises:
        HubError: if it cannot be fetched, or is not a model of this program.
    """
    check_name(repository)
    cache_dir = cache_dir or hub_dir()
    place = cache_dir / f"models--{repository.replace('/', '--')}"
    if not place.is_dir():
        reporter.say(f"Fetching {HUB_SCHEME}{repository} into {cache_dir}, once")
    with hub_library(f"{HUB_SCHEME}{repository}: cannot be fetched", _way_out, HubError) as hub:
        patterns = [*RUN_FILES, HUB_CARD_FILE, LICENCES]
        fetch = functools.partial(hub.snapshot_download, repository, cache_dir=cache_dir, allow_patterns=patterns)
        try:
            asked = fetch(revision=revision, dry_run=True)
        except hub.errors.DryRunError:  # no network, or no such model: what is kept may do, or the library says why not
            asked = []
        n_bytes = sum(file.file_size or 0 for file in asked if file.will_download)
        if n_bytes <= MAX_BYTES:
            path = fetch(revision=asked[0].commit_hash if asked else revision)
    if n_bytes > MAX_BYTES:
        raise HubError(
            f"{HUB_SCHEME}{repository}: has {n_bytes / 1e9:.1f} GB, and models of up to {MAX_BYTES / 1e9:g} GB are "
            "fetched. If you trust its maker, fetch it with: hf download"
        )
    try:
        check_run(path)
    except RunError as error:
        words = str(error).removeprefix(f"{path}: ").removeprefix(f"{path}/")
        raise HubError(
            f"{HUB_SCHEME}{repository}: is not a model of this program, or only part of it was fetched "
            f"({words.split('. ')[0]}). Try again with a network."
        ) from error
    reporter.say(f"Model: {HUB_SCHEME}{repository}@{Path(path).name}")  # pins this very revision
    return Path(path)


def pull(repository: str, output: Path, *, revision: str | None = None, cache_dir: Path | None = None) -> Path:
    """Fetches a model, as ``fetch_model`` does, and copies it to a folder that does not depend on the cache.

    Raises:
        RunError: if ``output`` is neither new nor empty.
        HubError: if it cannot be fetched, or cannot be loaded.
    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise RunError(f"{output}: is not empty. Name a new or empty folder with --output.")
    fetched = fetch_model(repository, revision=revision, cache_dir=cache_dir)
    load_run(fetched, runtime="auto")  # a damaged model is reported now, not when it is needed
    with folder_written_whole(output) as partial:
        for path in sorted(fetched.iterdir()):
            if path.is_file():
                name = CARD_FILE if path.name == HUB_CARD_FILE else path.name
                shutil.copyfile(path, partial / name)
    return output


def push(
    folder: Path, repository: str, *, private: bool = False, licence: str | None = None, message: str | None = None
) -> str:
    """Sends a model folder to the hub, with its card, and returns the address of the commit.

    Args:
        repository: ``USER/NAME``; it is created if there is none.
        private: whether only its owner can see it, if it is created.
        licence: as for ``build_card``, such as ``cc-by-nc-sa-4.0``.

    Raises:
        RunError: if the folder is not a complete run.
        HubError: if it cannot be sent.
    """
    check_name(repository)
    config = check_run(folder)
    load_run(folder, runtime="auto")
    with tempfile.TemporaryDirectory() as place:
        sent = Path(place)
        for path in [*(folder / name for name in RUN_FILES), *sorted(folder.glob(LICENCES))]:
            if path.is_file():
                shutil.copyfile(path, sent / path.name)
        (sent / HUB_CARD_FILE).write_text(build_card(folder, config, repository, licence), encoding="utf-8")
        way_out = "Is there a network, and a token that may write there? Log in: hf auth login"
        with hub_library(f"{HUB_SCHEME}{repository}: cannot be sent", lambda error: way_out, HubError) as hub:
            api = hub.HfApi()
            api.create_repo(repository, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository, folder_path=sent, commit_message=message or f"Model {folder.resolve().name}"
            )
    return str(commit.commit_url)


def build_card(folder: Path, config: RunConfig, repository: str, licence: str | None = None) -> str:
    """Returns the text of a model's page on the hub: its own card, or one made from its scores.

    ``licence`` is an identifier of the hub; by default that of the page that the model was pulled from, or ``other``.
    """
    own = folder / CARD_FILE
    text = own.read_text(encoding="utf-8") if own.is_file() else ""
    if before := FRONT_MATTER.match(text):  # of a model that was pulled, whose licence still applies
        text = text[before.end() :].lstrip()
        if licence is None and (stated := re.search(r"^license: *(\S+)", before.group(), re.MULTILINE)):
            licence = stated.group(1)
    licence = licence or LICENCE
    header = "\n".join(
        [
            "---", "library_name: keras", f"license: {licence}", "pipeline_tag: video-classification", "tags:",
            "- emotion-recognition", "- facial-expression-recognition", "- speech-emotion-recognition",
            "- audio-visual", "---", "",
        ]
    )  # fmt: skip
    if text:
        return f"{header}\n{text}"
    evidence = {"audio": "the voice", "video": "the face" if config.looks_for_faces else "the picture"}
    card = CARD.format(
        name=repository.split("/")[1], repository=repository, design=config.architecture,
        n_classes=len(config.class_names), classes=", ".join(config.class_names),
        evidence=" and ".join(evidence[name] for name in config.modalities), seconds=config.window.window_seconds,
        scores=_format_scores(_read_metrics(folder / METRICS_FILE)),
    )  # fmt: skip
    return f"{header}\n{card}"


def _read_metrics(path: Path) -> dict[str, Any]:
    """Returns a run's scores; none if the file is missing or damaged."""
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return metrics if isinstance(metrics, dict) else {}


def _format_scores(metrics: dict[str, Any]) -> str:
    sides = [side for side in ("test", "validation") if _has_scores(metrics.get(side))]
    if not sides:
        return "No scores are kept with it."
    rows = [
        f"| {side} | {metrics[side]['uar']:.1%} | {metrics[side]['accuracy']:.1%} | {metrics[side]['n']} | "
        f"{metrics[side].get('n_speakers', 'not known')} |"
        for side in sides
    ]
    protocol = f"Protocol: {metrics.get('protocol', 'not stated')}. UAR is the recall averaged over the emotions."
    return "\n".join([protocol, "", "| clips | UAR | accuracy | n | speakers |", "|---|---|---|---|---|", *rows])


def _has_scores(side: Any) -> bool:
    numbers = [side.get(name) for name in ("n", "uar", "accuracy")] if isinstance(side, dict) else [None]
    return all(isinstance(number, int | float) for number in numbers) and numbers[0] > 0


def _way_out(error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError | errors.RepositoryNotFoundError):
        return "Is the name right? A private model needs a token: hf auth login"
    if isinstance(error, errors.RevisionNotFoundError):
        return "Leave @REVISION out for the newest."
    return "Is there a network? A folder that somebody copied for you works as well."
