"""A GGUF file of a language model (architectures llama, qwen2, qwen3) as a Hugging Face folder."""
import array
import json
import math
import mmap
import os
import struct

from convertlib import gguf_file as gguf
from convertlib import hf_folder
from convertlib.hf_folder import BLANK, Unusable

SCALARS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
DTYPES = {gguf.F32: "F32", gguf.F16: "F16", gguf.BF16: "BF16", gguf.Q8_0: "F32"}
LAYER = {name: hf for hf, name in hf_folder.LAYER.items()}
TOP = {name: hf for hf, name in hf_folder.TOP.items()}
ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {"llama-bpe": ENDINGS + r"\p{N}{1,3}" + REST, "qwen2": ENDINGS + r"\p{N}" + REST}


class File:
    """Metadata and tensors of a GGUF file, mapped."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        self.at, self.metadata, self.tensors = 4, {}, {}
        if self.data[:4] != b"GGUF" or self.take("<I") not in (2, 3):
            raise Unusable(f"{path} is no GGUF file of version 2 or 3")
        n_tensors, n_keys = self.take("<Q"), self.take("<Q")
        for _ in range(n_keys):
            name = self.string()
            self.metadata[name] = self.value(self.take("<I"))
        infos = [self.info() for _ in range(n_tensors)]
        step = self.metadata.get("general.alignment", 32)
        begin = (self.at + step - 1) // step * step
        for name, shape, kind, offset in infos:
            size = gguf.n_bytes(kind, math.prod(shape)) if kind in DTYPES else 0
            if not size or begin + offset + size > len(self.data):
                raise Unusable(f"{path}: the tensor {name} is cut off, or of ggml's type {kind}: F32, F16, BF16 and Q8_0 can be converted")
            self.tensors[name] = (kind, shape, memoryview(self.data)[begin + offset:begin + offset + size])

    def take(self, form):
        item, = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return item

    def string(self):
        n = self.take("<Q")
        self.at += n
        return self.data[self.at - n:self.at].decode("utf-8", "surrogateescape")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            inner, n = self.take("<I"), self.take("<Q")
            return [self.value(inner) for _ in range(n)]
        return self.take(SCALARS[kind])

    def info(self):
        name, n = self.string(), self.take("<I")
        return name, [self.take("<Q") for _ in range(n)][::-1], self.take("<I"), self.take("<Q")


def from_q8_0(data):
    out = array.array("f")
    for at in range(0, len(data), 34):
        scale, = struct.unpack_from("<e", data, at)
        out.extend(scale * v for v in struct.unpack_from("<32b", data, at + 2))
    return out.tobytes()


def halves(data, rows, heads):
    """Rows of each head in the order 0, 2, 4, ..., 1, 3, 5, ...: the first halves of all pairs before the second."""
    size, row, out = rows // heads, len(data) // rows, bytearray()
    for head in range(heads):
        for i in [*range(0, size, 2), *range(1, size, 2)]:
            out += data[(head * size + i) * row:(head * size + i + 1) * row]
    return bytes(out)


# ---- Sizes and positions ---------------------------------------------------------------------------


def scaling_of(f, get, base, dims):
    """rope_scaling of config.json, or None."""
    kind = get("rope.scaling.type")
    if "rope_freqs.weight" in f.tensors:
        factors = array.array("f", bytes(f.tensors["rope_freqs.weight"][2]))
        for original in (8192, 64):
            guess = {"rope_type": "llama3", "factor": float(max(factors)), "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                     "original_max_position_embeddings": original}
            made = hf_folder.llama3_factors(guess, base, dims)
            if len(made) == len(factors) and all(abs(a - b) < 1e-4 * a for a, b in zip(made, factors)):
                return guess
        raise Unusable("the factors of its positions are not those of Llama 3, so config.json cannot say them")
    if kind in (None, "none"):
        return None
    factor = get("rope.scaling.factor")
    scaling = {"rope_type": kind, "factor": factor}
    if kind == "yarn":
        usual = 0.1 * math.log(factor) + 1 if factor > 1 else 1.0
        scaling["original_max_position_embeddings"] = get("rope.scaling.original_context_length")
        scaling["attention_factor"] = (get("rope.scaling.attn_factor") or 1.0) * usual
        for key in ("beta_fast", "beta_slow"):
            if get(f"rope.scaling.yarn_{key}"):
                scaling[key] = get(f"rope.scaling.yarn_{key}")
    return scaling


def config_of(f, family):
    get = lambda key: f.metadata.get(f"{family}.{key}")
    heads, state = f.metadata[f"{family}.attention.head_count"], f.metadata[f"{family}.embedding_length"]
    window, dims = get("attention.sliding_window"), get("attention.key_length") or state // heads
    base, ids = get("rope.freq_base") or 10000.0, lambda kind: f.metadata.get(f"tokenizer.ggml.{kind}_token_id")
    config = {
        "model_type": "mistral" if window and family == "llama" else family, "hidden_act": "silu", "hidden_size": state,
        "intermediate_size": f.metadata[f"{family}.feed_forward_length"], "num_hidden_layers": f.metadata[f"{family}.block_count"],
        "num_attention_heads": heads, "num_key_value_heads": get("attention.head_count_kv") or heads, "head_dim": dims,
        "max_position_embeddings": f.metadata[f"{family}.context_length"],
        "rms_norm_eps": f.metadata[f"{family}.attention.layer_norm_rms_epsilon"], "rope_theta": base,
        "vocab_size": f.tensors["token_embd.weight"][1][0], "tie_word_embeddings": "output.weight" not in f.tensors,
        "bos_token_id": ids("bos"), "eos_token_id": [i for i in map(ids, ("eos", "eot", "eom")) if i is not None]}
    scaling = scaling_of(f, get, base, dims)
    config.update({"rope_scaling": scaling} if scaling else {})
    config.update({"sliding_window": window} if window else {})
    if family == "llama":
        config["attention_bias"], config["mlp_bias"] = "blk.0.attn_q.bias" in f.tensors, "blk.0.ffn_gate.bias" in f.tensors
    return config


# ---- Tokens ----------------------------------------------------------------------------------------


def added_tokens(names, kinds):
    chosen = [i for i, kind in enumerate(kinds) if kind in (gguf.CONTROL, gguf.USER_DEFINED, gguf.UNKNOWN)]
    return [{"id": i, "content": names[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": kinds[i] != gguf.USER_DEFINED} for i in chosen]


def byte_level(f):
    rule = f.metadata.get("tokenizer.ggml.pre")
    rule = "llama-bpe" if rule in ("llama3", "llama-v3") else rule
    split = lambda regex: {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": rule not in SPLITS}
    first = {"smollm": [{"type": "Digits", "individual_digits": True}], "gpt-2": []}.get(rule)
    if rule in SPLITS:
        first = [split(SPLITS[rule])]
    if first is None:
        raise Unusable(f"texts are cut as {rule} does it, which cannot be written down in a folder")
    return None, {"type": "Sequence", "pretokenizers": [*first, level]}, f.metadata["tokenizer.ggml.merges"], rule == "llama-bpe"


def sentencepiece(f, names, kinds):
    """The pairs of pieces that make a piece, best score first."""
    ids, found = {name: i for i, name in enumerate(names)}, []
    for i, piece in enumerate(names):
        for cut in range(1, len(piece) if kinds[i] == gguf.NORMAL else 0):
            left, right = ids.get(piece[:cut]), ids.get(piece[cut:])
            if left is not None and right is not None:
                found.append((-f.metadata["tokenizer.ggml.scores"][i], left, right))
    marks = [{"type": "Prepend", "prepend": BLANK}] if f.metadata.get("tokenizer.ggml.add_space_prefix", True) else []
    marks.append({"type": "Replace", "pattern": {"String": " "}, "content": BLANK})
    return {"type": "Sequence", "normalizers": marks}, None, [f"{names[a]} {names[b]}" for _, a, b in sorted(found)], False


def tokenizer_of(f):
    names, kinds = f.metadata["tokenizer.ggml.tokens"], f.metadata["tokenizer.ggml.token_type"]
    kind, bos = f.metadata["tokenizer.ggml.model"], f.metadata.get("tokenizer.ggml.bos_token_id")
    if kind not in ("gpt2", "llama"):
        raise Unusable(f"a tokenizer of kind {kind} cannot be converted; gpt2 and llama can")
    normalizer, pre, merges, whole = byte_level(f) if kind == "gpt2" else sentencepiece(f, names, kinds)
    unknown = next((names[i] for i, k in enumerate(kinds) if k == gguf.UNKNOWN), None)
    begin = None
    if f.metadata.get("tokenizer.ggml.add_bos_token", kind == "llama" or whole) and bos is not None:
        special = {"SpecialToken": {"id": names[bos], "type_id": 0}}
        begin = {"type": "TemplateProcessing", "single": [special, {"Sequence": {"id": "A", "type_id": 0}}],
                 "pair": [special, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                 "special_tokens": {names[bos]: {"id": names[bos], "ids": [bos], "tokens": [names[bos]]}}}
    decoder = {"type": "ByteLevel"} if kind == "gpt2" else {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": BLANK}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added_tokens(names, kinds), "normalizer": normalizer,
            "pre_tokenizer": pre, "post_processor": begin, "decoder": decoder,
            "model": {"type": "BPE", "dropout": None, "unk_token": unknown, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": kind == "llama", "byte_fallback": kind == "llama", "ignore_merges": whole,
                      "vocab": {name: i for i, name in enumerate(names) if kinds[i] != gguf.UNUSED}, "merges": merges}}


def settings_of(f):
    names, out = f.metadata["tokenizer.ggml.tokens"], {}
    for kind in ("bos", "eos"):
        i = f.metadata.get(f"tokenizer.ggml.{kind}_token_id")
        out.update({f"{kind}_token": names[i]} if i is not None and i < len(names) else {})
    if f.metadata.get("tokenizer.chat_template"):
        out["chat_template"] = f.metadata["tokenizer.chat_template"]
    return out


# ---- The folder ------------------------------------------------------------------------------------


def hf_name(name):
    stem, _, kind = name.rpartition(".")
    words = stem.split(".", 2)
    if stem in TOP:
        return f"{TOP[stem]}.{kind}"
    if len(words) == 3 and words[0] == "blk" and words[2] in LAYER:
        return f"model.layers.{words[1]}.{LAYER[words[2]]}.{kind}"
    raise Unusable(f"it has a tensor {name}, which the models that can be converted do not have")


def plan_weights(f, config, family):
    """The header of model.safetensors, and of each tensor in its order the name and the heads whose rows are to be turned, or 0."""
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]} if family == "llama" else {}
    header, offset, order = {"__metadata__": {"format": "pt"}}, 0, []
    for name, (kind, shape, _) in f.tensors.items():
        if name == "rope_freqs.weight":
            continue
        size = math.prod(shape) * {"F32": 4, "F16": 2, "BF16": 2}[DTYPES[kind]]
        header[hf_name(name)] = {"dtype": DTYPES[kind], "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
        turned = heads.get(name.split(".")[2] if name.startswith("blk.") else "", 0)
        if turned and shape[0] % turned:
            raise Unusable(f"the {shape[0]} rows of {name} are not those of {turned} heads")
        order.append((name, turned))
    return header, order


def write_weights(f, header, order, path):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, turned in order:
            kind, shape, data = f.tensors[name]
            data = from_q8_0(data) if kind == gguf.Q8_0 else data
            out.write(halves(data, shape[0], turned) if turned else data)


def convert(path, folder):
    try:
        f = File(path)
        family = f.metadata["general.architecture"]
        if family not in hf_folder.FAMILIES.values():
            raise Unusable(f"{path} is a model of architecture {family}; llama, qwen2 and qwen3 can be converted")
        config = config_of(f, family)
        files = {"config.json": config, "tokenizer.json": tokenizer_of(f), "tokenizer_config.json": settings_of(f)}
        header, order = plan_weights(f, config, family)
    except KeyError as error:
        raise Unusable(f"{path} lacks {error}") from None
    except (struct.error, ArithmeticError, IndexError, RecursionError, TypeError, ValueError) as error:
        raise Unusable(f"{path} is damaged: {error}") from None
    os.makedirs(folder, exist_ok=True)
    for name, content in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8", errors="surrogateescape") as out:
            json.dump(content, out, ensure_ascii=False, indent=1)
    write_weights(f, header, order, os.path.join(folder, "model.safetensors"))
