#!/usr/bin/env python3
"""Language models on the CPU beside llama.cpp, as JSON lines: tests/bench/llm_cpu.py [-b BUILD] [-t THREADS] [-n ROUNDS] [SHAPE ...]

Random weights in the shapes of SmolLM-135M and Qwen2.5-0.5B, as F16, Q8_0 and Q4_K (Q5_0 where a row is no whole number
of super-blocks, as llama.cpp's own tool does), in one GGUF file that both programs read. Prefill: 512 tokens. Decode:
64 tokens after 128, one at a time. The programs take turns, each in a process of its own with the same number of
threads; the best of all rounds counts. llama.cpp is PyPI's llama-cpp-python, which pip builds for this processor;
where it is not installed, it is told as "not measured". Nothing here fails a build.
"""
import argparse
import importlib.util
import json
import os
import subprocess
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOT_MEASURED = {"program": "llama.cpp", "error": "not measured: pip install llama-cpp-python"}
LIMIT_S = 300  # of one round; threads that wait by spinning take long on a busy machine
TYPES = ["F16", "Q8_0", "Q4_K"]


def build_peer(folder):
    """llm_cpu_peer.c against the package's headers and libraries; None where it is not installed."""
    package = importlib.util.find_spec("llama_cpp")
    if package is None:
        return None
    site = os.path.dirname(os.path.dirname(package.origin))
    lib = os.path.join(site, "llama_cpp/lib")
    program = os.path.join(folder, "llm_cpu_peer")
    subprocess.run(["cc", "-O2", "-I" + os.path.join(site, "include"), os.path.join(SOURCE, "tests/bench/llm_cpu_peer.c"),
                    "-L" + lib, "-Wl,-rpath," + lib, "-lllama", "-lggml", "-lggml-base", "-o", program], check=True)
    return program


def child(command):
    try:
        out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"program": os.path.basename(command[0]), "error": f"not done within {LIMIT_S} s"}
    if out.returncode:
        return {"program": command[0], "error": out.stderr.strip().splitlines()[-1:] or out.returncode}
    return json.loads(out.stdout.strip().splitlines()[-1])


def better(best, new):
    if best is None or "error" in new:
        return best or new
    return {k: max(v, new.get(k, v)) if isinstance(v, float) and k != "load_s" else v for k, v in best.items()}


def measure(program, peer, shape, kind, threads, rounds, folder):
    path = os.path.join(folder, f"{shape}-{kind}.gguf")
    if not os.path.exists(path):
        subprocess.run([program, "make", shape, kind, path], check=True)
    ours = theirs = None
    for _ in range(rounds):
        ours = better(ours, child([program, "run", path, str(threads), "2"]))
        theirs = better(theirs, child([peer, path, str(threads), "2"]) if peer else NOT_MEASURED)
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
    p.add_argument("shapes", nargs="*", default=["135m", "0.5b"])
    args = p.parse_args()
    subprocess.run(["ninja", "-C", args.build, "bench_llm_cpu"], check=True, stdout=subprocess.DEVNULL)
    program = os.path.join(args.build, "tests/bench_llm_cpu")
    with tempfile.TemporaryDirectory() as folder:
        peer = build_peer(folder)
        for shape in args.shapes:
            for kind in TYPES:
                measure(program, peer, shape, kind, args.threads, args.rounds, args.keep or folder)


if __name__ == "__main__":
    main()
