"""The designs' encoders once more, plainly in PyTorch, for the Keras ones to be held against.

Written from the papers; parts carry the names that published weight files give them.
"""

import numpy as np
import torch
from torch import nn
from transformers import ASTConfig, ASTForAudioClassification


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


def randomize(network: nn.Module, seed: int) -> nn.Module:
    """Gives every weight, and every running mean, a value that shows in the result without blowing it up."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var") or (("norm" in name or "bn" in name) and name.endswith("weight")):
                tensor.copy_(1 + 0.1 * noise.abs())
            elif tensor.ndim >= 2 and "position" not in name and "token" not in name:
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
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


def run(network: nn.Module, inputs: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(inputs)).numpy()


def run_ast(network, picture: np.ndarray) -> np.ndarray:
    """The tokens that the encoder gives for ``(batch, n_mels, n_steps)``."""
    with torch.no_grad():
        encoder = network.audio_spectrogram_transformer
        return encoder(torch.from_numpy(picture.swapaxes(1, 2).copy())).last_hidden_state.numpy()
