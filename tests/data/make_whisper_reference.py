"""Makes ``whisper_reference.npz``: what transformers' Whisper makes of random weights, a random picture, and a sound.

The tests compare with that file, so that they need neither PyTorch nor transformers. To make it anew, in an environment
of its own::

    pip install torch transformers numpy
    python tests/data/make_whisper_reference.py
"""

from pathlib import Path

import numpy as np
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

OUTPUT = Path(__file__).with_name("whisper_reference.npz")
SAMPLE_RATE = 16000
N_MELS, N_STEPS, WIDTH, N_HEADS, N_BLOCKS = 8, 40, 16, 2, 2
# transformers' names, and those in OpenAI's own files.
RENAMED = {
    "layers.": "blocks.",
    "self_attn_layer_norm": "attn_ln",
    "self_attn.q_proj": "attn.query",
    "self_attn.k_proj": "attn.key",
    "self_attn.v_proj": "attn.value",
    "self_attn.out_proj": "attn.out",
    "final_layer_norm": "mlp_ln",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
}


def build_encoder(*, n_mels: int, n_steps: int, width: int, n_heads: int, n_blocks: int, scale: float, seed: int):
    """Returns a ``WhisperEncoder`` with random weights large enough for every part to show in the result."""
    encoder = WhisperEncoder(
        WhisperConfig(
            num_mel_bins=n_mels,
            max_source_positions=n_steps // 2,
            d_model=width,
            encoder_attention_heads=n_heads,
            encoder_layers=n_blocks,
            encoder_ffn_dim=4 * width,
            attn_implementation="eager",
        )
    ).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if name != "embed_positions.weight":
                offset = 1.0 if "norm.weight" in name else 0.0
                weight.copy_(offset + scale * torch.randn(weight.shape, generator=generator))
    return encoder


def rename(name: str) -> str:
    for theirs, ours in RENAMED.items():
        name = name.replace(theirs, ours)
    return name


def run_encoder(encoder, picture: np.ndarray) -> dict[str, np.ndarray]:
    """Returns ``output0 .. output{n_blocks}``: what goes into the first block and what comes out of each."""
    outputs = []
    hooks = [encoder.layers[0].register_forward_pre_hook(lambda _, inputs: outputs.append(inputs[0]))]
    for layer in encoder.layers:
        take = lambda _, __, result: outputs.append(result[0] if isinstance(result, tuple) else result)  # noqa: E731
        hooks.append(layer.register_forward_hook(take))
    with torch.no_grad():
        encoder(torch.from_numpy(picture))
    for hook in hooks:
        hook.remove()
    return {f"output{i}": x.numpy() for i, x in enumerate(outputs)}


def make_sound() -> np.ndarray:
    """One second: a glide in noise, between stretches of digital silence."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    noise = np.random.default_rng(1).normal(size=SAMPLE_RATE)
    glide = np.sin(2 * np.pi * (200 * time + 1500 * time**2))
    sound = (0.3 * glide + 0.01 * noise) * ((time > 0.2) & (time < 0.8))
    return (np.round(sound * 32768) / 32768).astype(np.float32)  # as 16-bit files hold it


def main() -> None:
    encoder = build_encoder(
        n_mels=N_MELS, n_steps=N_STEPS, width=WIDTH, n_heads=N_HEADS, n_blocks=N_BLOCKS, scale=0.3, seed=0
    )
    picture = np.random.default_rng(0).normal(size=(2, N_MELS, N_STEPS)).astype(np.float32)
    weights = {rename(name): x.detach().numpy() for name, x in encoder.named_parameters()}
    kept = {f"weights/{name}": x for name, x in weights.items() if name.startswith(("conv", "blocks"))}
    sound = make_sound()
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=1)
    log_mel = extractor(sound, sampling_rate=SAMPLE_RATE, return_tensors="np")["input_features"][0]
    np.savez_compressed(
        OUTPUT,
        sound=(sound * 32768).round().astype(np.int16),
        log_mel=log_mel.astype(np.float32),
        picture=picture,
        n_heads=N_HEADS,
        **kept,
        **run_encoder(encoder, picture),
    )


if __name__ == "__main__":
    main()
