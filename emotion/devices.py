"""Which processor the model runs on, and by which runtime."""

import os

from emotion.errors import ConfigError

DEVICES = ("auto", "cpu", "gpu")


def choose_device(name: str) -> None:
    """Chooses the processor for all models of this process, before any is loaded.

    Args:
        name: ``auto`` takes a GPU if TensorFlow finds one, ``cpu`` never does, ``gpu`` insists on one.

    Raises:
        ConfigError: if there is no such choice, or no GPU where one is asked for.
    """
    if name not in DEVICES:
        raise ConfigError(f"device must be one of {', '.join(DEVICES)}, got {name!r}.")
    if name == "auto":
        return
    if name == "cpu":
        # Before TensorFlow is loaded, which it may be later or never, it looks for GPUs here and nowhere else.
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        return
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ConfigError(f"--device gpu needs TensorFlow ({error}): pip install -r requirements.txt") from error
    if not tf.config.list_physical_devices("GPU"):
        raise ConfigError(
            "--device gpu: TensorFlow finds no GPU. Use --device auto or cpu, or install TensorFlow's GPU build: pip "
            'uninstall tensorflow-cpu && pip install "tensorflow[and-cuda]>=2.20,<2.22"'
        )


def choose_runtime(runtime: str, device: str) -> str:
    """Chooses the runtime that goes with a processor, and the processor.

    Args:
        runtime: ``auto``, ``onnx``, ``int8`` or ``keras``; ONNX Runtime computes on the CPU here.
        device: as for ``choose_device``.

    Returns:
        The runtime to load the model with.

    Raises:
        ConfigError: if the two contradict each other, or as ``choose_device``.
    """
    if device == "gpu" and runtime in ("onnx", "int8"):
        raise ConfigError(
            f"--runtime {runtime} computes on the CPU and --device gpu asks for a GPU. Leave one of them out."
        )
    choose_device(device)
    return "keras" if device == "gpu" else runtime
