#!/usr/bin/env python3
"""The networks of diarization beside pyannote.audio's, with the same random weights of the published sizes.

    ninja -C build/release bench_diarize
    python3 tests/bench/diarize.py [--threads N] [--windows N] [--rounds N]

needs pyannote.audio 3.3.2, torch and numpy. Prints a JSON line for each measurement, largest differences, and ratios of
the least processor times, which other programs disturb less; rounds of both are interleaved. pyannote.audio runs its own models in batches of 32 windows and, as its
pipeline does, the embedding once for each of three speakers of a window. Embeddings are measured on an eighth of the windows.
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile
import time
import wave

import numpy as np
import torch
from pyannote.audio.models.embedding import WeSpeakerResNet34
from pyannote.audio.models.segmentation import PyanNet

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BENCH = os.path.join(ROOT, "build/release/tests/bench_diarize")
sys.path.insert(0, os.path.join(ROOT, "tools/reference"))
from diarize_common import noise


def make(folder):
    """Checkpoints of random weights, converted; torch's models with the same."""
    for script, kind in (("pyannet", "segmentation"), ("resnet34", "embedding")):
        path = os.path.join(folder, kind + ".bin")
        subprocess.run([sys.executable, os.path.join(ROOT, "tools/reference", script + ".py"), path], check=True)
        subprocess.run([sys.executable, os.path.join(ROOT, "tools/convert_diarization"), kind, path,
                        os.path.join(folder, kind)], check=True)
    segmentation = PyanNet(sincnet={"stride": 10}, lstm={"hidden_size": 128, "num_layers": 4, "bidirectional": True,
                                                        "monolithic": True}, linear={"hidden_size": 128, "num_layers": 2})
    segmentation.classifier, segmentation.activation = torch.nn.Linear(128, 7), torch.nn.LogSoftmax(-1)
    embedding = WeSpeakerResNet34()
    for model, kind in ((segmentation, "segmentation"), (embedding, "embedding")):
        state = torch.load(os.path.join(folder, kind + ".bin"), weights_only=True)["state_dict"]
        model.load_state_dict(state, strict=True)
        model.eval()
    return segmentation, embedding


def masks(frames):
    return torch.stack([(torch.arange(frames) * 3 // frames == s).float() for s in range(3)])


def sounds():
    """Windows of recordings, a second apart, where they are there: ../shared/data and the meeting of tests/data."""
    for path in sorted(glob.glob(os.path.join(ROOT, "../shared/data/diarization/*.wav")) + [os.path.join(ROOT, "tests/data/meeting.wav")]):
        with wave.open(path) as file:
            if file.getframerate() == 16000 and file.getnchannels() == 1:
                yield np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


def agreement(folder, segmentation):
    """How often a frame's set of speakers is that of torch in float, over all windows of recordings."""
    equal, differences, margins, counts = {"f32": [], "bf16": []}, {"f32": [], "bf16": []}, [], np.zeros(7)
    for sound in sounds():
        n = (len(sound) - 160000) // 16000 + 1
        windows = torch.from_numpy(np.stack([sound[16000 * i:16000 * i + 160000] for i in range(n)]))
        scores = segmentation(windows[:, None]).numpy()
        best = scores.argmax(-1)
        counts += np.bincount(best.ravel(), minlength=7)
        ordered = np.sort(scores, -1)
        margins.append(np.median(ordered[..., -1] - ordered[..., -2]))
        path, out = os.path.join(folder, "sound"), os.path.join(folder, "out")
        sound.tofile(path)
        for compute in equal:
            subprocess.run([BENCH, os.path.join(folder, "segmentation"), os.path.join(folder, "embedding"), compute, "2", str(n), out, path],
                           check=True)
            found = np.fromfile(out, np.float32)[:scores.size].reshape(scores.shape)
            found = found - np.log(np.exp(found).sum(-1, keepdims=True))
            equal[compute].append((found.argmax(-1) == best).mean())
            differences[compute].append(np.abs(found - scores).max())
    for compute in equal:
        print(json.dumps({"what": "sets of speakers as torch in float", "recordings": len(margins), "compute": compute,
                          "frames_equal": float(np.mean(equal[compute])), "least": float(min(equal[compute])),
                          "largest_difference": float(max(differences[compute])), "median_margin": float(np.median(margins)),
                          "classes": (counts / counts.sum()).round(3).tolist()}), flush=True)


def compare(folder, segmentation, embedding):
    x = torch.from_numpy(noise(160000, 1))
    scores = segmentation(x[None, None])[0].numpy()
    rows = embedding(x[None, None].repeat(3, 1, 1), weights=masks(len(scores))).numpy()
    for compute in ("f32", "bf16"):
        out = os.path.join(folder, "out")
        subprocess.run([BENCH, os.path.join(folder, "segmentation"), os.path.join(folder, "embedding"), compute, "2", "1", out],
                       check=True)
        ours = np.fromfile(out, np.float32)
        found, ours_rows = ours[:scores.size].reshape(scores.shape), ours[scores.size:].reshape(rows.shape)
        found = found - np.log(np.exp(found).sum(-1, keepdims=True))
        cosines = (rows * ours_rows).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(ours_rows, axis=1)
        print(json.dumps({"what": "difference", "compute": compute, "scores": float(np.abs(found - scores).max()),
                          "classes_equal": float((found.argmax(1) == scores.argmax(1)).mean()),
                          "embeddings": float(np.abs(ours_rows - rows).max() / np.abs(rows).max()),
                          "least_cosine": float(cosines.min())}), flush=True)


def timed(run, n):
    """Seconds of wall and of processor time."""
    run()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(n):
        run()
    return (time.perf_counter() - wall) / n, (time.process_time() - cpu) / n


def measure_torch(segmentation, embedding, windows, threads):
    x = torch.from_numpy(noise(160000, 1))[None, None]
    batch = min(32, windows) # its pipeline's
    times = {"segmentation": [s / batch for s in timed(lambda: segmentation(x.repeat(batch, 1, 1)), max(1, windows // 32))]}
    rows, weights = x.repeat(3, 1, 1), masks(589)
    times["embedding"] = timed(lambda: embedding(rows, weights=weights), max(1, windows // 8))
    for what, (wall, cpu) in times.items():
        print(json.dumps({"what": what, "engine": "pyannote.audio", "compute": "f32", "threads": threads, "windows": windows,
                          "windows_s": 10, "ms_per_window": round(1000 * wall, 3),
                          "cpu_ms_per_window": round(1000 * cpu, 3)}), flush=True)
    return {what: 1000 * cpu for what, (_, cpu) in times.items()}


def measure_ours(folder, compute, windows, threads):
    done = subprocess.run([BENCH, os.path.join(folder, "segmentation"), os.path.join(folder, "embedding"), compute,
                           str(threads), str(windows)], check=True, stdout=subprocess.PIPE, universal_newlines=True)
    print(done.stdout, end="", flush=True)
    return {line["what"]: line["cpu_ms_per_window"] for line in map(json.loads, done.stdout.splitlines())}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--windows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--speed", action="store_true", help="no comparison of results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        segmentation, embedding = make(folder)
        if not options.speed:
            compare(folder, segmentation, embedding)
        if not options.speed:
            agreement(folder, segmentation)
        best = {}
        for _ in range(options.rounds):
            runs = [("pyannote.audio", measure_torch(segmentation, embedding, options.windows, options.threads))]
            runs += [(compute, measure_ours(folder, compute, options.windows, options.threads)) for compute in ("f32", "bf16")]
            for name, times in runs:
                for what, ms in times.items():
                    best[name, what] = min(ms, best.get((name, what), ms))
        for compute in ("f32", "bf16"):
            ratios = {what: round(best["pyannote.audio", what] / best[compute, what], 2) for what in ("segmentation", "embedding")}
            both = sum(best["pyannote.audio", w] for w in ratios) / sum(best[compute, w] for w in ratios)
            print(json.dumps({"what": "processor time, pyannote.audio / sluice", "compute": compute, "threads": options.threads, **ratios,
                              "both": round(both, 2)}))


main()
