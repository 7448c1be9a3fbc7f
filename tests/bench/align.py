#!/usr/bin/env python3
"""Method ctc of align/words beside WhisperX's alignment: the same random weights in the shape of wav2vec2-base, the
same sound, segments of 10 s one after the other, network and path.

    python3 tests/bench/align.py BUILD [--segments 3] [--threads 2] [--rounds 3]

needs torch, transformers and torchaudio (for its forced_align; without it only the network of the other side is timed,
and said). What WhisperX does for a segment on the CPU is done here with the libraries that it calls: the model of transformers in float32,
log_softmax, and the path; WhisperX's own path is plain Python and slower than torchaudio's. Programs take turns, so that
the load of the machine meets all alike. Prints JSON lines, the last with the ratios of medians.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

try:
    from torchaudio.functional import forced_align
except ImportError:
    forced_align = None

TEXT = ("THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG AND THEN IT GOES HOME TO SLEEP FOR A VERY LONG TIME AS FOXES DO WHEN "
        "NOBODY IS LOOKING AT THEM")
PIECES = ["<pad>", "<s>", "</s>", "<unk>", "|"] + list("ETAONIHSRDLUMWCFGYPBVK'XJQZ")


def peer(model, samples, tokens):
    """Seconds for all segments."""
    start = time.perf_counter()
    with torch.inference_mode():
        for x in samples:
            logp = torch.log_softmax(model(x[None]).logits, -1)
            if forced_align:
                forced_align(logp, tokens, blank=0)
    return time.perf_counter() - start


def ours(program, folder, compute, options):
    done = subprocess.run([program, folder, compute, str(options.threads), str(options.segments), "1"], check=True,
                          stdout=subprocess.PIPE)
    return json.loads(done.stdout)["best_s"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--segments", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network = Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=32)).eval()
    sound = [torch.rand(160000) - 0.5 for _ in range(options.segments)]
    targets = torch.tensor([[PIECES.index("|" if c == " " else c) for c in TEXT]])
    times = {"peer": [], "f32": [], "bf16": []}
    with tempfile.TemporaryDirectory() as model_folder:
        network.save_pretrained(model_folder, safe_serialization=True)
        (pathlib.Path(model_folder) / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(PIECES)}))
        for _ in range(options.rounds):
            times["peer"].append(peer(network, sound, targets))
            for kind in ("f32", "bf16"):
                times[kind].append(ours(options.build / "tests/bench_align", model_folder, kind, options))
    medians = {k: statistics.median(v) for k, v in times.items()}
    for name, seconds in medians.items():
        print(json.dumps({"bench": "align", "program": "transformers" + (" and torchaudio" if forced_align else ", network alone")
                          if name == "peer" else "sluice " + name, "threads": options.threads,
                          "audio_s": 10 * options.segments, "median_s": round(seconds, 3),
                          "times_real_time": round(10 * options.segments / seconds, 1)}))
    print(json.dumps({"bench": "align", "ratio_f32": round(medians["peer"] / medians["f32"], 2),
                      "ratio_bf16": round(medians["peer"] / medians["bf16"], 2)}))
