"""A Hugging Face folder of a language model (Llama, Mistral, Qwen 2 and 3, SmolLM) as what a GGUF file holds."""
import array
import json
import math
import mmap
import os
import struct

from convertlib import gguf_file as gguf

FAMILIES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
LAYER = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
TYPES = {"F32": (gguf.F32, 4), "F16": (gguf.F16, 2), "BF16": (gguf.BF16, 2)}
WANTED = {"f32": gguf.F32, "f16": gguf.F16, "bf16": gguf.BF16, "q8_0": gguf.Q8_0}
BLANK = "\u2581"


class Unusable(Exception):
    """Why a folder cannot be converted, in a sentence."""


def read_json(folder, name, optional=False):
    path = os.path.join(folder, name)
    if optional and not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as f:
        try:
            return json.load(f)
        except ValueError as error:
            raise Unusable(f"{path} is not JSON: {error}") from None


# ---- Weights ---------------------------------------------------------------------------------------


class Weights:
    """The tensors of model.safetensors, or of its shards, mapped."""

    def __init__(self, folder):
        index = read_json(folder, "model.safetensors.index.json", optional=True)
        names = sorted(set(index.get("weight_map", {}).values())) or ["model.safetensors"]
        self.tensors = {}
        for name in names:
            if "/" in name or name.startswith("."):
                raise Unusable(f"the index of {folder} names {name}, which is no file of the folder")
            self.add(os.path.join(folder, name))

    def add(self, path):
        with open(path, "rb") as f:
            content = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        if len(content) < 8 or struct.unpack_from("<Q", content)[0] > len(content) - 8:
            raise Unusable(f"{path} is no safetensors file")
        body = 8 + struct.unpack_from("<Q", content)[0]
        for name, entry in json.loads(content[8:body]).items():
            if name == "__metadata__":
                continue
            kind, begin, end = entry["dtype"], *entry["data_offsets"]
            size = math.prod(entry["shape"]) * TYPES[kind][1] if kind in TYPES else -1
            if size != end - begin or begin < 0 or body + end > len(content):
                raise Unusable(f"{path}: the tensor {name} is damaged, or of type {kind}: F32, F16 and BF16 can be converted")
            self.tensors[name] = (kind, entry["shape"], memoryview(content)[body + begin:body + end])


def floats(kind, data):
    if kind == "F32":
        return array.array("f", bytes(data))
    if kind == "F16":
        return array.array("f", struct.unpack(f"<{len(data) // 2}e", data))
    wide = bytearray(2 * len(data))  # bfloat16 is the upper half of a float
    wide[2::4], wide[3::4] = data[0::2], data[1::2]
    return array.array("f", bytes(wide))


def interleaved(data, rows, heads):
    """Rows of each head in the order 0, n / 2, 1, n / 2 + 1, ...: the halves of a pair side by side, as GGUF's llama has them."""
    size, row = rows // heads, len(data) // rows
    out = bytearray()
    for head in range(heads):
        for i in range(size):
            at = (head * size + i // 2 + (i % 2) * size // 2) * row
            out += data[at:at + row]
    return bytes(out)


def gguf_name(name):
    """The name in a GGUF file, None for one that has no counterpart."""
    stem, _, kind = name.rpartition(".")
    if stem in TOP:
        return f"{TOP[stem]}.{kind}"
    words = stem.split(".", 3)
    if words[:2] == ["model", "layers"] and len(words) == 4 and words[3] in LAYER:
        return f"blk.{words[2]}.{LAYER[words[3]]}.{kind}"
    return None


def tensor(name, entry, wanted, heads):
    """What gguf_file.write() takes; `heads` is above 0 where rows are to be interleaved."""
    kind, shape, data = entry
    target = TYPES[kind][0] if wanted == "keep" else WANTED[wanted]
    if heads and shape[0] % heads:
        raise Unusable(f"the {shape[0]} rows of {name} are not those of {heads} heads")
    if len(shape) == 1 or (target == gguf.Q8_0 and shape[-1] % gguf.BLOCK):
        target = gguf.F32

    def give():
        content = interleaved(data, shape[0], heads) if heads else data
        return bytes(content) if TYPES[kind][0] == target else gguf.encode(floats(kind, content), target)
    return name, shape, target, give


def tensors(folder, config, family, wanted):
    weights, out = Weights(folder).tensors, []
    heads = config["num_attention_heads"]
    turned = {"attn_q": heads, "attn_k": config.get("num_key_value_heads") or heads} if family == "llama" else {}
    for name, entry in weights.items():
        if name.endswith("rotary_emb.inv_freq") or (name.startswith("lm_head.") and config.get("tie_word_embeddings")):
            continue
        target = gguf_name(name)
        if not target:
            raise Unusable(f"{folder} has a tensor {name}, which models of {config['model_type']} do not have")
        layer = target.split(".")[2] if target.startswith("blk.") else ""
        out.append(tensor(target, entry, wanted, turned.get(layer, 0)))
    if not any(name == "token_embd.weight" for name, *_ in out):
        raise Unusable(f"{folder} has no tensor model.embed_tokens.weight")
    return out


# ---- Sizes and positions ---------------------------------------------------------------------------


def llama3_factors(scaling, base, dims):
    """What the wavelengths of the pairs are divided by (transformers' rope type "llama3")."""
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    original, out = scaling["original_max_position_embeddings"], array.array("f")
    for i in range(0, dims, 2):
        wave = 2 * math.pi * base ** (i / dims)
        if wave < original / high:
            out.append(1.0)
        elif wave > original / low:
            out.append(factor)
        else:
            smooth = (original / wave - low) / (high - low)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return out


def add_positions(out, config, family, dims):
    """Adds the keys; returns the tensor of factors, or None."""
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    base = float(scaling.get("rope_theta") or config.get("rope_theta") or 10000.0)
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    out[f"{family}.rope.freq_base"], out[f"{family}.rope.dimension_count"] = base, dims
    if kind == "default":
        return None
    if kind == "llama3":
        return llama3_factors(scaling, base, dims)
    if kind not in ("linear", "yarn"):
        raise Unusable(f"positions are scaled by {kind}; linear, llama3 and yarn can be converted")
    factor = float(scaling["factor"])
    out[f"{family}.rope.scaling.type"], out[f"{family}.rope.scaling.factor"] = kind, factor
    if kind == "yarn":
        usual = 0.1 * math.log(factor) + 1 if factor > 1 else 1.0
        original = scaling.get("original_max_position_embeddings") or config["max_position_embeddings"]
        out[f"{family}.rope.scaling.original_context_length"] = original
        out[f"{family}.rope.scaling.attn_factor"] = float(scaling.get("attention_factor") or usual) / usual
        for key in ("beta_fast", "beta_slow"):
            if scaling.get(key):
                out[f"{family}.rope.scaling.yarn_{key}"] = float(scaling[key])
    return None


def sizes(config, family):
    heads = config["num_attention_heads"]
    dims = config.get("head_dim") or config["hidden_size"] // heads
    out = {"general.architecture": family, "general.alignment": gguf.ALIGNMENT}
    keys = {"context_length": "max_position_embeddings", "embedding_length": "hidden_size", "block_count": "num_hidden_layers",
            "feed_forward_length": "intermediate_size", "attention.head_count": "num_attention_heads"}
    for key, name in keys.items():
        out[f"{family}.{key}"] = config[name]
    out[f"{family}.attention.head_count_kv"] = config.get("num_key_value_heads") or heads
    out[f"{family}.attention.key_length"] = out[f"{family}.attention.value_length"] = dims
    out[f"{family}.attention.layer_norm_rms_epsilon"] = float(config.get("rms_norm_eps", 1e-6))
    if config.get("sliding_window") and (config["model_type"] == "mistral" or config.get("use_sliding_window")):
        if config["model_type"] != "mistral":
            raise Unusable("windows in some layers cannot be written down in a GGUF file")
        out[f"{family}.attention.sliding_window"] = config["sliding_window"]
    return out, dims


# ---- Tokens ----------------------------------------------------------------------------------------


def steps(node, key):
    return node.get(key, [node]) if node else []


def cutting_rule(tokenizer):
    """The name in tokenizer.ggml.pre; None for SentencePiece."""
    found = steps(tokenizer.get("pre_tokenizer"), "pretokenizers")
    if not any(step["type"] == "ByteLevel" for step in found):
        return None
    kinds = [step["type"] for step in found]
    regex = next((step["pattern"].get("Regex", "") for step in found if step["type"] == "Split"), "")
    if kinds == ["ByteLevel"]:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"]:
        return "smollm"
    if "\\p{N}{1,3}" in regex:
        return "llama-bpe"
    if "|\\p{N}|" in regex:
        return "qwen2"
    raise Unusable(f"texts are cut by {' and '.join(kinds)}, a rule that has no name in GGUF files we know")


def pair(merge):
    return merge.split(" ", 1) if isinstance(merge, str) else merge


def token_lists(tokenizer, n_rows, sentencepiece):
    """Names and types of tokens; rows of the embedding without one are unused."""
    model, added = tokenizer["model"], tokenizer.get("added_tokens") or []
    names, kinds = [f"[PAD{i}]" for i in range(n_rows)], [gguf.UNUSED] * n_rows
    for name, i in [*model["vocab"].items(), *((a["content"], a["id"]) for a in added)]:
        if not 0 <= i < n_rows:
            raise Unusable(f"token {i} is beyond the {n_rows} rows of the embedding")
        byte = sentencepiece and len(name) == 6 and name.startswith("<0x") and name.endswith(">")
        names[i], kinds[i] = name, gguf.BYTE if byte else gguf.NORMAL
    for entry in added:
        kinds[entry["id"]] = gguf.CONTROL if entry.get("special") else gguf.USER_DEFINED
    if sentencepiece and model.get("unk_token") in model["vocab"]:
        kinds[model["vocab"][model["unk_token"]]] = gguf.UNKNOWN
    return names, kinds


def scores(model, names):
    """SentencePiece joins the pair whose token has the best score: the rank of the first merge that makes it, negative."""
    found = {}
    for rank, merge in enumerate(model.get("merges") or []):
        found.setdefault("".join(pair(merge)), -float(rank) - 1)
    return [found.get(name, 0.0) for name in names]


def adds_bos(tokenizer, settings):
    for step in steps(tokenizer.get("post_processor"), "processors"):
        if step["type"] == "TemplateProcessing":
            return "SpecialToken" in step["single"][0]
    return False if tokenizer.get("post_processor") else bool(settings.get("add_bos_token"))


def add_ends(out, config, settings, names):
    ids = {name: i for i, name in enumerate(names)}
    for key in ("bos", "eos"):
        name = settings.get(f"{key}_token")
        name = name.get("content") if isinstance(name, dict) else name
        ends = config.get(f"{key}_token_id")
        ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
        ends = list(dict.fromkeys([*([ids[name]] if name in ids else []), *ends]))
        for kind, token in zip((key,) if key == "bos" else ("eos", "eot", "eom"), ends):
            out[f"tokenizer.ggml.{kind}_token_id"] = token


def add_tokens(out, folder, config, n_rows):
    tokenizer, settings = read_json(folder, "tokenizer.json"), read_json(folder, "tokenizer_config.json", optional=True)
    model, rule = tokenizer["model"], cutting_rule(tokenizer)
    if model.get("type", "BPE") != "BPE":
        raise Unusable(f"a tokenizer of kind {model.get('type')} cannot be converted; BPE can")
    names, kinds = token_lists(tokenizer, n_rows, rule is None)
    out["tokenizer.ggml.model"] = "gpt2" if rule else "llama"
    out["tokenizer.ggml.tokens"], out["tokenizer.ggml.token_type"] = names, kinds
    if rule:
        out["tokenizer.ggml.pre"] = rule
        out["tokenizer.ggml.merges"] = [" ".join(pair(merge)) for merge in model.get("merges") or []]
    else:
        before = steps(tokenizer.get("normalizer"), "normalizers")
        out["tokenizer.ggml.scores"] = scores(model, names)
        out["tokenizer.ggml.add_space_prefix"] = any(step["type"] == "Prepend" for step in before)
    out["tokenizer.ggml.add_bos_token"] = adds_bos(tokenizer, settings)
    add_ends(out, config, settings, names)
    add_template(out, folder, settings)


def add_template(out, folder, settings):
    template, path = settings.get("chat_template"), os.path.join(folder, "chat_template.jinja")
    if isinstance(template, list):
        template = next((t["template"] for t in template if t.get("name") == "default"), None)
    if not template and os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            template = f.read()
    if template:
        out["tokenizer.chat_template"] = template


def convert(folder, path, wanted):
    """Writes the GGUF file `path`; `wanted`: the type of matrices, or "keep"."""
    config = read_json(folder, "config.json")
    family = FAMILIES.get(config.get("model_type"))
    if not family:
        raise Unusable(f"{folder} is a model of type {config.get('model_type')}; {', '.join(FAMILIES)} can be converted")
    try:
        metadata, dims = sizes(config, family)
        factors = add_positions(metadata, config, family, dims)
        list_of = tensors(folder, config, family, wanted)
        n_rows = next(shape[0] for name, shape, *_ in list_of if name == "token_embd.weight")
        add_tokens(metadata, folder, config, n_rows)
    except KeyError as error:
        raise Unusable(f"{folder} lacks {error}") from None
    except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError) as error:
        raise Unusable(f"{folder} is damaged: {error}") from None
    if factors is not None:
        list_of.append(("rope_freqs.weight", [len(factors)], gguf.F32, factors.tobytes))
    try:
        gguf.write(path, metadata, list_of)
    except (struct.error, ArithmeticError, TypeError, ValueError) as error:
        raise Unusable(f"{folder} has values that a GGUF file cannot hold: {error}") from None
