"""Random embedding models in the layout of pyannote/wespeaker-voxceleb-resnet34-LM, and what torch makes of them.

    python3 tools/reference/resnet34.py                tests/data/expected/resnet34: a small model and expected values
    python3 tools/reference/resnet34.py FILE           a checkpoint of the published sizes with random weights
"""
import os
import sys

import numpy as np
import torch
import torchaudio.compliance.kaldi as kaldi
from torch import nn
import torch.nn.functional as F

from diarize_common import convert, noise, save


class Block(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, bands=80, channels=32, blocks=(3, 4, 6, 3), size=256):
        super().__init__()
        self.bands = bands
        self.conv1, self.bn1 = nn.Conv2d(1, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        n = channels
        for i, count in enumerate(blocks):
            m = channels << i
            stack = [Block(n if j == 0 else m, m, 2 if j == 0 and i > 0 else 1) for j in range(count)]
            setattr(self, "layer%d" % (i + 1), nn.Sequential(*stack))
            n = m
        self.seg_1 = nn.Linear(2 * n * (bands // 8), size)

    def features(self, x):
        x = kaldi.fbank(x * 32768, num_mel_bins=self.bands, frame_length=25, frame_shift=10, dither=0.0,
                        sample_frequency=16000, window_type="hamming", use_energy=False)
        return x, x - x.mean(0, keepdim=True)

    def trunk(self, features):
        x = F.relu(self.bn1(self.conv1(features.T[None, None])))
        for i in range(4):
            x = getattr(self, "layer%d" % (i + 1))(x)
        return x

    def pool(self, x, weights):
        x = x.flatten(1, 2)
        w = F.interpolate(weights[None, None], size=x.shape[-1], mode="nearest")[0]
        total = w.sum() + 1e-8
        mean = (x * w).sum(2) / total
        variance = ((x - mean[..., None]) ** 2 * w).sum(2) / (total - (w ** 2).sum() / total + 1e-8)
        return self.seg_1(torch.cat([mean, variance.sqrt()], 1))


def randomise(net, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in net.state_dict().items():
            if name.endswith("running_var"):
                p.copy_(0.5 + torch.rand(p.shape, generator=generator))
            elif "num_batches" not in name:
                around = 1.0 if p.dim() == 1 and name.endswith("weight") else 0.0
                spread = (0.8 if p.dim() == 4 else 1) / p[0].numel() ** 0.5 if p.dim() > 1 else 0.1
                p.copy_(around + spread * torch.randn(p.shape, generator=generator))
    return net.eval()


def masks(n):
    """Two speakers: one in the first half, one weighed by a ramp."""
    ramp = torch.linspace(0, 1, n)
    return [(ramp < 0.5).float(), ramp]


def main():
    if len(sys.argv) > 1:
        state = randomise(ResNet(), 8).state_dict()
        torch.save({"state_dict": {"resnet." + name: value for name, value in state.items()}}, sys.argv[1])
        return
    net = randomise(ResNet(24, 4, (1, 2, 1, 1), 16), 8)
    x = torch.from_numpy(noise(20000, 3))[None]
    with torch.no_grad():
        fbank, centred = net.features(x)
        trunk = net.trunk(centred)
        rows = torch.cat([net.pool(trunk, mask) for mask in masks(50)])
        full = kaldi.fbank(x[:, :8000] * 32768, num_mel_bins=80, dither=0.0, window_type="hamming", sample_frequency=16000)
    state = {"resnet." + name: value for name, value in net.state_dict().items()}
    folder = convert("embedding", state, "resnet34", {})
    save(os.path.join(folder, "expected.safetensors"),
         {"fbank": fbank, "fbank80": full, "trunk": trunk[0].permute(1, 2, 0), "embeddings": rows})


main()
