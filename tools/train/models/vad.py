"""vad-synth: a detector of speech in the shape of Silero VAD 5, so that audio/vad runs it with the code that runs Silero's.

For each 512 samples: magnitudes of four spectra, four convolutions over them, an LSTM over the frames, a probability.
plugins/audio/vad/silero.c has the details. Learned is all but the spectra.
"""
import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from material.scene import HOP
from models.scenes import SceneTask
from training import folder

FRAME, CONTEXT, SPAN, STEP, BINS = 512, 64, 256, 128, 129
N = 51 * 5 * 512  # samples of a scene: 255 frames, 8.2 s; whole frames of 10 ms too


def basis():
    """(258, 256): cosines and sines under a Hann window."""
    t, k = np.arange(SPAN), np.arange(BINS)[:, None]
    phase = 2 * np.pi * k * t / SPAN
    window = 0.5 - 0.5 * np.cos(2 * np.pi * t / SPAN)
    return np.concatenate([np.cos(phase), -np.sin(phase)]) * window


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("basis", torch.from_numpy(basis().astype(np.float16).astype(np.float32)))
        sizes = [(BINS, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1)]
        self.convs = nn.ModuleList([nn.Conv1d(n, m, 3, stride, 1) for n, m, stride in sizes])
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.output = nn.Linear(128, 1)

    def spectra(self, x):
        """(B, samples) -> (B * frames, BINS, 4)"""
        windows = F.pad(x, (CONTEXT, 0)).unfold(1, CONTEXT + FRAME, FRAME)
        windows = torch.cat([windows, windows[..., -1 - CONTEXT:-1].flip(-1)], -1)
        y = windows.unfold(2, SPAN, STEP) @ self.basis.T
        return (y[..., :BINS] ** 2 + y[..., BINS:] ** 2 + 1e-12).sqrt().flatten(0, 1).transpose(1, 2)

    def forward(self, x):
        """(B, samples), a multiple of 512 -> logits (B, frames)"""
        y = self.spectra(x)
        for conv in self.convs:
            y = F.relu(conv(y))
        y, _ = self.lstm(y.squeeze(-1).unflatten(0, (len(x), -1)))
        return self.output(F.relu(y)).squeeze(-1)


class Task(SceneTask):
    name = "vad-synth"
    rate, decay, clip = 1.5e-3, 0.01, 1.0
    smoke_steps, smoke_loss = 250, 0.65
    Network, samples, size = Network, N, 20

    def scene(self, rng):
        """Samples (N), and the share of each frame that is speech."""
        scenes, x, share = self.scenes, np.zeros(N), np.zeros(N // FRAME)
        if rng.random() < 0.75:
            cast = list(rng.choice(scenes.pool.names, rng.integers(1, 4), replace=False))
            x, activity = scenes.talk(rng, cast, busy=rng.uniform(0.1, 0.8))
            share = np.repeat(activity.any(0), HOP).reshape(-1, FRAME).mean(1)
            x = scenes.through(rng, x)
            x /= np.sqrt(max(np.sum(np.square(x)) / max(share.sum() * FRAME, 1), 1e-9))
        if rng.random() < 0.92 or not share.any():
            x = x + scenes.background(rng) * 10 ** (-rng.uniform(-4, 35) / 20)
        if rng.random() < 0.35:
            x = x + scenes.background(rng, 0) * 10 ** (-rng.uniform(3, 40) / 20)
        x = scenes.record(rng, x, -80, -8)
        if rng.random() < 0.08:  # the line drops out
            at, n = int(rng.integers(len(share))), int(rng.integers(3, 40))
            x[at * FRAME:(at + n) * FRAME] = share[at:at + n] = 0
        return x, share

    def loss(self, network, x, share):
        """Frames that are half speech count less. Speech counts more: a lost word is worse than a second of noise."""
        weight = torch.where((share > 0.1) & (share < 0.6), 0.3, 1.0) * torch.where(share > 0.5, 1.3, 1.0)
        return F.binary_cross_entropy_with_logits(network(x).float(), (share > 0.5).float(), weight)


def export(network, path):
    """The names are those of Silero's own safetensors file."""
    state = {"stft_conv.weight": network.basis[:, None]}
    for i, conv in enumerate(network.convs, 1):
        state["conv%d.weight" % i], state["conv%d.bias" % i] = conv.weight, conv.bias
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        state["lstm_cell." + name] = getattr(network.lstm, name + "_l0")
    state["final_conv.weight"], state["final_conv.bias"] = network.output.weight[:, :, None], network.output.bias
    folder.write_safetensors(os.path.join(path, "model.safetensors"), folder.arrays(state))
    folder.write_json(os.path.join(path, "config.json"), {"model_type": "silero_vad", "sample_rate": 16000, "frame": FRAME})
