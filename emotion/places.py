"""Where models, samples, data and caches lie."""

from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent
# Installed by pip, the package brings the default model and the sample along; what a user makes lies in the folder he
# works in.
IS_INSTALLED = not (PROJECT_DIR / "run_inference.py").is_file()
SHIPPED_DIR = PROJECT_DIR / "emotion" / "shipped" if IS_INSTALLED else PROJECT_DIR
SAVED_MODELS = Path("saved_models") if IS_INSTALLED else PROJECT_DIR / "saved_models"
HUB_SCHEME = "hf://"  # begins the name of a model on the Hugging Face hub
DEFAULT_RUN = SHIPPED_DIR / "saved_models" / "default"
SAMPLE = SHIPPED_DIR / "samples" / "astronaut.mp4"
# What is fetched once and kept: networks trained by others, models from the hub.
KEPT_DIR = Path.home() / ".cache" / "audio-visual-emotion" if IS_INSTALLED else PROJECT_DIR / ".cache"
DATASET_DIR = Path("dataset")
CACHE_DIR = Path(".cache")
CLIP_CACHE_DIR = CACHE_DIR / "clips"


def find_model(name: str | Path) -> Path:
    """Returns the folder that a user means by ``--model``: a path, or the name of one in ``saved_models/``.

    What is neither comes back as it was written, for whoever opens it to complain of.
    """
    path = Path(name)
    if path.exists() or path not in (Path(path.name), Path("saved_models", path.name)):
        return path
    kept = DEFAULT_RUN if path.name == DEFAULT_RUN.name else SAVED_MODELS / path.name
    return kept if kept.exists() else path
