"""The designs' encoders once more, plainly in PyTorch, for the Keras ones to be held against.

Written from the papers; parts carry the names that published weight files give them.
"""

import numpy as np
import torch
from torch import nn
from transformers import (
    ASTConfig,
    ASTForAudioClassification,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2ForPreTraining,
    WavLMConfig,
    WavLMModel,
)


class ResNetBlock(nn.Module):
    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet18(nn.Module):
    """Pictures ``(batch, 3, height, width)``, 0 to 255, to the averages over the last stage."""

    def __init__(self, stages):
        super().__init__()
        self.conv1 = nn.Conv2d(3, stages[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stages[0])
        before = stages[0]
        for number, after in enumerate(stages, start=1):
            blocks = [ResNetBlock(before, after, 1 if number == 1 else 2), ResNetBlock(after, after, 1)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            before = after

    def forward(self, x):
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        x = (x / 255 - mean[:, None, None]) / std[:, None, None]
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        return x.mean(dim=(2, 3))


class ConvolutionBlock(nn.Module):
    def __init__(self, before: int, after: int, size: int, stride: int, padding: int, groups: int = 1, linear=False):
        super().__init__()
        self.conv = nn.Conv2d(before, after, size, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(after)
        self.prelu = None if linear else nn.PReLU(after)

    def forward(self, x):
        x = self.bn(self.conv(x))
        return x if self.prelu is None else self.prelu(x)


class Bottleneck(nn.Module):
    def __init__(self, before: int, after: int, stride: int, expansion: int):
        super().__init__()
        wide = before * expansion
        self.adds = stride == 1 and before == after
        self.conv = nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.PReLU(wide),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.PReLU(wide),
            nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileFaceNet(nn.Module):
    """Faces ``(batch, 3, side, side)``, 0 to 255, to ``(batch, n_features)``."""

    def __init__(self, bottlenecks, *, side: int, first: int, last: int, n_features: int):
        super().__init__()
        self.conv1 = ConvolutionBlock(3, first, 3, 2, 1)
        self.dw_conv1 = ConvolutionBlock(first, first, 3, 1, 1, groups=first)
        blocks, before, side = [], first, -(-side // 2)
        for expansion, after, repetitions, stride in bottlenecks:
            for repetition in range(repetitions):
                blocks.append(Bottleneck(before, after, stride if repetition == 0 else 1, expansion))
                before = after
            side = -(-side // stride)
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = ConvolutionBlock(before, last, 1, 1, 0)
        self.linear7 = ConvolutionBlock(last, last, side, 1, 0, groups=last, linear=True)
        self.linear1 = ConvolutionBlock(last, n_features, 1, 1, 0, linear=True)

    def forward(self, x):
        x = self.dw_conv1(self.conv1((x - 127.5) / 128))
        return self.linear1(self.linear7(self.conv2(self.blocks(x)))).flatten(1)


def build_ast(*, n_mels: int, n_steps: int, width: int, n_heads: int, n_blocks: int):
    """Returns transformers' AST for pictures of one size."""
    return ASTForAudioClassification(
        ASTConfig(
            hidden_size=width, num_hidden_layers=n_blocks, num_attention_heads=n_heads, intermediate_size=4 * width,
            num_mel_bins=n_mels, max_length=n_steps, num_labels=2, attn_implementation="eager",
        )
    )  # fmt: skip


def randomize(network: nn.Module, seed: int, gain: float = 1.0) -> nn.Module:
    """Gives every weight, and every running mean, a value that shows in the result without blowing it up.

    ``gain``: of kernels, for networks in which what is seen would fade.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            is_norm = "norm" in name or "bn" in name or name.replace("weight", "running_var") in network.state_dict()
            if name.endswith("running_var") or (is_norm and name.endswith("weight")):
                tensor.copy_(1 + 0.1 * noise.abs())
            elif tensor.ndim >= 2 and "position" not in name and "token" not in name:
                tensor.copy_(gain * noise / tensor[0].numel() ** 0.5)
            else:
                tensor.copy_(0.1 * noise)
    return network.eval()


def arrays_of(network: nn.Module) -> dict[str, np.ndarray]:
    """The weights as a published file would hold them."""
    return {name: tensor.numpy() for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def save_ast(network, folder) -> dict[str, np.ndarray]:
    """The weights of transformers' AST by the names of the file that it saves, which are those of the hub's."""
    from safetensors.numpy import load_file

    network.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def build_speech(kind: str, **sizes):
    """Returns transformers' wav2vec2 as it is published (a whole model, with a prefix to every name), or its like."""
    large = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True, "hidden_size": 1024,
             "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}  # fmt: skip
    if kind in ("wav2vec2", "wav2vec2_large"):
        return Wav2Vec2ForPreTraining(Wav2Vec2Config(**{**(large if kind == "wav2vec2_large" else {}), **sizes}))
    return HubertModel(HubertConfig(**sizes)) if kind == "hubert" else WavLMModel(WavLMConfig(**sizes))


def run_speech(network, waveform: np.ndarray) -> list[np.ndarray]:
    """What goes into the first block and comes out of each, for ``(batch, n_samples)``."""
    with torch.no_grad():
        encoder = getattr(network, "wav2vec2", network)
        outputs = encoder(torch.from_numpy(waveform), output_hidden_states=True)
        return [states.numpy() for states in (*outputs.hidden_states[:-1], outputs.last_hidden_state)]


def run(network: nn.Module, inputs: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(inputs)).numpy()


def run_ast(network, picture: np.ndarray) -> np.ndarray:
    """The tokens that the encoder gives for ``(batch, n_mels, n_steps)``."""
    with torch.no_grad():
        encoder = network.audio_spectrogram_transformer
        return encoder(torch.from_numpy(picture.swapaxes(1, 2).copy())).last_hidden_state.numpy()


# ---- EfficientFace, with the names of its published checkpoint ----


def norm_relu(filters: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(filters), nn.ReLU()


def depthwise(before: int, after: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, 1, groups=before, bias=False)


class ShuffleBlock(nn.Module):
    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        half = after // 2
        self.branch1 = None
        if stride == 2:
            self.branch1 = nn.Sequential(
                depthwise(before, before, 2), nn.BatchNorm2d(before),
                nn.Conv2d(before, half, 1, bias=False), *norm_relu(half),
            )  # fmt: skip
        self.branch2 = nn.Sequential(
            nn.Conv2d(before if stride == 2 else half, half, 1, bias=False), *norm_relu(half),
            depthwise(half, half, stride), nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False), *norm_relu(half),
        )  # fmt: skip

    def forward(self, x):
        left, right = x.chunk(2, dim=1) if self.branch1 is None else (self.branch1(x), x)
        return nn.functional.channel_shuffle(torch.cat([left, self.branch2(right)], dim=1), 2)


class Quarters(nn.Module):
    """Each quarter of the picture by itself: above left, below left, above right, below right."""

    def __init__(self, before: int, after: int):
        super().__init__()
        for number in range(1, 5):
            for part, channels, stride in ((1, before, 2), (2, after, 1)):
                setattr(self, f"conv{number}_{part}", depthwise(channels, after, stride))
                setattr(self, f"bn{number}_{part}", nn.BatchNorm2d(after))

    def forward(self, x):
        quarters = [quarter for side in x.chunk(2, dim=3) for quarter in side.chunk(2, dim=2)]
        seen = []
        for number, quarter in enumerate(quarters, start=1):
            first = getattr(self, f"bn{number}_1")(getattr(self, f"conv{number}_1")(quarter)).relu()
            seen.append(getattr(self, f"bn{number}_2")(getattr(self, f"conv{number}_2")(first)).relu())
        return torch.cat([torch.cat(seen[:2], dim=2), torch.cat(seen[2:], dim=2)], dim=3)


class Modulator(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        few = channels // 16
        self.channel_att, self.spatial_att = nn.Module(), nn.Module()
        gate = self.channel_att.gate_c = nn.Sequential()
        gate.add_module("gate_c_fc_0", nn.Linear(channels, few))
        gate.add_module("gate_c_bn_1", nn.BatchNorm1d(few))
        gate.add_module("relu", nn.ReLU())
        gate.add_module("gate_c_fc_final", nn.Linear(few, channels))
        gate = self.spatial_att.gate_s = nn.Sequential()
        gate.add_module("gate_s_conv_reduce0", nn.Conv2d(channels, few, 1))
        gate.add_module("gate_s_bn_reduce0", nn.BatchNorm2d(few))
        gate.add_module("relu", nn.ReLU())
        for number in range(2):
            gate.add_module(f"gate_s_conv_di_{number}", nn.Conv2d(few, few, 3, padding=4, dilation=4))
            gate.add_module(f"gate_s_bn_di_{number}", nn.BatchNorm2d(few))
            gate.add_module(f"relu_{number}", nn.ReLU())
        gate.add_module("gate_s_conv_final", nn.Conv2d(few, 1, 1))

    def forward(self, x):
        channels = self.channel_att.gate_c(x.mean(dim=(2, 3)))[:, :, None, None]
        return torch.sigmoid(channels * self.spatial_att.gate_s(x)) * x


class EfficientFace(nn.Module):
    """Faces ``(batch, 3, side, side)``, 0 to 255, to features ``(batch, channels[-1])`` and logits ``(batch, 7)``."""

    def __init__(self, channels, repeats):
        super().__init__()
        first, *stages, last = channels
        self.conv1 = nn.Sequential(nn.Conv2d(3, first, 3, 2, 1, bias=False), *norm_relu(first))
        before = first
        for number, (after, n_blocks) in enumerate(zip(stages, repeats, strict=True), start=2):
            blocks = [ShuffleBlock(before if i == 0 else after, after, 2 if i == 0 else 1) for i in range(n_blocks)]
            setattr(self, f"stage{number}", nn.Sequential(*blocks))
            before = after
        self.local = Quarters(first, stages[0])
        self.modulator = Modulator(stages[0])
        self.conv5 = nn.Sequential(nn.Conv2d(before, last, 1, bias=False), *norm_relu(last))
        self.fc = nn.Linear(last, 7)

    def forward(self, x):
        mean = torch.tensor([0.55391484, 0.43522123, 0.3821877])
        deviation = torch.tensor([0.24837189, 0.21625527, 0.20221159])
        x = (x / 255 - mean[:, None, None]) / deviation[:, None, None]
        x = nn.functional.max_pool2d(self.conv1(x), 3, 2, 1)
        x = self.modulator(self.stage2(x)) + self.local(x)
        x = self.conv5(self.stage4(self.stage3(x))).mean(dim=(2, 3))
        return torch.cat([x, self.fc(x)], dim=1)


def save_efficientface(network: nn.Module, path, *, old: bool) -> None:
    """Writes a checkpoint as the published training program does; ``old``: as PyTorch before 1.6."""
    state = nn.DataParallel(network).state_dict()
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=not old)
