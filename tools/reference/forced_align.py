#!/usr/bin/env python3
"""Writes tests/data/expected/forced_align.safetensors: torchaudio's paths for 500 random cases.

    python3 tools/reference/forced_align.py       (needs torchaudio 2.2, safetensors and numpy; seconds)

Case i has frames, tokens, a vocabulary and log probabilities that are functions of i, which tests/unit/align/paths.c
makes again: in every fifth they are quarters, so that many paths are equally likely. Stored is the first frame of every token and the frame
behind its last.
"""
import numpy as np
import torch
import torchaudio
from safetensors.numpy import save_file

import toy

CASES, KEY = 500, 11


def case(i):
    """(log probabilities, tokens) of case i."""
    size = toy.uniform(3, (i, 1, 0), KEY)
    n, vocabulary = 1 + int(size[0] * 40), 2 + int(size[1] * 30)
    tokens = 1 + (toy.uniform(n, (i, 2, 0), KEY) * (vocabulary - 1)).astype(np.int64)
    least = n + int((tokens[1:] == tokens[:-1]).sum())
    frames = least + int(size[2] ** 2 * 150)
    u = toy.uniform(frames * vocabulary, (i, 3, 0), KEY)
    logp = -np.floor(u * 32) / 4 if i % 5 == 4 else -8 * u
    return logp.astype(np.float32).reshape(frames, vocabulary), tokens


def spans(path):
    """First frame and end of each token of a path with blanks 0."""
    ends = [t for t in range(len(path)) if path[t] and (t + 1 == len(path) or path[t + 1] != path[t])]
    starts = [t for t in range(len(path)) if path[t] and (t == 0 or path[t - 1] != path[t])]
    return [[a, b + 1] for a, b in zip(starts, ends)]


if __name__ == "__main__":
    every = []
    for number in range(CASES):
        logp, tokens = case(number)
        path, _ = torchaudio.functional.forced_align(torch.from_numpy(logp)[None], torch.from_numpy(tokens)[None], blank=0)
        found = spans(path[0].tolist())
        assert len(found) == len(tokens)
        every += found
    save_file({"spans": np.array(every, np.uint16)}, toy.ROOT / "tests/data/expected/forced_align.safetensors")
