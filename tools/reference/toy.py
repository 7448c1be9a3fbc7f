"""The toy model: random weights that depend on nothing but a seed, and its small vocabulary.

Both this file and tests/unit/whisper/toy.h make the same weights, so no weight file is stored. Values are
Philox4x32-10 (Salmon et al. 2011): element i of tensor number t is word i % 4 of the block with counter
(i / 4, t, 0, 0) and key SEED, as a uniform number of the tensor's standard deviation.

The text tokens are the 256 bytes in GPT-2's order and 256 pairs of letters; special tokens follow as in Whisper, with
four languages and the 1501 timestamps of 30 s.
"""
import json
import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
SYNTH = ROOT / "plugins/whisper/models/whisper-synth"
SEED = 2026
D, F, M, T, C, LAYERS, HEADS = 64, 256, 80, 1500, 448, 2, 2
EOT, N_TIMESTAMPS = 512, 1501
LANGUAGES = ["en", "zh", "de", "es"]
SPECIALS = (["<|endoftext|>", "<|startoftranscript|>"] + [f"<|{code}|>" for code in LANGUAGES] +
            ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>",
             "<|notimestamps|>"])
TIMESTAMP_BEGIN = EOT + len(SPECIALS)
V = TIMESTAMP_BEGIN + N_TIMESTAMPS
NO_SPEECH = EOT + SPECIALS.index("<|nospeech|>")


def philox(counter, key):
    """counter: (n, 4) uint32; the (n, 4) words of their blocks."""
    x = counter.astype(np.uint64)
    k0, k1 = np.uint64(key & 0xffffffff), np.uint64(key >> 32)
    mask = np.uint64(0xffffffff)
    for _ in range(10):
        a, b = x[:, 0] * np.uint64(0xd2511f53), x[:, 2] * np.uint64(0xcd9e8d57)
        x = np.stack([(b >> np.uint64(32)) ^ x[:, 1] ^ k0, b & mask,
                      (a >> np.uint64(32)) ^ x[:, 3] ^ k1, a & mask], axis=1)
        k0, k1 = (k0 + np.uint64(0x9e3779b9)) & mask, (k1 + np.uint64(0xbb67ae85)) & mask
    return x.astype(np.uint32)


def uniform(n, stream, key):
    """n numbers in (0, 1): element i is word i % 4 of the block (i / 4, *stream)."""
    blocks = (n + 3) // 4
    counter = np.zeros((blocks, 4), np.uint32)
    counter[:, 0] = np.arange(blocks)
    counter[:, 1:] = np.array(stream, np.uint32)
    return (philox(counter, key).reshape(-1)[:n].astype(np.float64) + 0.5) / 4294967296.0


def tensors():
    """(name, shape, mean, deviation) of every tensor, in the order of their numbers."""
    def linear(name, n_out, n_in, gain=1.0, bias=True):
        yield name + ".weight", (n_out, n_in), 0.0, gain / np.sqrt(n_in)
        if bias:
            yield name + ".bias", (n_out,), 0.0, 0.05

    def norm(name, bias=0.1):
        yield name + ".weight", (D,), 1.0, 0.1
        yield name + ".bias", (D,), 0.0, bias

    def attention(name, out):
        yield from linear(name + ".q_proj", D, D, 2.0)
        yield from linear(name + ".k_proj", D, D, 2.0, bias=False)
        yield from linear(name + ".v_proj", D, D)
        yield from linear(name + ".out_proj", D, D, out)

    for side, n_ctx in (("encoder", T), ("decoder", C)):
        p = f"model.{side}."
        if side == "encoder":
            yield p + "conv1.weight", (D, M, 3), 0.0, 2 / np.sqrt(3 * M)
            yield p + "conv1.bias", (D,), 0.0, 0.1
            yield p + "conv2.weight", (D, D, 3), 0.0, 2 / np.sqrt(3 * D)
            yield p + "conv2.bias", (D,), 0.0, 0.1
        else:
            yield p + "embed_tokens.weight", (V, D), 0.0, 0.4
        yield p + "embed_positions.weight", (n_ctx, D), 0.0, 0.3 if side == "encoder" else 2.0
        for i in range(LAYERS):
            layer = f"{p}layers.{i}."
            yield from norm(layer + "self_attn_layer_norm")
            yield from attention(layer + "self_attn", 2.0)
            if side == "decoder":
                yield from norm(layer + "encoder_attn_layer_norm")
                yield from attention(layer + "encoder_attn", 2.0)
            yield from norm(layer + "final_layer_norm")
            yield from linear(layer + "fc1", F, D)
            yield from linear(layer + "fc2", D, F, 4.0)
        yield from norm(p + "layer_norm", 0.25 if side == "decoder" else 0.1)


def offset(token):
    """What is added to the logit of a token, so that texts, times and the end all occur."""
    if token >= TIMESTAMP_BEGIN:
        return -8.0
    if token == EOT:
        return 4.0
    if token == NO_SPEECH:
        return 9.0
    if token > EOT:
        return -10.0
    return -8.0 if 94 <= token < 256 and token != 220 else 0.0  # bytes that are no character


def weights():
    """All tensors by Hugging Face's names, float32."""
    made = {}
    for number, (name, shape, mean, deviation) in enumerate(tensors()):
        n = int(np.prod(shape))
        u = uniform(n, (number, 0, 0), SEED)
        made[name] = (mean + (2 * u - 1) * np.sqrt(3.0) * deviation).astype(np.float32).reshape(shape)
    bias = made["model.decoder.layer_norm.bias"].astype(np.float64)
    bias /= np.sum(bias * bias)
    embedding = made["model.decoder.embed_tokens.weight"]
    offsets = np.array([offset(t) for t in range(V)])
    made["model.decoder.embed_tokens.weight"] = \
        (embedding.astype(np.float64) + offsets[:, None] * bias[None]).astype(np.float32)
    return made


def text_tokens():
    """Bytes of the toy's text tokens, by id."""
    codes = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    codes += [b for b in range(256) if b not in codes]
    vowels, consonants = "aeiou", "bcdfghjklmnpqrstvwxyz"
    pairs = [" " + c for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    pairs += [c + v for c in consonants for v in vowels] + [v + c for c in consonants for v in vowels]
    return dict(enumerate([bytes([b]) for b in codes] + [p.encode() for p in pairs[:256]]))


def synth_tokens():
    """Bytes of the text tokens of the embedded model, by id; vocab.json writes each byte as one character."""
    codes = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    chars = codes + [256 + i for i in range(256 - len(codes))]
    codes += [b for b in range(256) if b not in codes]
    byte_of = {chr(c): b for c, b in zip(chars, codes)}
    vocab = json.loads((SYNTH / "vocab.json").read_text())
    return {id: bytes(byte_of[c] for c in piece) for piece, id in vocab.items() if id < EOT}


def made_audio(seed, seconds):
    """Sawtooth tones that change every tenth of a second, with noise; float32."""
    n = int(seconds * 16000)
    i = np.arange(n, dtype=np.uint64)
    blocks = n // 1600 + 1
    counter = np.zeros((blocks, 4), np.uint32)
    counter[:, 0] = np.arange(blocks)
    counter[:, 1] = seed
    v = philox(counter, 1)[(i // np.uint64(1600)).astype(np.int64)]
    loud = np.where(v[:, 1] % 4 == 0, 0.0, (v[:, 0] >> 24) / 255.0 * 0.5)
    step = (200 + v[:, 2] % 6000).astype(np.uint64)
    saw = ((i * step) & np.uint64(0xffff)).astype(np.float64) / 32768.0 - 1.0
    noise = 2 * uniform(n, (seed, 1, 0), 1) - 1
    return (loud * saw + (v[:, 3] >> 24) / 255.0 * 0.1 * noise).astype(np.float32)
