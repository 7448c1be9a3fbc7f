"""How good models are, through `sluice run`: each module has measure(options), which writes the model's card."""
import importlib
import json
import os
import subprocess
import tempfile
import wave

import numpy as np

NAMES = {"vad-synth": "vad", "speaker-synth": "speakers", "scribe-synth": "scribe", "whisper-synth": "whisper"}


def measure(name, options):
    importlib.import_module("measures." + NAMES[name]).measure(options)


class Failed(RuntimeError):
    """`sluice` did not do what was asked; the message is its own."""


def sluice(options, pipeline, files, *more):
    """Runs the pipeline, a text, on files: (a temporary folder to hold on to, the path of the output folder in it)"""
    folder = tempfile.TemporaryDirectory()
    path, out = os.path.join(folder.name, "pipeline.yaml"), os.path.join(folder.name, "out")
    with open(path, "w", encoding="utf-8") as file:
        file.write(pipeline)
    environment = dict(os.environ, SLUICE_STATE=os.path.join(folder.name, "state"))
    done = subprocess.run([options.sluice, "run", path, *files, "-o", out, "--no-cache", *more], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode:
        raise Failed("sluice run ended with %d: %s" % (done.returncode, done.stdout[-2000:]))
    return folder, out


def read_json(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return json.load(file)


def write_wav(path, x, rate_hz=16000):
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.clip(np.round(x * 32768), -32768, 32767).astype("<i2").tobytes())


def percent(x):
    return "%.1f %%" % (100 * x)
