"""What the reference values of diarization share: a signal that C makes too, and the way to tests/data/expected."""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.numpy import save_file

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def noise(n, seed):
    """Noise of changing loudness and colour, the same in tests/unit/diarize/models.h."""
    state, x, before = np.uint64(seed), np.empty(n, np.float32), 0.0
    with np.errstate(over="ignore"):
        for i in range(n):
            state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
            white = float(int(state) >> 40) / (1 << 23) - 1
            before = (0.9 if i // 4000 % 2 else 0.2) * before + white
            x[i] = 0.05 * (1 + i // 2500 % 3) * before
    return x


def convert(kind, state, name, config):
    """The checkpoint through tools/convert_diarization into tests/data/expected/NAME, whose path is returned."""
    folder = os.path.join(ROOT, "tests/data/expected", name)
    with tempfile.TemporaryDirectory() as temporary:
        path = os.path.join(temporary, "pytorch_model.bin")
        torch.save({"state_dict": state}, path)
        subprocess.run([sys.executable, os.path.join(ROOT, "tools/convert_diarization"), kind, path, folder], check=True)
    path = os.path.join(folder, "config.json")
    with open(path) as file:
        config = {**json.load(file), **config}
    with open(path, "w") as file:
        json.dump(config, file, indent=2)
        file.write("\n")
    return folder


def save(path, tensors):
    save_file({name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}, path)
