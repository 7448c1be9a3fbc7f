"""speaker-synth/embedding: what a voice sounds like, in the shape of WeSpeaker's residual networks, but small.

plugins/diarize/resnet.h names the papers. A window of several voices goes through the network once and is pooled for each
voice over the frames in which it speaks alone, as diarize/speakers does it. Trained to tell the pool's speakers apart, with
an additive margin (F. Wang et al., "Additive margin softmax for face verification", 2018).
"""
import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from material import pools, sounds
from material.scene import Scenes
from training import folder

N, BANDS, CHANNELS, SIZE = 81920, 40, (12, 24, 48, 96), 64  # N: 5.1 s
LEAST = 40                    # frames of 10 ms that a voice has to have alone
SCALE, MARGIN = 24.0, 0.2
THRESHOLD = 0.75  # of clustering in diarize/speakers; chosen with tools/train/measure --tune


def mel(hz):
    return 1127 * np.log(1 + hz / 700)


def bands():
    """(257, BANDS): Kaldi's triangles, plugins/diarize/fbank.h"""
    low, step = mel(20), (mel(8000) - mel(20)) / (BANDS + 1)
    at = (mel(np.arange(257) * 16000 / 512)[:, None] - low - step * np.arange(BANDS)) / step
    return np.maximum(0, np.minimum(at, 2 - at)).astype(np.float32)


class Block(nn.Module):
    def __init__(self, n, m, stride):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(n, m, 3, stride, 1, bias=False), nn.BatchNorm2d(m)
        self.conv2, self.norm2 = nn.Conv2d(m, m, 3, 1, 1, bias=False), nn.BatchNorm2d(m)
        self.shortcut = None
        if stride > 1 or n != m:
            self.shortcut, self.norm3 = nn.Conv2d(n, m, 1, stride, bias=False), nn.BatchNorm2d(m)

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + (self.norm3(self.shortcut(x)) if self.shortcut else x))


class Network(nn.Module):
    def __init__(self, n_speakers):
        super().__init__()
        self.register_buffer("bands", torch.from_numpy(bands()))
        self.register_buffer("window", torch.from_numpy(np.hamming(400).astype(np.float32)))
        self.stem, self.norm = nn.Conv2d(1, CHANNELS[0], 3, 1, 1, bias=False), nn.BatchNorm2d(CHANNELS[0])
        widths = [CHANNELS[0], *CHANNELS]
        self.layers = nn.ModuleList([Block(n, m, 2 if i else 1) for i, (n, m) in enumerate(zip(widths, CHANNELS))])
        self.embedding = nn.Linear(2 * CHANNELS[-1] * (BANDS // 8), SIZE)
        self.speakers = nn.Parameter(0.1 * torch.randn(n_speakers, SIZE))  # only for training

    def features(self, x):
        """(B, samples) -> (B, 1, BANDS, frames), without means over time"""
        frames = (x * 32768).unfold(1, 400, 160)
        frames = frames - frames.mean(2, keepdim=True)
        frames = (frames - 0.97 * torch.cat([frames[..., :1], frames[..., :-1]], -1)) * self.window
        power = torch.fft.rfft(frames, 512).abs() ** 2
        y = (power @ self.bands).clamp_min(torch.finfo(torch.float32).eps).log()
        return (y - y.mean(1, keepdim=True)).transpose(1, 2)[:, None]

    def maps(self, x):
        y = F.relu(self.norm(self.stem(self.features(x))))
        for layer in self.layers:
            y = layer(y)
        return y.flatten(1, 2)

    def pool(self, maps, weights):
        """maps (n, channels, t), weights (n, frames) -> embeddings (n, SIZE)"""
        w = F.interpolate(weights[:, None], size=maps.shape[-1], mode="nearest")
        total = w.sum(2) + 1e-8
        mean = (maps * w).sum(2) / total
        variance = ((maps - mean[..., None]) ** 2 * w).sum(2) / (total - (w ** 2).sum(2) / total + 1e-8)
        return self.embedding(torch.cat([mean, (variance + 1e-6).sqrt()], 1))


class Task:
    name = "speaker-synth/embedding"
    rate, decay, clip = 2e-3, 0.02, 3.0
    smoke_steps, smoke_loss, half = 150, 9.2, True

    def __init__(self, options):
        self.size = 6 if options.smoke else 12
        pool = pools.voices(options)
        self.scenes = Scenes(pool, sounds.bank(options), N)
        self.numbers = {name: i for i, name in enumerate(pool.names)}
        self.material = "%d speakers, %d utterances" % (len(pool.names), len(pool.utterances))

    def network(self):
        return Network(len(self.numbers))

    def scene(self, rng):
        """Samples, and [(number of the speaker, weights of frames)]"""
        scenes = self.scenes
        cast = list(rng.choice(scenes.pool.names, rng.choice([2, 3, 4]), replace=False))
        x, activity = scenes.talk(rng, cast, overlap=0.1, busy=0.9)
        x = scenes.through(rng, x, room=0.5, channel=0.6)
        x /= np.sqrt(np.mean(np.square(x)) + 1e-9)
        if rng.random() < 0.8:
            x = x + scenes.background(rng, 0.1) * 10 ** (-rng.uniform(5, 40) / 20)
        alone = activity & (activity.sum(0) == 1)
        heard = [(self.numbers[name], row) for name, row in zip(cast, alone) if row.sum() >= LEAST]
        return scenes.record(rng, x, -40), heard

    def batch(self, rng):
        made = [self.scene(rng) for _ in range(self.size)]
        rows = [(i, number, weights) for i, (_, heard) in enumerate(made) for number, weights in heard]
        return (torch.from_numpy(np.stack([x for x, _ in made])), torch.tensor([i for i, _, _ in rows]),
                torch.tensor([number for _, number, _ in rows]), torch.from_numpy(np.array([w for _, _, w in rows], np.float32)))

    def loss(self, network, x, windows, numbers, weights):
        embeddings = network.pool(network.maps(x).float()[windows], weights)
        cosines = F.normalize(embeddings) @ F.normalize(network.speakers).T
        margin = MARGIN * F.one_hot(numbers, cosines.shape[1])
        return F.cross_entropy(SCALE * (cosines - margin), numbers)


def folded(conv, norm):
    """Weight and bias of a convolution with the normalisation behind it."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


def export(network, path):
    state = {}

    def add(name, conv, norm):
        state[name + ".weight"], state[name + ".bias"] = folded(conv, norm)

    add("stem", network.stem, network.norm)
    for i, layer in enumerate(network.layers, 1):
        add("layer%d.0.conv1" % i, layer.conv1, layer.norm1)
        add("layer%d.0.conv2" % i, layer.conv2, layer.norm2)
        if layer.shortcut:
            add("layer%d.0.shortcut" % i, layer.shortcut, layer.norm3)
    state["embedding.weight"], state["embedding.bias"] = network.embedding.weight, network.embedding.bias
    folder.write_safetensors(os.path.join(path, "model.safetensors"), folder.arrays(state))
    folder.write_json(os.path.join(path, "config.json"), {"model_type": "resnet", "mel_bands": BANDS, "threshold": THRESHOLD})
