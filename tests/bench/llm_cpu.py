#!/usr/bin/env python3
"""Language models on the CPU beside llama.cpp, as JSON lines: tests/bench/llm_cpu.py [-b BUILD] [-t THREADS] [-n ROUNDS] [SHAPE ...]

Random weights in the shapes of SmolLM-135M and Qwen2.5-0.5B, as F16, Q8_0 and Q4_K (Q5_0 where a row is no whole number
of super-blocks, as llama.cpp's own tool does), in one GGUF file that both programs read. Prefill: 512 tokens. Decode:
64 tokens after 128, one at a time. The programs take turns, each in a process of its own with the same number of
threads; the best of all rounds counts. llama.cpp is PyPI's llama-cpp-python, which pip builds for this processor;
where it is not installed, it is told as "not measured". Nothing here fails a build.
"""
import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PREFILL, PROMPT, TOKENS = 512, 128, 64
TYPES = ["F16", "Q8_0", "Q4_K"]


def llama_cpp(path, threads, rounds):
    """Prefill and decode in tokens a second by llama.cpp's own functions; in a process of its own."""
    import llama_cpp as lib

    @lib.llama_log_callback
    def quiet(level, text, data):
        del level, text, data

    lib.llama_log_set(quiet, ctypes.c_void_p(0))
    lib.llama_backend_init()
    model = lib.llama_load_model_from_file(path.encode(), lib.llama_model_default_params())
    settings = lib.llama_context_default_params()
    settings.n_ctx = 1024
    settings.n_batch = settings.n_ubatch = PREFILL
    settings.n_threads = settings.n_threads_batch = threads
    context = lib.llama_new_context_with_model(model, settings)
    n_vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    memory = lib.llama_get_memory(context)

    def decode(tokens):
        batch = lib.llama_batch_get_one((lib.llama_token * len(tokens))(*tokens), len(tokens))
        assert lib.llama_decode(context, batch) == 0
        return lib.llama_get_logits_ith(context, -1)

    prefill = token = 1e9
    for turn in range(rounds):
        tokens = [(i * 7919 + turn * 104729) % n_vocab for i in range(PREFILL)]
        lib.llama_memory_clear(memory, True)
        start = time.perf_counter()
        decode(tokens)
        prefill = min(prefill, (time.perf_counter() - start) / PREFILL)
        lib.llama_memory_clear(memory, True)
        decode(tokens[:PROMPT])
        start = time.perf_counter()
        for i in range(TOKENS - 1):
            decode([tokens[i]])
        token = min(token, (time.perf_counter() - start) / (TOKENS - 1))
    return {"program": "llama.cpp", "prefill_tok_s": round(1 / prefill, 1), "decode_tok_s": round(1 / token, 2)}


def child(command):
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if out.returncode:
        return {"program": command[0], "error": out.stderr.strip().splitlines()[-1:] or out.returncode}
    return json.loads(out.stdout.strip().splitlines()[-1])


def better(best, new):
    if best is None or "error" in new:
        return best or new
    return {k: max(v, new.get(k, v)) if isinstance(v, float) and k != "load_s" else v for k, v in best.items()}


def measure(program, shape, kind, threads, rounds, folder):
    path = os.path.join(folder, f"{shape}-{kind}.gguf")
    if not os.path.exists(path):
        subprocess.run([program, "make", shape, kind, path], check=True)
    ours = theirs = None
    for _ in range(rounds):
        ours = better(ours, child([program, "run", path, str(threads), "2"]))
        theirs = better(theirs, child([sys.executable, os.path.abspath(__file__), "--peer", path, str(threads)]))
    where = {"shape": shape, "type": kind, "threads": threads, "load": round(os.getloadavg()[0], 1)}
    for line in (ours, theirs):
        print(json.dumps({**where, **line}), flush=True)
    if "error" not in ours and "error" not in theirs:
        ratio = {k: round(ours[k] / theirs[k], 2) for k in ("prefill_tok_s", "decode_tok_s")}
        print(json.dumps({**where, "ours / llama.cpp": ratio}), flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-b", "--build", default=os.path.join(SOURCE, "build/release"))
    p.add_argument("-t", "--threads", type=int, default=2)
    p.add_argument("-n", "--rounds", type=int, default=3)
    p.add_argument("--keep", help="folder for the models, kept for the next time")
    p.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    p.add_argument("shapes", nargs="*", default=["135m", "0.5b"])
    args = p.parse_args()
    if args.peer:
        try:
            print(json.dumps(llama_cpp(args.peer[0], int(args.peer[1]), 2)))
        except ImportError:
            print(json.dumps({"program": "llama.cpp", "error": "not measured: no llama_cpp"}))
        return
    subprocess.run(["ninja", "-C", args.build, "bench_llm_cpu"], check=True, stdout=subprocess.DEVNULL)
    program = os.path.join(args.build, "tests/bench_llm_cpu")
    with tempfile.TemporaryDirectory() as folder:
        for shape in args.shapes:
            for kind in TYPES:
                measure(program, shape, kind, args.threads, args.rounds, args.keep or folder)


if __name__ == "__main__":
    main()
