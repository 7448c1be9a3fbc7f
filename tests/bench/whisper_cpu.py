#!/usr/bin/env python3
"""Whisper on the CPU beside its peers, as JSON lines: tests/bench/whisper_cpu.py [-b BUILD] [-t THREADS] [-n ROUNDS] [SHAPE ...]

One set of random weights in the shape of each published model (tiny, base, small) is written for every program: ours
(safetensors), faster-whisper (its package's converter classes) and whisper.cpp (its file format, F16 and Q8_0). Each
program runs alone in a process of its own, with the same number of threads, a window of 30 s and a fixed number of
tokens: 60 behind a prompt of 4, the end of text forbidden. The peers are their packages from PyPI (faster-whisper,
pywhispercpp, numpy); what is not installed is told as "not measured". `--busy` adds a process that does nothing but
count, and `--keep FOLDER` keeps the weights for the next time. Nothing here fails a build.
"""
import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHAPES = {"tiny": (384, 4, 6), "base": (512, 6, 8), "small": (768, 12, 12)}
VOCAB, FRAMES, POSITIONS, MELS = 51865, 1500, 448, 80
PROMPT = [50258, 50259, 50359, 50363]
END = 50257
TOKENS = 60


# ---- Weights -----------------------------------------------------------------------------------


def attention(prefix, n):
    for part in "qkvo":
        name = prefix + ("out_proj" if part == "o" else part + "_proj")
        yield name + ".weight", (n, n)
        if part != "k":
            yield name + ".bias", (n,)


def layer(prefix, n, cross):
    names = ["self_attn"] + (["encoder_attn"] if cross else [])
    for name in names:
        yield from attention(f"{prefix}{name}.", n)
    for name in [name + "_layer_norm" for name in names] + ["final_layer_norm"]:
        yield f"{prefix}{name}.weight", (n,)
        yield f"{prefix}{name}.bias", (n,)
    yield prefix + "fc1.weight", (4 * n, n)
    yield prefix + "fc1.bias", (4 * n,)
    yield prefix + "fc2.weight", (n, 4 * n)
    yield prefix + "fc2.bias", (n,)


def tensors(shape):
    """Hugging Face's names with their shapes."""
    n, layers, _ = SHAPES[shape]
    yield "encoder.conv1.weight", (n, MELS, 3)
    yield "encoder.conv1.bias", (n,)
    yield "encoder.conv2.weight", (n, n, 3)
    yield "encoder.conv2.bias", (n,)
    yield "encoder.embed_positions.weight", (FRAMES, n)
    yield "decoder.embed_tokens.weight", (VOCAB, n)
    yield "decoder.embed_positions.weight", (POSITIONS, n)
    for tower in ("encoder", "decoder"):
        for i in range(layers):
            yield from layer(f"{tower}.layers.{i}.", n, tower == "decoder")
        yield f"{tower}.layer_norm.weight", (n,)
        yield f"{tower}.layer_norm.bias", (n,)


def make(shape):
    import numpy

    random = numpy.random.default_rng(7)
    for name, size in tensors(shape):
        if len(size) == 1:
            value = numpy.full(size, 1.0 if "norm.weight" in name else 0.0)
        else:
            value = random.standard_normal(size, dtype=numpy.float32) * (0.5 / size[1] ** 0.5)
        yield name, value.astype(numpy.float16 if len(size) > 1 else numpy.float32)


def write_safetensors(shape, folder):
    os.makedirs(folder, exist_ok=True)
    header, at, values = {}, 0, []
    for name, value in make(shape):
        dtype = "F16" if value.dtype.itemsize == 2 else "F32"
        header["model." + name] = {"dtype": dtype, "shape": value.shape, "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
        values.append(value)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder + "/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for value in values:
            f.write(value.tobytes())


def ggml_name(name):
    for a, b in (
        ("encoder.embed_positions.weight", "encoder.positional_embedding"),
        ("decoder.embed_positions.weight", "decoder.positional_embedding"),
        ("embed_tokens", "token_embedding"),
        ("layers.", "blocks."),
        ("self_attn_layer_norm", "attn_ln"),
        ("encoder_attn_layer_norm", "cross_attn_ln"),
        ("final_layer_norm", "mlp_ln"),
        ("self_attn.", "attn."),
        ("encoder_attn.", "cross_attn."),
        ("q_proj", "query"),
        ("k_proj", "key"),
        ("v_proj", "value"),
        ("out_proj", "out"),
        ("fc1", "mlp.0"),
        ("fc2", "mlp.2"),
        ("encoder.layer_norm", "encoder.ln_post"),
        ("decoder.layer_norm", "decoder.ln"),
    ):
        name = name.replace(a, b)
    return name


def q8_0(value):
    import numpy

    blocks = value.astype(numpy.float32).reshape(-1, 32)
    scale = (numpy.abs(blocks).max(1) / 127).astype(numpy.float16)
    q = numpy.rint(blocks / numpy.maximum(scale.astype(numpy.float32), 1e-12)[:, None]).astype(numpy.int8)
    return numpy.concatenate([scale.view(numpy.uint8).reshape(-1, 2), q.view(numpy.uint8)], 1).tobytes()


def write_ggml(shape, path, quantised):
    import numpy

    n, layers, heads = SHAPES[shape]
    with open(path, "wb") as f:
        file_type = 2007 if quantised else 1
        f.write(struct.pack("<12i", 0x67676D6C, VOCAB, FRAMES, n, heads, layers, POSITIONS, n, heads, layers, MELS, file_type))
        f.write(struct.pack("<2i", MELS, 201) + numpy.full(MELS * 201, 0.01, numpy.float32).tobytes())
        f.write(struct.pack("<i", END))
        for i in range(END):
            word = b"%d " % i
            f.write(struct.pack("<i", len(word)) + word)
        for name, value in make(shape):
            blocks = quantised and value.ndim == 2 and "positions" not in name
            if "positions" in name:
                value = value.astype(numpy.float32)
            if name.endswith(("conv1.bias", "conv2.bias")):
                value = value.reshape(-1, 1)
            kind = 8 if blocks else 1 if value.dtype.itemsize == 2 else 0
            text = ggml_name(name).encode()
            f.write(struct.pack("<3i", value.ndim, len(text), kind))
            f.write(struct.pack(f"<{value.ndim}i", *reversed(value.shape)) + text)
            f.write(q8_0(value) if blocks else value.tobytes())


def write_ctranslate2(shape, folder):
    import numpy
    from ctranslate2.specs import WhisperSpec

    n, layers, heads = SHAPES[shape]
    values = {name: value.astype(numpy.float32) for name, value in make(shape)}
    spec = WhisperSpec(layers, heads, layers, heads)

    def linear(to, *names):
        to.weight = numpy.concatenate([values[name + ".weight"] for name in names])
        to.bias = numpy.concatenate([values.get(name + ".bias", numpy.zeros(n, numpy.float32)) for name in names])

    def norm(to, name):
        to.gamma, to.beta = values[name + ".weight"], values[name + ".bias"]

    def tower(to, name):
        to.position_encodings.encodings = values[name + ".embed_positions.weight"]
        norm(to.layer_norm, name + ".layer_norm")
        for i, block in enumerate(to.layer):
            at = f"{name}.layers.{i}."
            own = at + "self_attn."
            linear(block.self_attention.linear[0], own + "q_proj", own + "k_proj", own + "v_proj")
            linear(block.self_attention.linear[1], own + "out_proj")
            norm(block.self_attention.layer_norm, at + "self_attn_layer_norm")
            if name == "decoder":
                cross = at + "encoder_attn."
                linear(block.attention.linear[0], cross + "q_proj")
                linear(block.attention.linear[1], cross + "k_proj", cross + "v_proj")
                linear(block.attention.linear[2], cross + "out_proj")
                norm(block.attention.layer_norm, at + "encoder_attn_layer_norm")
            norm(block.ffn.layer_norm, at + "final_layer_norm")
            linear(block.ffn.linear_0, at + "fc1")
            linear(block.ffn.linear_1, at + "fc2")

    for conv in ("conv1", "conv2"):
        getattr(spec.encoder, conv).weight = values[f"encoder.{conv}.weight"]
        getattr(spec.encoder, conv).bias = values[f"encoder.{conv}.bias"]
    tower(spec.encoder, "encoder")
    tower(spec.decoder, "decoder")
    spec.decoder.scale_embeddings = False
    spec.decoder.embeddings.weight = values["decoder.embed_tokens.weight"]
    spec.decoder.projection.weight = values["decoder.embed_tokens.weight"]
    names = ["t%d" % i for i in range(VOCAB)]
    for i, name in ((END, "<|endoftext|>"), (50258, "<|startoftranscript|>"), (50362, "<|nospeech|>"), (50363, "<|notimestamps|>")):
        names[i] = name
    spec.register_vocabulary(names)
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.config.lang_ids, spec.config.alignment_heads = list(range(50259, 50358)), [[0, 0]]
    spec.validate()
    spec.optimize()
    os.makedirs(folder, exist_ok=True)
    spec.save(folder)


# ---- Programs ----------------------------------------------------------------------------------


def best(rounds, run):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return min(times), statistics.median(times)


def peak_mb():
    """Of this program alone: ru_maxrss would also count what the parent held when it forked."""
    with open("/proc/self/status", encoding="ascii") as status:
        return round(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1.024e-3)


def say(program, shape, compute, encode, step, window):
    print(json.dumps({"program": program, "shape": shape, "compute": compute, "encode_ms": round(encode[0], 2),
                      "step1_ms": round(step, 3), "window60_ms": round(window[0], 2),
                      "window60_median_ms": round(window[1], 2), "peak_mb": peak_mb()}), flush=True)


def run_faster_whisper(shape, compute, folder, threads, rounds):
    import ctranslate2
    import numpy

    model = ctranslate2.models.Whisper(folder, device="cpu", compute_type={"f32": "float32", "int8": "int8_float32"}[compute],
                                       intra_threads=threads, inter_threads=1)
    mel = ctranslate2.StorageView.from_array(numpy.zeros((1, MELS, 2 * FRAMES), numpy.float32))

    def generate(of, n):
        out = model.generate(of, [PROMPT], beam_size=1, max_length=2 * n, suppress_tokens=[END], suppress_blank=False)
        assert len(out[0].sequences_ids[0]) == n, len(out[0].sequences_ids[0])

    encoded = model.encode(mel)
    generate(encoded, 10)
    encode = best(rounds, lambda: model.encode(mel))
    few, many = best(rounds, lambda: generate(encoded, 10)), best(rounds, lambda: generate(encoded, TOKENS))
    say("faster-whisper", shape, compute, encode, (many[0] - few[0]) / (TOKENS - 10), best(rounds, lambda: generate(mel, TOKENS)))


def run_whisper_cpp(shape, compute, path, threads, rounds):
    import _pywhispercpp as cpp
    import numpy

    context = cpp.whisper_init_from_file_with_params(path, cpp.whisper_context_default_params())
    pcm = (numpy.sin(numpy.arange(480000) / 9) / 4).astype(numpy.float32)
    assert cpp.whisper_pcm_to_mel(context, pcm, len(pcm), threads) == 0

    def encode():
        assert cpp.whisper_encode(context, 0, threads) == 0

    def decode(past):
        assert cpp.whisper_decode(context, 100, 1, past, threads) == 0  # the package passes one token

    def window():
        encode()
        for i in range(TOKENS):
            decode(i)

    window()
    encoded = best(rounds, encode)
    step = best(8 * rounds, lambda: decode(30))
    say("whisper.cpp", shape, compute, encoded, step[0], best(rounds, window))


def run_ours(shape, compute, folder, threads, rounds, build):
    text = subprocess.run([build + "/tests/bench_whisper_cpu", shape, compute, str(threads), str(rounds), folder],
                          check=True, capture_output=True, text=True).stdout
    print(json.dumps({"program": "ours", **json.loads(text)}), flush=True)


RUNS = (("ours", "f32", "ours"), ("ours", "bf16", "ours"), ("ours", "int8", "ours"),
        ("faster-whisper", "f32", "ctranslate2"), ("faster-whisper", "int8", "ctranslate2"),
        ("whisper.cpp", "f16", "f16.bin"), ("whisper.cpp", "q8_0", "q8_0.bin"))


def write(kind, shape, path):
    if os.path.exists(path):
        return
    if kind == "ours":
        write_safetensors(shape, path)
    elif kind == "ctranslate2":
        write_ctranslate2(shape, path)
    else:
        write_ggml(shape, path, kind.startswith("q8_0"))


def run_one(program, shape, compute, path, args):
    if program == "ours":
        run_ours(shape, compute, path, args.threads, args.rounds, args.build)
    elif program == "faster-whisper":
        run_faster_whisper(shape, compute, path, args.threads, args.rounds)
    else:
        run_whisper_cpp(shape, compute, path, args.threads, args.rounds)


def start(program, shape, compute, kind, folder, argv):
    """Runs one program in a process of its own; what it says is a line of JSON, the last."""
    path = f"{folder}/{shape}-{kind}"
    try:
        write(kind, shape, path)
        out = subprocess.run([sys.executable, os.path.abspath(__file__), *argv, "--one", program, compute, path, shape],
                             check=True, capture_output=True, text=True).stdout
        print(out.strip().splitlines()[-1], flush=True)
        return json.loads(out.strip().splitlines()[-1])
    except (ImportError, subprocess.CalledProcessError) as error:
        why = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        print(json.dumps({"program": program, "shape": shape, "compute": compute, "not measured": why}), flush=True)


def ratios(shape, found):
    for ours, theirs in (("bf16", ("whisper.cpp", "f16")), ("int8", ("whisper.cpp", "q8_0")), ("f32", ("faster-whisper", "f32")),
                         ("int8", ("faster-whisper", "int8"))):
        a, b = found.get(("ours", ours)), found.get(theirs)
        if a and b:
            print(json.dumps({"ratio": f"{shape}: {' '.join(theirs)} / ours {ours}",
                              **{key: round(b[key + "_ms"] / a[key + "_ms"], 2) for key in ("encode", "step1", "window60")}}),
                  flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-b", "--build", default=SOURCE + "/build/release")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-n", "--rounds", type=int, default=10)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--keep")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("shapes", nargs="*", default=["tiny", "base", "small"])
    args = parser.parse_args()
    if args.one:
        run_one(args.one[0], args.shapes[0], args.one[1], args.one[2], args)
        return
    argv = ["-b", args.build, "-t", str(args.threads), "-n", str(args.rounds)]
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if args.busy else None
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        try:
            for shape in args.shapes:
                found = {}
                for program, compute, kind in RUNS:
                    found[program, compute] = start(program, shape, compute, kind, args.keep or folder, argv)
                ratios(shape, found)
        finally:
            if busy:
                busy.kill()
            print(json.dumps({"load": os.getloadavg()[0]}), flush=True)


if __name__ == "__main__":
    main()
