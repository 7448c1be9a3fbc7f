"""Whisper's network in PyTorch, parameters under their names in Hugging Face's files; its front end; its tokens."""
import collections
import json
import math
import os
import re

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MELS, AUDIO, TEXT = 80, 500, 128  # frames of the encoder; tokens
Shape = collections.namedtuple("Shape", "width heads encoder_layers decoder_layers")
SHAPES = {"small": Shape(192, 3, 4, 2), "large": Shape(256, 4, 6, 4)}  # 3.4 and 9.3 million parameters
BLANK = "\u0120"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'.,?"
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
           "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
STAMPS = 501  # 0.00 to 10.00 s
PIECE = re.compile(r" ?[A-Za-z']+|[.,?]")


# ---- tokens ----

def merged(symbols, pair):
    out, i = [], 0
    while i < len(symbols):
        both = tuple(symbols[i:i + 2]) == pair
        out.append("".join(pair) if both else symbols[i])
        i += 2 if both else 1
    return out


def learn(lines, n_text):
    """(pieces, merges): the most frequent pair of neighbours becomes one, until there are n_text pieces."""
    counts = collections.Counter(p.replace(" ", BLANK) for line in lines for p in PIECE.findall(" " + line))
    words, merges, pieces = {w: list(w) for w in counts}, [], [BLANK, *LETTERS]
    while len(pieces) < n_text:
        pairs = collections.Counter()
        for word, symbols in words.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += counts[word]
        pair = max(pairs.items(), key=lambda item: (item[1], item[0]))[0]
        merges.append(pair)
        pieces.append("".join(pair))
        words = {word: merged(symbols, pair) for word, symbols in words.items()}
    return pieces, merges


class Tokens:
    def __init__(self, pieces, merges):
        self.pieces, self.merges, n = pieces, merges, len(pieces)
        self._number = {piece: i for i, piece in enumerate(pieces)}
        self._rank = {pair: i for i, pair in enumerate(merges)}
        self.special = {name: n + i for i, name in enumerate(SPECIAL)}
        self.end, self.start, self.english, self.translate, self.transcribe = range(n, n + 5)
        self.previous, self.no_speech, self.no_stamps = range(n + 6, n + 9)
        self.first_stamp, self.size, self._known = n + 9, n + 9 + STAMPS, {}

    @classmethod
    def read(cls, folder):
        with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as file:
            pieces = sorted((number, piece) for piece, number in json.load(file).items())
        with open(os.path.join(folder, "merges.txt"), encoding="utf-8") as file:
            merges = [tuple(line.split()) for line in file.read().split("\n")[1:] if line]
        return cls([piece for _, piece in pieces], merges)

    def files(self):
        """{name: text}"""
        added = {**self.special, **{"<|%.2f|>" % (i * 0.02): self.first_stamp + i for i in range(STAMPS)}}
        return {"vocab.json": json.dumps(self._number, ensure_ascii=False), "added_tokens.json": json.dumps(added, indent=0),
                "merges.txt": "#version: 0.2\n" + "".join("%s %s\n" % pair for pair in self.merges)}

    def word(self, text):
        """Tokens of one piece, its blank in front included."""
        if text not in self._known:
            symbols = list(text.replace(" ", BLANK))
            while True:
                pairs = [(self._rank[pair], pair) for pair in zip(symbols, symbols[1:]) if pair in self._rank]
                if not pairs:
                    break
                symbols = merged(symbols, min(pairs)[1])
            self._known[text] = [self._number[s] for s in symbols]
        return self._known[text]


# ---- the front end ----

def edges_hz():
    """MELS + 2 frequencies at equal steps of Slaney's mel scale, up to 8 kHz"""
    mel = np.linspace(0, 15 + np.log(8) * 27 / np.log(6.4), MELS + 2)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def filterbank():
    """(201, MELS): triangles of equal area"""
    edges = edges_hz()
    hz = np.arange(201)[:, None] * 40.0
    up, down = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    return (np.maximum(0, np.minimum(up, down)) * 2 / (edges[2:] - edges[:-2])).astype(np.float32)


WARPS = np.linspace(0.86, 1.16, 13)  # of the vocal tract's length, none in the middle


def warps():
    """(len(WARPS), MELS, MELS): for windows on the right, the spectrum of one frame at other frequencies"""
    centres, at = edges_hz()[1:-1], np.arange(MELS)
    matrices = np.zeros((len(WARPS), MELS, MELS), np.float32)
    for matrix, factor in zip(matrices, WARPS):
        source = np.interp(centres * factor, centres, at)
        low = source.astype(int)
        matrix[low, at] += 1 - (source - low)
        matrix[np.minimum(low + 1, MELS - 1), at] += source - low
    return matrices


class FrontEnd(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("bank", torch.from_numpy(filterbank()), persistent=False)
        self.register_buffer("window", torch.hann_window(400), persistent=False)

    @torch.no_grad()
    def forward(self, x, gains=None):
        """(B, samples) -> (B, samples / 160, MELS); gains: of each window's spectra (B, 201)"""
        with torch.autocast(x.device.type, enabled=False):
            spectra = torch.view_as_real(torch.stft(x, 400, 160, window=self.window, return_complex=True)[..., :-1])
            power = spectra.square().sum(-1).transpose(1, 2)
            power = power if gains is None else power * gains.square()[:, None]
            y = (power @ self.bank).clamp_min(1e-10).log10()
            return (torch.maximum(y, y.amax((1, 2), keepdim=True) - 8) + 4) / 4


class Varied(nn.Module):
    """Windows as another throat might have said them, and with something missing; zeros from frame `filled` on."""

    def __init__(self):
        super().__init__()
        self.register_buffer("warps", torch.from_numpy(warps()), persistent=False)

    @torch.no_grad()
    def forward(self, mel, warps, masks, filled):
        with torch.autocast(mel.device.type, enabled=False):
            mel = torch.where(masks, mel.mean((1, 2), keepdim=True), mel @ self.warps[warps])
        return mel * (torch.arange(mel.shape[1], device=mel.device) < filled[:, None])[..., None]


# ---- layers ----

class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        n, self.heads = shape.width, shape.heads
        self.q_proj, self.k_proj = nn.Linear(n, n), nn.Linear(n, n, bias=False)
        self.v_proj, self.out_proj = nn.Linear(n, n), nn.Linear(n, n)

    def forward(self, x, memory, mask=None):
        """The result, and what is attended to (B, heads, n, m). Faster than PyTorch's own on a CPU, in bfloat16."""
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, k, v = split(self.q_proj(x)), split(self.k_proj(memory)), split(self.v_proj(memory))
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
        weights = (scores if mask is None else scores + mask).softmax(-1)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2)), weights


class Layer(nn.Module):
    def __init__(self, shape, crossed):
        super().__init__()
        n = shape.width
        self.self_attn, self.self_attn_layer_norm = Attention(shape), nn.LayerNorm(n)
        if crossed:
            self.encoder_attn, self.encoder_attn_layer_norm = Attention(shape), nn.LayerNorm(n)
        self.fc1, self.fc2, self.final_layer_norm = nn.Linear(n, 4 * n), nn.Linear(4 * n, n), nn.LayerNorm(n)

    def forward(self, x, memory=None, mask=None):
        weights, y = None, self.self_attn_layer_norm(x)
        x = x + self.self_attn(y, y, mask)[0]
        if memory is not None:
            y, weights = self.encoder_attn(self.encoder_attn_layer_norm(x), memory)
            x = x + y
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x)))), weights


class Encoder(nn.Module):
    def __init__(self, shape):
        super().__init__()
        n = shape.width
        self.conv1, self.conv2 = nn.Conv1d(MELS, n, 3, 1, 1), nn.Conv1d(n, n, 3, 2, 1)
        self.conv1.weight.data *= 2  # else positions drown the sound at first
        self.conv2.weight.data *= 4
        step = math.log(10000) / (n // 2 - 1)
        angles = torch.arange(AUDIO)[:, None] * torch.exp(-step * torch.arange(n // 2))
        self.embed_positions = nn.Embedding.from_pretrained(torch.cat([angles.sin(), angles.cos()], 1), freeze=True)
        self.layers, self.layer_norm = nn.ModuleList([Layer(shape, False) for _ in range(shape.encoder_layers)]), nn.LayerNorm(n)

    def forward(self, mel):
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel.transpose(1, 2))))).transpose(1, 2)
        x = x + self.embed_positions.weight[:x.shape[1]]
        for layer in self.layers:
            x, _ = layer(x)
        return self.layer_norm(x)


class Decoder(nn.Module):
    def __init__(self, shape, n_tokens):
        super().__init__()
        n = shape.width
        self.embed_tokens, self.embed_positions = nn.Embedding(n_tokens, n), nn.Embedding(TEXT, n)
        nn.init.normal_(self.embed_tokens.weight, std=0.05)
        nn.init.normal_(self.embed_positions.weight, std=0.02)
        self.layers, self.layer_norm = nn.ModuleList([Layer(shape, True) for _ in range(shape.decoder_layers)]), nn.LayerNorm(n)

    def forward(self, ids, memory):
        """Scores, and the first head's cross-attention of each layer."""
        n, maps = ids.shape[1], []
        x = self.embed_tokens(ids) + self.embed_positions.weight[:n]
        mask = torch.full((n, n), float("-inf"), device=ids.device).triu(1)
        for layer in self.layers:
            x, weights = layer(x, memory, mask)
            maps.append(weights[:, 0])
        return F.linear(self.layer_norm(x), self.embed_tokens.weight), maps


class Whisper(nn.Module):
    def __init__(self, shape, n_tokens):
        super().__init__()
        self.front, self.varied, self.encoder, self.decoder = FrontEnd(), Varied(), Encoder(shape), Decoder(shape, n_tokens)
        self.letters = nn.Linear(shape.width, 28)  # only for training: which letter a frame belongs to
        nn.init.zeros_(self.letters.weight)  # else it drags a trained encoder about at first

    def forward(self, mel, ids):
        memory = self.encoder(mel)
        return (memory, *self.decoder(ids, memory))
