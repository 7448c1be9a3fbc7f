"""The same in PyTorch: the greedy search of text alone, which has to find what `sluice run` finds; and when words begin, from the
alignment heads and the text that was said.
"""
import wave

import numpy as np
import torch

from models import whisper
from models.whisper_net import BLANK, PIECE, TEXT, Tokens, Whisper


def load(folder):
    torch.set_num_threads(1)
    tokens = Tokens.read(folder)
    network = Whisper(whisper.shape_of(folder), tokens.size)
    network.load_state_dict(whisper.read_weights(folder), strict=False)
    return network.eval(), tokens


def features(network, path):
    """Of a WAV file of 16 kHz, the window filled up with zeros"""
    with wave.open(path) as file:
        x = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    mel = network.front(torch.from_numpy(np.pad(x, (0, whisper.N - len(x))))[None])
    mel[:, len(x) // 160:] = 0
    return mel


def frames_of(path):
    """Of the encoder, in which there is sound"""
    with wave.open(path) as file:
        return min(whisper.N // 320, file.getnframes() // 320 + 1)


@torch.no_grad()
def text(network, tokens, mel):
    """Text tokens and the end alone may come; the end and a blank not at first, as openai-whisper does it."""
    memory = network.encoder(mel)
    ids, blank = [tokens.start, tokens.english, tokens.transcribe, tokens.no_stamps], tokens.pieces.index(BLANK)
    first = len(ids)
    while len(ids) - first < TEXT // 2:
        scores = network.decoder(torch.tensor([ids]), memory)[0][0, -1, :tokens.end + 1]
        if len(ids) == first:
            scores[[tokens.end, blank]] = -torch.inf
        ids.append(int(scores.argmax()))
        if ids[-1] == tokens.end:
            break
    return "".join(tokens.pieces[i] for i in ids[first:] if i < tokens.end).replace(BLANK, " ").strip()


def texts(folder, paths):
    network, tokens = load(folder)
    return [text(network, tokens, features(network, path)) for path in paths]


def path_of(weights):
    """The token of each frame (tokens, frames) -> (frames,): never back, never more than one further, where most is attended to."""
    n_tokens, n_frames = weights.shape
    cost = -np.log(weights + 1e-4)
    best, stayed = np.full(n_tokens, np.inf), np.zeros((n_frames, n_tokens), bool)
    best[0] = cost[0, 0]
    for frame in range(1, n_frames):
        before = np.concatenate([[np.inf], best[:-1]])
        stayed[frame] = best <= before
        best = np.where(stayed[frame], best, before) + cost[:, frame]
    at, path = n_tokens - 1, np.zeros(n_frames, int)
    for frame in range(n_frames - 1, -1, -1):
        path[frame] = at
        at -= not stayed[frame, at] and at > 0
    return path


@torch.no_grad()
def word_starts(network, tokens, path, text):
    """Seconds. Frames to which a token gives less than a tenth of its most are a pause and belong to no word."""
    ids, begins = [], []
    for word in text.split():
        begins.append(len(ids))
        for piece in PIECE.findall(" " + word):
            ids += tokens.word(piece)
    head = [tokens.start, tokens.english, tokens.transcribe, tokens.no_stamps]
    mel, n_frames = features(network, path), frames_of(path)
    _, _, maps = network(mel, torch.tensor([head + ids + [tokens.end]]))
    weights = torch.stack([layer[0] for layer in maps]).mean(0)[len(head) - 1:-2, :n_frames].numpy()
    taken = path_of(weights)
    loud = weights > 0.1 * weights.max(1, keepdims=True)
    first = [np.flatnonzero((taken == i) & loud[i]) for i in range(len(ids))]
    return [0.02 * (some[0] if len(some) else np.flatnonzero(taken == i)[0]) for i, some in ((i, first[i]) for i in begins)]
