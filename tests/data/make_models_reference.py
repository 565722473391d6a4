"""Makes ``models_reference.npz``: what PyTorch makes of small encoders with random weights, and of a sound.

The tests compare with that file, so that they need neither PyTorch nor transformers; ``make test-reference`` compares
with both live, at full size. To make it anew, after ``make .venv/ready-reference``::

    .venv/bin/python tests/data/make_models_reference.py
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))
import torch_models
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor

OUTPUT = Path(__file__).with_name("models_reference.npz")
SAMPLE_RATE = 16000
STAGES = (4, 6, 8, 10)
BOTTLENECKS = ((2, 4, 2, 2), (4, 8, 1, 2), (2, 8, 1, 1))
SIDE, FIRST, LAST, N_FEATURES = 32, 4, 12, 5
N_MELS, N_STEPS, WIDTH, N_HEADS, N_BLOCKS = 36, 46, 12, 3, 2
N_SAMPLES = 8000  # of the sound, for encoders of speech
SPEECH_KINDS = ("wav2vec2", "wav2vec2_large", "wavlm")  # HuBERT's is wav2vec2's
SPEECH = {
    "conv_dim": (8,) * 7, "hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 64,
}  # fmt: skip


def make_sound() -> np.ndarray:
    """A second and a half: a glide in noise, with digital silence before it."""
    time = np.arange(round(1.5 * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(1).normal(size=len(time))
    sound = (0.3 * np.sin(2 * np.pi * (150 * time + 1200 * time**2)) + 0.01 * noise) * (time > 0.2)
    return (np.round(sound * 32768) / 32768).astype(np.float32)  # as 16-bit files hold it


def extract_fbank(sound: np.ndarray) -> np.ndarray:
    """Returns AST's picture ``(n_mels, n_steps)`` of a sound, without padding."""
    n_steps = 1 + (len(sound) - 400) // 160
    extractor = ASTFeatureExtractor(max_length=n_steps)
    return extractor(sound, sampling_rate=SAMPLE_RATE, return_tensors="np")["input_values"][0].T


def main() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8)
    channels_first = pictures.transpose(0, 3, 1, 2).astype(np.float32)
    resnet = torch_models.randomize(torch_models.ResNet18(STAGES), seed=0)
    mobilefacenet = torch_models.randomize(
        torch_models.MobileFaceNet(BOTTLENECKS, side=SIDE, first=FIRST, last=LAST, n_features=N_FEATURES), seed=1
    )
    picture = rng.normal(size=(2, N_MELS, N_STEPS)).astype(np.float32)
    ast = torch_models.randomize(
        torch_models.build_ast(n_mels=N_MELS, n_steps=N_STEPS, width=WIDTH, n_heads=N_HEADS, n_blocks=N_BLOCKS), seed=2
    )
    with tempfile.TemporaryDirectory() as folder:
        ast_arrays = torch_models.save_ast(ast, Path(folder))
    sound = make_sound()
    speech = {kind: torch_models.randomize(torch_models.build_speech(kind, **SPEECH), seed=3) for kind in SPEECH_KINDS}
    waveform = Wav2Vec2FeatureExtractor()(sound[:N_SAMPLES], sampling_rate=SAMPLE_RATE, return_tensors="np")[
        "input_values"
    ]
    weights = {
        **{f"resnet18/{name}": array for name, array in torch_models.arrays_of(resnet).items()},
        **{f"mobilefacenet/{name}": array for name, array in torch_models.arrays_of(mobilefacenet).items()},
        **{f"ast/{name}": array for name, array in ast_arrays.items()},
        **{
            f"{kind}/{name}": array
            for kind, network in speech.items()
            for name, array in torch_models.arrays_of(network).items()
            if not name.startswith(("quantizer.", "project_"))  # which serve pretraining only
        },
    }
    np.savez_compressed(
        OUTPUT,
        pictures=pictures,
        picture=picture,
        resnet18=torch_models.run(resnet, channels_first),
        mobilefacenet=torch_models.run(mobilefacenet, channels_first),
        ast=torch_models.run_ast(ast, picture),
        sound=(sound * 32768).round().astype(np.int16),
        fbank=extract_fbank(sound).astype(np.float32),
        resnet18_stages=STAGES,
        mobilefacenet_bottlenecks=BOTTLENECKS,
        mobilefacenet_channels=(FIRST, LAST, N_FEATURES),
        ast_sizes=(WIDTH, N_HEADS, N_BLOCKS),
        waveform=waveform[0].astype(np.float32),
        **{kind: np.concatenate(torch_models.run_speech(network, waveform)) for kind, network in speech.items()},
        **{f"weights/{name}": array for name, array in weights.items()},
    )


if __name__ == "__main__":
    main()
