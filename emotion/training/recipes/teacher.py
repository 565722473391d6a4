"""The teacher of the face branches: a network that others trained on far more faces than are open to all.

HSEmotion's MobileNetV1 saw AffectNet's 290,000 labelled faces. The accurate model sees with it; the light one learns
from it.
"""

import functools

import keras
import numpy as np

from emotion.config import VideoConfig
from emotion.labels import AFFECTNET_EMOTIONS, SEVEN_EMOTIONS
from emotion.models import conversion, find_design
from emotion.models.calibration import softmax
from emotion.models.mobilenet_v1 import build_affectnet_network
from emotion.weights import find_weights

WEIGHTS = "affectnet_mobilenet"
LICENCE_FILE = "LICENCE-hsemotion.txt"
LICENCE = """The face branch holds the weights of mobilenet_7 from HSEmotion
(https://github.com/HSE-asavchenko/face-emotion-recognition) by Andrey Savchenko, changed: batch norms are folded into
the kernels, the kernels are stored as 16-bit numbers, and layers for photographs were added.

Licensed under the Apache License, Version 2.0 (the "License"); you may not use these weights except in compliance with
the License. You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software distributed under the License is distributed on an
"AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the License for the specific
language governing permissions and limitations under the License.
"""
ORDER = [AFFECTNET_EMOTIONS.index(name) for name in SEVEN_EMOTIONS]


class Teacher:
    """Looks at single faces.

    Attributes:
        video: how it sees them.
        arrays: its weights, as ``conversion.set_mobilenet_weights`` takes them.
    """

    def __init__(self):
        """Loads the weights that ``python -m emotion.weights affectnet_mobilenet --file FILE`` keeps.

        Raises:
            WeightsError: if they were not fetched, or are damaged.
        """
        self.video: VideoConfig = find_design("whisper_mobilenet").video
        self.arrays = conversion.load_safetensors(find_weights(WEIGHTS))

    @functools.cached_property
    def network(self) -> keras.Model:
        network = build_affectnet_network(side=self.video.image_size)
        conversion.set_mobilenet_weights(network, self.arrays, name="mobilenet")
        return network

    def __call__(self, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns features ``(n, 1024)`` and probabilities ``(n, 7)`` of ``SEVEN_EMOTIONS``.

        Args:
            faces: ``(n, side, side, 3)`` RGB uint8, cropped as ``video`` says.
        """
        seen = self.network.predict_on_batch(np.asarray(faces, np.float32))
        return np.asarray(seen["moments"], np.float16), softmax(np.asarray(seen["logits"])[:, ORDER]).astype(np.float32)

    def decision(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the kernel ``(256, 7)`` and the bias ``(7,)`` that turn its last features into logits."""
        kernel, bias = self.network.get_layer("mobilenet_output").get_weights()
        return kernel[:, ORDER], bias[ORDER]
