"""What PyTorch and Transformers computed with random weights, kept in ``tests/data``."""

from pathlib import Path

import numpy as np


def load_reference(name: str) -> dict[str, np.ndarray]:
    """The arrays of ``models`` or ``whisper``: inputs, outputs, and ``weights/``."""
    with np.load(Path(__file__).resolve().parents[1] / "data" / f"{name}_reference.npz") as data:
        return dict(data)


def weights_of(reference: dict[str, np.ndarray], network: str = "") -> dict[str, np.ndarray]:
    """A network's weights, by the names that its authors gave them."""
    prefix = f"weights/{network}/" if network else "weights/"
    return {key.removeprefix(prefix): array for key, array in reference.items() if key.startswith(prefix)}
