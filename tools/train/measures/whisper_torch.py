"""The greedy search in PyTorch, of text alone: what `sluice run` has to find too."""
import os
import wave

import numpy as np
import torch

from models import whisper
from models.whisper_net import TEXT, Tokens, Whisper

BLANK = "\u0120"


def load(folder):
    tokens = Tokens.read(folder)
    network = Whisper(tokens.size)
    network.load_state_dict(whisper.read_safetensors(os.path.join(folder, "model.safetensors")), strict=False)
    return network.eval(), tokens


def features(network, path):
    """Of a WAV file of 16 kHz, the window filled up with zeros"""
    with wave.open(path) as file:
        x = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    mel = network.front(torch.from_numpy(np.pad(x, (0, whisper.N - len(x))))[None])
    mel[:, len(x) // 160:] = 0
    return mel


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
    torch.set_num_threads(1)
    network, tokens = load(folder)
    return [text(network, tokens, features(network, path)) for path in paths]
