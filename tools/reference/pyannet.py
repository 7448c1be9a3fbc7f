"""Random segmentation models in the layout of pyannote/segmentation-3.0, and what torch makes of them.

    python3 tools/reference/pyannet.py                 tests/data/expected/pyannet: a small model and expected values
    python3 tools/reference/pyannet.py FILE            a checkpoint of the published sizes with random weights
"""
import os
import sys

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

from diarize_common import convert, noise, save


class FilterBank(nn.Module):
    """The parameters of asteroid-filterbanks' ParamSincFB; filters are made in forward()."""

    def __init__(self, n, size):
        super().__init__()
        hz = torch.linspace(30, 7000, n // 2 + 1)
        self.low_hz_ = nn.Parameter(hz[:-1, None].clone())
        self.band_hz_ = nn.Parameter((hz[1:] - hz[:-1])[:, None].clone())
        self.register_buffer("window_", torch.from_numpy(np.hamming(size)[:size // 2]).float())
        self.register_buffer("n_", 2 * np.pi * torch.arange(-(size // 2), 0.0).view(1, -1) / 16000)

    def filters(self):
        low = 50 + self.low_hz_.abs()
        high = torch.clamp(low + 50 + self.band_hz_.abs(), 50, 8000)
        band = high - low
        t_low, t_high = low @ self.n_, high @ self.n_
        cosine = (torch.sin(t_high) - torch.sin(t_low)) / (self.n_ / 2) * self.window_
        sine = (torch.cos(t_low) - torch.cos(t_high)) / (self.n_ / 2) * self.window_
        both = [torch.cat([cosine, 2 * band, cosine.flip(1)], 1), torch.cat([sine, 0 * band, -sine.flip(1)], 1)]
        return torch.cat([f / (2 * band) for f in both])[:, None]


class Encoder(nn.Module):
    def __init__(self, n, size, stride):
        super().__init__()
        self.filterbank, self.stride = FilterBank(n, size), stride

    def forward(self, x):
        return F.conv1d(x, self.filterbank.filters(), stride=self.stride)


class SincNet(nn.Module):
    def __init__(self, channels, size, stride):
        super().__init__()
        a, b, c = channels
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        self.conv1d = nn.ModuleList([Encoder(a, size, stride), nn.Conv1d(a, b, 5), nn.Conv1d(b, c, 5)])
        self.norm1d = nn.ModuleList([nn.InstanceNorm1d(n, affine=True) for n in channels])

    def forward(self, x):
        x = self.wav_norm1d(x)
        for i, (conv, norm) in enumerate(zip(self.conv1d, self.norm1d)):
            x = conv(x)
            x = F.leaky_relu(norm(F.max_pool1d(x.abs() if i == 0 else x, 3)))
        return x


class PyanNet(nn.Module):
    def __init__(self, channels=(80, 60, 60), size=251, stride=10, hidden=128, layers=4, linear=(128, 128), classes=7):
        super().__init__()
        self.sincnet = SincNet(channels, size, stride)
        self.lstm = nn.LSTM(channels[-1], hidden, layers, bidirectional=True, batch_first=True)
        widths = [2 * hidden, *linear]
        self.linear = nn.ModuleList([nn.Linear(n, m) for n, m in zip(widths, widths[1:])])
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x):
        y, _ = self.lstm(self.sincnet(x[:, None]).transpose(1, 2))
        for layer in self.linear:
            y = F.leaky_relu(layer(y))
        return F.log_softmax(self.classifier(y), -1)


def randomise(net, seed):
    """Weights that keep activations alive, and norms that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if "hz_" in name:
                p.mul_(1 + 0.05 * torch.rand(p.shape, generator=generator))
            elif "norm1d" in name:
                p.copy_((1.0 if name.endswith("weight") else 0.0) + 0.2 * torch.randn(p.shape, generator=generator))
            else:
                bound = 1.5 / p.shape[-1] ** 0.5 if p.dim() > 1 else 0.1
                p.copy_(bound * torch.randn(p.shape, generator=generator))
    return net.eval()


def main():
    if len(sys.argv) > 1:
        torch.save({"state_dict": randomise(PyanNet(), 7).state_dict()}, sys.argv[1])
        return
    net = randomise(PyanNet((20, 12, 14), 51, 10, 8, 2, (16, 12), 7), 7)
    x = torch.from_numpy(np.stack([noise(16000, seed) for seed in (1, 2)]))
    with torch.no_grad():
        scores = net(x)
    folder = convert("segmentation", net.state_dict(), "pyannet", {"window_s": 1})
    save(os.path.join(folder, "expected.safetensors"), {"scores": scores})


main()
