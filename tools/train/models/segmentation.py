"""speaker-synth/segmentation: who of up to three voices speaks in each frame of five seconds, in the shape of PyanNet.

plugins/diarize/pyannet.h names the papers. Smaller than the published model: 64 fixed filters every 20 samples, so that a
frame is 34 ms, and two layers of LSTM. Trained with permutations: which voice is the first is up to the network. Besides it learns to
tell the pool's speakers apart, from what the LSTM makes of the frames in which one speaks alone: else it hears for long that somebody
speaks, but not that it is another.
"""
import itertools
import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from material import pools
from material.scene import HOP
from models.scenes import SceneTask
from training import folder

N, STRIDE, SIZE, BANDS = 80000, 20, 251, 32  # N: 5 s; of 10 s, voices are confused more often
CHANNELS, HIDDEN, LAYERS, LINEAR = (2 * BANDS, 64, 64), 96, 2, 96
LOCAL, AT_ONCE = 3, 2
SETS = [s for k in range(AT_ONCE + 1) for s in itertools.combinations(range(LOCAL), k)]  # pyannet.c: list_sets()
STEP, SEEN = 27 * STRIDE, 74 * STRIDE + SIZE  # samples from frame to frame, and of one frame
FRAMES = (((N - SIZE) // STRIDE + 1) // 3 - 4) // 3 - 4
FRAMES //= 3
LEAST = 8  # frames that a voice has to have alone
VOICE, SCALE, MARGIN, SHARE = 64, 16.0, 0.1, 0.1  # of the speakers' part: its size, its softmax, its share of the loss


def filters():
    """(64, SIZE): cosines and sines of bands on the mel scale under a Hamming window, as a sinc front end begins."""
    mel = np.linspace(2595 * np.log10(1 + 50 / 700), 2595 * np.log10(1 + 7600 / 700), BANDS + 1)
    hz = 700 * (10 ** (mel / 2595) - 1)
    low, high = hz[:-1, None], np.maximum(hz[1:], hz[:-1] + 50)[:, None]
    half = SIZE // 2
    t = 2 * np.pi * np.arange(-half, 0)[None] / 16000
    window = np.hamming(SIZE)[:half]
    cosine = (np.sin(high * t) - np.sin(low * t)) / (t / 2) * window
    sine = (np.cos(low * t) - np.cos(high * t)) / (t / 2) * window
    band = 2 * (high - low)
    both = [np.concatenate([cosine, band, cosine[:, ::-1]], 1), np.concatenate([sine, 0 * band, -sine[:, ::-1]], 1)]
    return np.concatenate([f / band for f in both]).astype(np.float16).astype(np.float32)


class Network(nn.Module):
    def __init__(self, n_speakers):
        super().__init__()
        self.register_buffer("filters", torch.from_numpy(filters())[:, None])
        self.convs = nn.ModuleList([nn.Conv1d(CHANNELS[0], CHANNELS[1], 5), nn.Conv1d(CHANNELS[1], CHANNELS[2], 5)])
        self.wave = nn.InstanceNorm1d(1, affine=True)
        self.norms = nn.ModuleList([nn.InstanceNorm1d(n, affine=True) for n in CHANNELS])
        self.lstm = nn.LSTM(CHANNELS[-1], HIDDEN, LAYERS, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(2 * HIDDEN, LINEAR)
        self.classifier = nn.Linear(LINEAR, len(SETS))
        self.voice = nn.Linear(2 * HIDDEN, VOICE)  # only for training
        self.speakers = nn.Parameter(0.1 * torch.randn(n_speakers, VOICE))

    def forward(self, x):
        """(B, N) -> logarithms of probabilities (B, FRAMES, sets), and what the LSTM makes of frames"""
        y = F.conv1d(self.wave(x[:, None]), self.filters, stride=STRIDE).abs()
        y = F.leaky_relu(self.norms[0](F.max_pool1d(y, 3)))
        for conv, norm in zip(self.convs, self.norms[1:]):
            y = F.leaky_relu(norm(F.max_pool1d(conv(y), 3)))
        y, _ = self.lstm(y.transpose(1, 2))
        return self.classifier(F.leaky_relu(self.linear(y))).float().log_softmax(-1), y.float()


def classes(heard):
    """(permutations, FRAMES): the set of each frame under every order of the voices; heard (LOCAL, FRAMES)."""
    number = {sum(1 << s for s in members): i for i, members in enumerate(SETS)}
    table = np.array([number.get(bits, 0) for bits in range(1 << LOCAL)])
    bits = [sum(heard[s].astype(int) << p for p, s in enumerate(order)) for order in itertools.permutations(range(LOCAL))]
    return table[np.stack(bits)]


class Task(SceneTask):
    name = "speaker-synth/segmentation"
    rate, decay, clip = 2e-3, 0.01, 1.0
    smoke_steps, smoke_loss, half = 150, 1.55, True
    samples, size, pool = N, 32, staticmethod(pools.voices)

    def __init__(self, options):
        super().__init__(options)
        self.numbers = {name: i for i, name in enumerate(self.scenes.pool.names)}

    def network(self):
        return Network(len(self.numbers))

    def scene(self, rng):
        scenes, n = self.scenes, rng.choice([1, 2, 3], p=[0.15, 0.5, 0.35])
        cast = list(rng.choice(scenes.pool.names, n, replace=False))
        x, activity = scenes.talk(rng, cast, overlap=rng.uniform(0, 0.35), busy=rng.uniform(0.4, 0.95), pauses=False)
        if rng.random() < 0.12:  # nobody speaks
            x, activity = np.zeros(N), np.zeros_like(activity)
        x = scenes.through(rng, x, room=0.5, channel=0.5)
        x /= np.sqrt(np.mean(np.square(x)) + 1e-9)
        if rng.random() < 0.8 or not activity.any():
            x = x + scenes.background(rng, 0.1) * 10 ** (-rng.uniform(3, 40) / 20)
        heard, numbers = np.zeros((LOCAL, FRAMES), bool), np.zeros(LOCAL, np.int64)
        heard[:n] = activity[:, (np.arange(FRAMES) * STEP + SEEN // 2) // HOP]
        heard[2] &= heard[:2].sum(0) < AT_ONCE  # never three
        numbers[:n] = [self.numbers[name] for name in cast]
        return scenes.record(rng, x, -40), classes(heard), (heard & (heard.sum(0) == 1)).astype(np.float32), numbers

    def loss(self, network, x, targets, alone, numbers):
        """Of the order of voices that fits best, and of the speakers. targets: (B, permutations, FRAMES), alone: (B, LOCAL, FRAMES)"""
        scores, y = network(x)
        each = -scores[:, None].expand(-1, targets.shape[1], -1, -1).gather(3, targets[..., None]).squeeze(3).mean(2)
        length = alone.sum(2)
        known = length >= LEAST
        voices = F.normalize(network.voice(((alone @ y) / length[..., None].clamp_min(1))[known]).float())
        cosines = voices @ F.normalize(network.speakers).T
        margin = MARGIN * F.one_hot(numbers[known], cosines.shape[1])
        return each.min(1).values.mean() + SHARE * F.cross_entropy(SCALE * (cosines - margin), numbers[known])


def export(network, path):
    state = {"sincnet.0.weight": network.filters, "sincnet.wave.weight": network.wave.weight, "sincnet.wave.bias": network.wave.bias}
    for i, norm in enumerate(network.norms):
        state["sincnet.%d.norm.weight" % i], state["sincnet.%d.norm.bias" % i] = norm.weight, norm.bias
    for i, conv in enumerate(network.convs, 1):
        state["sincnet.%d.weight" % i], state["sincnet.%d.bias" % i] = conv.weight, conv.bias
    for i in range(LAYERS):
        for end, direction in (("_l%d" % i, "forward"), ("_l%d_reverse" % i, "backward")):
            part = lambda kind: getattr(network.lstm, kind + end)
            name = "lstm.%d.%s." % (i, direction)
            state[name + "weight_ih"], state[name + "weight_hh"] = part("weight_ih"), part("weight_hh")
            state[name + "bias"] = part("bias_ih") + part("bias_hh")
    for name, layer in (("linear.0", network.linear), ("classifier", network.classifier)):
        state[name + ".weight"], state[name + ".bias"] = layer.weight, layer.bias
    folder.write_safetensors(os.path.join(path, "model.safetensors"), folder.arrays(state))
    folder.write_json(os.path.join(path, "config.json"), {
        "model_type": "pyannet", "window_s": N / 16000, "stride": STRIDE, "speakers": LOCAL, "at_once": AT_ONCE})
