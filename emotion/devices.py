"""Which processor the model runs on."""

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
    import tensorflow as tf

    if name == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif not tf.config.list_physical_devices("GPU"):
        raise ConfigError(
            "--device gpu: TensorFlow finds no GPU. Use --device auto or cpu, or install TensorFlow's GPU build: pip "
            'uninstall tensorflow-cpu && pip install "tensorflow[and-cuda]>=2.20,<2.22"'
        )
