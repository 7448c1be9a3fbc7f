#!/usr/bin/env python3
"""Writes vad_expected.json: what the tests of audio/vad compare with.

    python3 tests/unit/audio/vad_expected.py SILERO_MODELS JFK_WAV

SILERO_MODELS is the folder with silero_vad_16k_op15.onnx, silero_vad_16k.safetensors and
for-tests-silero-v6.2.0-ggml.bin. The network is run by onnxruntime, its weights replaced by those of the
file under test; regions come from get_speech_timestamps_from_probs() of the package silero-vad, whose code
is run without the rest of the package. Needs numpy, onnx, onnxruntime, silero-vad 6.2 (pip download is
enough: put the wheel's folder on PYTHONPATH).
"""
import ast
import importlib.util
import json
import os
import random
import struct
import sys
import typing
import wave

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(os.path.dirname(HERE))
CLIPS = ["meeting", "command", "noise-only"]
GGML_HEADER = 106  # bytes


def read_wav(path):
    with wave.open(path) as w:
        return np.frombuffer(w.readframes(w.getnframes()), np.int16).astype(np.float32) / 32768


# ---- weights ----

def ggml_weights(path):
    data, at, ret = open(path, "rb").read(), GGML_HEADER, {}
    while at < len(data):
        n_dims, name_len, kind = struct.unpack_from("<3i", data, at)
        dims = struct.unpack_from(f"<{n_dims}i", data, at + 12)
        at += 12 + 4 * n_dims
        name = data[at:at + name_len].decode()
        values = np.frombuffer(data, [np.float32, np.float16][kind], int(np.prod(dims)), at + name_len)
        ret[name.lstrip("_")] = values.astype(np.float32)
        at += name_len + values.nbytes
    return ret


def safetensors_weights(path):
    data = open(path, "rb").read()
    start = 8 + struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:start])
    get = lambda name: np.frombuffer(data[start + header[name]["data_offsets"][0]:
                                          start + header[name]["data_offsets"][1]], np.float32)
    ret = {"model.stft.forward_basis_buffer": get("stft_conv.weight")}
    for part in ("weight", "bias"):
        for i in range(4):
            ret[f"model.encoder.{i}.reparam_conv.{part}"] = get(f"conv{i + 1}.{part}")
        for gate in ("ih", "hh"):
            ret[f"model.decoder.rnn.{part}_{gate}"] = get(f"lstm_cell.{part}_{gate}")
        ret[f"model.decoder.decoder.2.{part}"] = get(f"final_conv.{part}")
    return ret


# ---- network ----

def session(path, weights):
    model = onnx.load(path)
    for t in model.graph.initializer:
        t.CopyFrom(numpy_helper.from_array(weights[t.name].reshape(tuple(t.dims)), t.name))
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def probabilities(net, x):
    x = np.concatenate([x, np.zeros(-len(x) % 512, np.float32)])
    state, context, ret = np.zeros((2, 1, 128), np.float32), np.zeros((1, 64), np.float32), []
    for frame in x.reshape(-1, 1, 512):
        window = np.concatenate([context, frame], 1)
        p, state = net.run(None, {"input": window, "state": state, "sr": np.array(16000, np.int64)})
        ret.append(float(p[0, 0]))
        context = window[:, -64:]
    return ret


# ---- regions ----

def load_rules():
    package = importlib.util.find_spec("silero_vad").submodule_search_locations[0]
    tree = ast.parse(open(os.path.join(package, "utils_vad.py")).read())
    tree.body = [f for f in tree.body if getattr(f, "name", "") == "get_speech_timestamps_from_probs"]
    names = {"List": typing.List}
    exec(compile(tree, "utils_vad.py", "exec"), names)
    return names["get_speech_timestamps_from_probs"]


def random_case(rules, rng):
    """Probabilities in hundredths, parameters, and the regions."""
    probs, level = [], 0.1
    for _ in range(rng.randint(1, 90)):
        if rng.random() > 0.8:
            level = rng.choice([0.02, 0.3, 0.4, 0.5, 0.6, 0.98, rng.random()])
        probs.append(min(100, max(0, round(100 * (level + rng.gauss(0, 0.03))))))
    case = {"threshold": rng.choice([0.5, 0.5, 0.3, 0.01]), "neg_threshold": rng.choice([None, 0.2, 0.005]),
            "min_speech_duration_ms": rng.choice([0, 64, 250]),
            "min_silence_duration_ms": rng.choice([0, 33, 100, 500]), "speech_pad_ms": rng.choice([0, 15, 30, 200]),
            "max_speech_duration_s": rng.choice([None, 0.7, 1.5]), "n_samples": 512 * len(probs) - rng.randint(0, 511)}
    given = {k: v for k, v in case.items() if v is not None and k != "n_samples"}
    found = rules([float(np.float32(p / 100)) for p in probs], audio_length_samples=case["n_samples"], **given)
    return dict(case, percent=probs, regions=[[int(r["start"]), int(r["end"])] for r in found])


def main():
    models, jfk = sys.argv[1:3]
    rules = load_rules()
    onnx_path = os.path.join(models, "silero_vad_16k_op15.onnx")
    nets = {"ggml": session(onnx_path, ggml_weights(os.path.join(models, "for-tests-silero-v6.2.0-ggml.bin"))),
            "safetensors": session(onnx_path, safetensors_weights(os.path.join(models, "silero_vad_16k.safetensors")))}
    clips = {c: {n: [round(p, 6) for p in probabilities(net, read_wav(os.path.join(TESTS, "data", c + ".wav")))]
                 for n, net in nets.items()} for c in CLIPS}
    x = read_wav(jfk)
    p = probabilities(nets["ggml"], x)
    found = rules(p, audio_length_samples=len(x))
    spoken = {"n": len(p), "mean": round(sum(p) / len(p), 6), "every_40th": [round(v, 6) for v in p[::40]],
              "regions": [[int(r["start"]), int(r["end"])] for r in found]}
    rng = random.Random(1)
    cases = [random_case(rules, rng) for _ in range(40)]
    with open(os.path.join(HERE, "vad_expected.json"), "w") as f:
        f.write("{\n\"clips\": {\n")
        f.write(",\n".join(f"  \"{c}\": {json.dumps(v)}" for c, v in clips.items()))
        f.write(f"\n}},\n\"jfk\": {json.dumps(spoken)},\n\"cases\": [\n  ")
        f.write(",\n  ".join(json.dumps(c) for c in cases) + "\n]\n}\n")


if __name__ == "__main__":
    main()
