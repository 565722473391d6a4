"""A window taken apart: face and voice alone are what the network says without the other, in both runtimes."""

import numpy as np
from small_models import random_inputs, small_config

from emotion.models.run_folder import load_run


def encode(run, inputs):
    return {name: value for key in inputs for name, value in run.encode({key: inputs[key]}).items()}


def test_the_parts_are_the_networks_answers_to_one_modality_alike_in_both_runtimes(exported):
    config, inputs = small_config(), random_inputs(small_config(), 4)
    inputs["audio"][1] = 0
    inputs["video"][2] = 0
    made = {}
    for runtime in ("keras", "onnx"):
        run = load_run(exported, runtime=runtime)
        made[runtime] = parts = run.take_apart(encode(run, inputs))
        alone = {
            name: run.predict({key: values if key == name else np.zeros_like(values) for key, values in inputs.items()})
            for name in config.modalities
        }
        for row, part in enumerate(parts):
            np.testing.assert_allclose(part.joint, run.predict(inputs)[row], atol=1e-5)
            for name, answer, is_there in (("video", part.face, row != 2), ("audio", part.voice, row != 1)):
                assert (answer is not None) == is_there
                if is_there:
                    np.testing.assert_allclose(answer, alone[name][row], atol=1e-5)
        assert parts[1].voice_vector is None and parts[0].voice_vector.shape == (16,)
    for one, other in zip(made["keras"], made["onnx"], strict=True):
        np.testing.assert_allclose(one.joint, other.joint, atol=1e-5)
