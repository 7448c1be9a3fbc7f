#!/usr/bin/env python3
"""Writes tests/data/expected/llm.json: what random language models say, by transformers in float32.

    venv/bin/pip install torch transformers numpy gguf
    venv/bin/python tools/reference/llm.py

A model's weights are functions of its tensors' names (tests/unit/llm/make_model.h makes the same ones),
so that no weight file is stored. For each case: the configuration, the tensors with their types, a prompt,
the tokens that follow greedily, the logits of the first, and how far apart the best two always were.
"""
import json
import math
import os

import gguf
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
N_NEW = 24
VOCAB = 128

# Bits of the binary16 scales: d, and minimum (None: none); see blocks().
SCALES = {
    "Q8_0": (0x1400, None), "Q4_0": (0x2400, None), "Q4_1": (0x2000, 0xAC00), "Q5_0": (0x2000, None),
    "Q5_1": (0x1C00, 0xAC00), "Q4_K": (0x0800, 0x1400), "Q5_K": (0x0400, 0x1400), "Q6_K": (0x0400, None),
}


def seed_of(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def random_words(name, n):
    """n numbers of 64 bits: splitmix64 of the name's hash."""
    x = (np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) + np.uint64(seed_of(name))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(name, n):
    """Of [-1, 1), exact in float: 24 bits."""
    return ((random_words(name, n) >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1).astype(np.float32)


def floats(name, kind, rows, cols):
    u = uniform(name, rows * cols)
    if kind == "norm":
        return np.float32(1) + u * np.float32(0.25)
    if kind == "bias":
        return u * np.float32(0.25)
    return (u * np.float32(2.0 ** -round(np.log2(cols) / 2 - 0.5))).reshape(rows, cols)


def blocks(name, rows, cols, type_name):
    """Random bytes with scales that keep numbers near a quarter and below."""
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type_name]]
    d_at = size - 2 if type_name == "Q6_K" else 0
    n = rows * cols // elements
    words = random_words(name, n * (size + 4)).reshape(n, size + 4)
    raw = (words[:, :size] >> np.uint64(56)).astype(np.uint8)
    d, m = SCALES[type_name]
    bits = (np.uint64(d) + (words[:, size] >> np.uint64(32)) % np.uint64(0x300)).astype("<u2")
    raw[:, d_at:d_at + 2] = bits.view(np.uint8).reshape(n, 2)
    if m is not None:
        bits = (np.uint64(m) + (words[:, size + 1] >> np.uint64(32)) % np.uint64(0x300)).astype("<u2")
        raw[:, d_at + 2:d_at + 4] = bits.view(np.uint8).reshape(n, 2)
    return raw


def weights(tensor):
    name, rows, cols, kind, type_name = tensor["name"], tensor["rows"], tensor["cols"], tensor["kind"], tensor["type"]
    if type_name in SCALES:
        raw = blocks(name, rows, cols, type_name).reshape(rows, -1)
        return gguf.dequantize(raw, gguf.GGMLQuantizationType[type_name]).reshape(rows, cols)
    x = floats(name, kind, rows, cols)
    if type_name == "F16":
        x = x.astype(np.float16).astype(np.float32)
    if type_name == "BF16":
        x = torch.tensor(x).to(torch.bfloat16).to(torch.float32).numpy()
    return x.reshape(rows, cols) if kind == "matrix" else x.reshape(-1)


def tensors_of(config, type_name):
    """Every tensor of the model: name, sizes, kind and type."""
    d = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    D, F = config["hidden_size"], config["intermediate_size"]
    q, kv = config["num_attention_heads"] * d, config["num_key_value_heads"] * d
    family = config["model_type"]
    bias = config.get("attention_bias", False)
    out = []

    def add(name, rows, cols, kind="matrix"):
        out.append({"name": name, "rows": rows, "cols": cols, "kind": kind,
                    "type": type_name if kind == "matrix" else "F32"})

    def linear(name, rows, cols, has_bias):
        add(name + ".weight", rows, cols)
        if has_bias:
            add(name + ".bias", 1, rows, "bias")

    add("model.embed_tokens.weight", VOCAB, D)
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        add(p + "input_layernorm.weight", 1, D, "norm")
        add(p + "post_attention_layernorm.weight", 1, D, "norm")
        linear(p + "self_attn.q_proj", q, D, bias or family == "qwen2")
        linear(p + "self_attn.k_proj", kv, D, bias or family == "qwen2")
        linear(p + "self_attn.v_proj", kv, D, bias or family == "qwen2")
        linear(p + "self_attn.o_proj", D, q, bias)
        if family == "qwen3":
            add(p + "self_attn.q_norm.weight", 1, d, "norm")
            add(p + "self_attn.k_norm.weight", 1, d, "norm")
        mlp = config.get("mlp_bias", False)
        linear(p + "mlp.gate_proj", F, D, mlp)
        linear(p + "mlp.up_proj", F, D, mlp)
        linear(p + "mlp.down_proj", D, F, mlp)
    add("model.norm.weight", 1, D, "norm")
    if not config["tie_word_embeddings"]:
        add("lm_head.weight", VOCAB, D)
    return out


def base(family, **more):
    config = {"model_type": family, "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96,
              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
              "rms_norm_eps": 1e-5, "max_position_embeddings": 256, "rope_theta": 10000.0,
              "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2}
    config.update(more)
    return config


def wide(family, **more):
    return base(family, hidden_size=256, intermediate_size=256, **more)


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}


def cases():
    yield "llama2", "hf", "F32", base("llama", num_key_value_heads=4)
    yield "smollm", "hf", "BF16", base("llama", num_attention_heads=3, num_key_value_heads=1, hidden_size=48,
                                       tie_word_embeddings=True)
    yield "llama-f16-biases", "hf", "F16", base("llama", attention_bias=True, mlp_bias=True)
    yield "llama-linear", "hf", "F32", base("llama", rope_scaling={"type": "linear", "factor": 4.0})
    yield "llama-dynamic", "hf", "F32", base("llama", rope_scaling={"type": "dynamic", "factor": 4.0})
    yield "llama3", "hf", "BF16", base("llama", rope_theta=500000.0, rope_scaling=LLAMA3)
    yield "llama-yarn", "hf", "F32", base("llama", rope_scaling=YARN)
    yield "mistral-window", "hf", "F32", base("mistral", sliding_window=8, head_dim=16)
    yield "qwen2", "hf", "BF16", base("qwen2", tie_word_embeddings=True)
    yield "qwen2-windows", "hf", "F32", base("qwen2", use_sliding_window=True, sliding_window=8,
                                             max_window_layers=1, num_hidden_layers=3)
    yield "qwen3", "hf", "BF16", base("qwen3", head_dim=32)
    yield "llama-long", "hf", "F32", base("llama", max_position_embeddings=1024)
    yield "mistral-long-window", "hf", "F32", base("mistral", max_position_embeddings=1024, sliding_window=300)
    for name in ["F32", "F16", "BF16"] + list(SCALES):
        yield "llama-" + name, "gguf", name, wide("llama")
    yield "llama3-gguf", "gguf", "F32", base("llama", rope_theta=500000.0, rope_scaling=LLAMA3,
                                             tie_word_embeddings=True)
    yield "qwen2-Q8_0", "gguf", "Q8_0", base("qwen2", rope_scaling=YARN)
    yield "qwen3-Q4_K", "gguf", "Q4_K", wide("qwen3", head_dim=32, num_attention_heads=8)


def rope_factors(config):
    """What llama3's rule divides each frequency by, as GGUF files hold it (rope_freqs)."""
    s, d = config["rope_scaling"], config["hidden_size"] // config["num_attention_heads"]
    out = []
    for i in range(d // 2):
        wave = 2 * math.pi * config["rope_theta"] ** (2 * i / d)
        context, low, high = s["original_max_position_embeddings"], s["low_freq_factor"], s["high_freq_factor"]
        if wave < context / high:
            out.append(1.0)
        elif wave > context / low:
            out.append(s["factor"])
        else:
            smooth = (context / wave - low) / (high - low)
            out.append(1 / ((1 - smooth) / s["factor"] + smooth))
    return out


def run(config, state, prompt):
    settings = dict(config)
    family = settings.pop("model_type")
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **settings), attn_implementation="eager",
                                             torch_dtype=torch.float32)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    model.eval()
    tokens, first, margin = list(prompt), None, 1e9
    with torch.no_grad():
        for _ in range(N_NEW):
            logits = model(torch.tensor([tokens]), use_cache=False).logits[0, -1]
            best = torch.topk(logits, 2).values
            margin = min(margin, float(best[0] - best[1]))
            first = logits if first is None else first
            tokens.append(int(logits.argmax()))
    return tokens[len(prompt):], [round(float(x), 5) for x in first], margin


def main():
    torch.manual_seed(0)
    out = []
    for name, file_format, type_name, config in cases():
        tensors = tensors_of(config, type_name)
        state = {t["name"]: torch.tensor(weights(t)) for t in tensors}
        best = None
        for attempt in range(12):
            n_prompt = 600 if "-long" in name else 40
            prompt = [int(x) for x in random_words(f"{name}.{attempt}", n_prompt) % np.uint64(VOCAB)]
            tokens, logits, margin = run(config, state, prompt)
            varied = len(set(tokens)) >= 6
            if best is None or (varied, margin) > (best[4], best[3]):
                best = (prompt, tokens, logits, margin, varied)
            if varied and margin > 0.01:
                break
        prompt, tokens, logits, margin, _ = best
        print(f"{name:18} {file_format:4} {type_name:4} margin {margin:.4f} {len(set(tokens))} different tokens")
        out.append({"name": name, "format": file_format, "type": type_name, "config": config, "prompt": prompt,
                    "tokens": tokens, "logits": logits, "margin": round(margin, 5)})
        if name == "llama3-gguf":
            out[-1]["rope_factors"] = rope_factors(config)
    path = os.path.join(HERE, "../../tests/data/expected/llm.json")
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(case) for case in out) + "\n]\n")


if __name__ == "__main__":
    main()
