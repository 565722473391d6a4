"""Audio-visual emotion recognition: every face boxed and labelled, the voice heard, the evidence stated.

    from emotion import EmotionPredictor

    prediction = EmotionPredictor().predict("clip.mp4")
    print(prediction.headline, prediction.overall.confidence, prediction.overall.evidence)

What you need:

- ``EmotionPredictor``: a model, ready to be shown clips; gives a ``Prediction``
- ``annotate``: judges a clip and writes it with labelled faces
- ``plot``: a clip's emotions over time, as a figure
- ``load_dataset``: labelled clips, from a data set's folder or your own table
- ``train_model``: a model of your own
- ``evaluate_model``: how good a model is on labelled clips

``Prediction`` has ``to_dataframe``, ``to_dict``, ``to_json``, ``annotate`` and ``plot``. What can be mended raises
``EmotionError``. The cookbook (docs/cookbook.md) shows each in use.
"""

import importlib as _importlib
import os as _os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emotion.api import annotate as annotate
    from emotion.api import evaluate_model as evaluate_model
    from emotion.api import plot as plot
    from emotion.api import train_model as train_model
    from emotion.config import RunConfig as RunConfig
    from emotion.datasets.recognition import load_dataset as load_dataset
    from emotion.errors import EmotionError as EmotionError
    from emotion.inference.predictor import EmotionPredictor as EmotionPredictor
    from emotion.outputs.prediction import Prediction as Prediction
    from emotion.results import MediaPrediction as MediaPrediction
    from emotion.settings import InferenceSettings as InferenceSettings
    from emotion.version import __version__ as __version__

from emotion.early_stop import watch_start

watch_start()

# Telemetry of all dependencies is off, as RESPONSIBLE_USE.md says. Each reads its variable when it is imported. ONNX
# Runtime's builds for Linux report by default since 1.29. A value that you set yourself stays.
for _name, _value in {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}.items():
    _os.environ.setdefault(_name, _value)

_HOMES = {
    "EmotionPredictor": "emotion.inference.predictor",
    "annotate": "emotion.api",
    "plot": "emotion.api",
    "load_dataset": "emotion.datasets.recognition",
    "train_model": "emotion.api",
    "evaluate_model": "emotion.api",
    "Prediction": "emotion.outputs.prediction",
    "InferenceSettings": "emotion.settings",
    "RunConfig": "emotion.config",
    "EmotionError": "emotion.errors",
    "MediaPrediction": "emotion.results",
    "__version__": "emotion.version",
}
__all__ = [
    "EmotionError",
    "EmotionPredictor",
    "InferenceSettings",
    "MediaPrediction",
    "Prediction",
    "RunConfig",
    "annotate",
    "evaluate_model",
    "load_dataset",
    "plot",
    "train_model",
]


def __getattr__(name: str) -> Any:
    # Names are looked up when they are used, so that importing the package does not import TensorFlow.
    if name not in _HOMES:
        raise AttributeError(f"module 'emotion' has no attribute {name!r}")
    return getattr(_importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
