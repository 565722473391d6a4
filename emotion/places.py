"""Where models, samples, data and caches lie.

Nothing is looked up on disk until it is asked for. A copy installed by pip brings both models and the sample clip
along; what you make with it lies in the folder you work in.
"""

import functools
from pathlib import Path

HUB_SCHEME = "hf://"  # begins the name of a model on the Hugging Face hub
DATASET_DIR = Path("dataset")
CACHE_DIR = Path(".cache")
CLIP_CACHE_DIR = CACHE_DIR / "clips"


@functools.cache
def project_dir() -> Path:
    """The folder that holds the package ``emotion``."""
    return Path(__file__).resolve().parent.parent


@functools.cache
def is_installed() -> bool:
    """Whether the package was installed by pip, without the scripts that lie beside it in a checkout."""
    return not (project_dir() / "run_inference.py").is_file()


def shipped_dir() -> Path:
    """What comes with the program: both models, the sample, the licence."""
    return project_dir() / "emotion" / "shipped" if is_installed() else project_dir()


def default_run() -> Path:
    """The model folder used where you name none."""
    return shipped_dir() / "saved_models" / "default"


def sample_clip() -> Path:
    """A short video to try the programs on."""
    return shipped_dir() / "samples" / "astronaut.mp4"


def saved_models() -> Path:
    """Where trained and pulled models go."""
    return Path("saved_models") if is_installed() else project_dir() / "saved_models"


def kept_dir() -> Path:
    """What is fetched once and kept: networks trained by others, models from the hub."""
    return Path.home() / ".cache" / "audio-visual-emotion" if is_installed() else project_dir() / ".cache"


def find_model(name: str | Path) -> Path:
    """Returns the folder that ``--model`` names: a path, or the name of one in ``saved_models/``.

    A name that is neither comes back unchanged; whoever opens it reports it.
    """
    path = Path(name)
    if path.exists() or path not in (Path(path.name), Path("saved_models", path.name)):
        return path
    kept = (folder / path.name for folder in (shipped_dir() / "saved_models", saved_models()))
    return next((folder for folder in kept if folder.exists()), path)
