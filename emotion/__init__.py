"""Audio-visual emotion recognition: every face boxed and labelled, the voice heard, the evidence stated.

from emotion import EmotionPredictor
prediction = EmotionPredictor().predict("clip.mp4")
print(prediction.overall.emotion, prediction.overall.confidence)
"""

import importlib
import os

from emotion.early_stop import watch_start

watch_start()

# Telemetry of all dependencies is off, as RESPONSIBLE_USE.md says. Each reads its variable when it is imported. ONNX
# Runtime's builds for Linux report by default since 1.29. A value that you set yourself stays.
for _name, _value in {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}.items():
    os.environ.setdefault(_name, _value)

_HOMES = {
    "EmotionPredictor": "emotion.inference.predictor",
    "MediaPrediction": "emotion.results",
    "EmotionError": "emotion.errors",
    "RunConfig": "emotion.config",
    "__version__": "emotion.version",
}
__all__ = ["EmotionError", "EmotionPredictor", "MediaPrediction", "RunConfig"]


def __getattr__(name: str):
    # Names are looked up when they are used, so that importing the package does not import TensorFlow.
    if name not in _HOMES:
        raise AttributeError(f"module 'emotion' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
