"""openai-whisper with the toy model or the embedded one, and with our random numbers.

Needs openai-whisper (20250625) and torch from PyPI. What is patched, and nothing else:
  - the tokenizer is the model's own, and the model says which languages it has;
  - for the embedded model, the window is 10 s instead of 30 s;
  - Categorical.sample() is argmax(logits / T + Gumbel noise), the noise a function of the seed, the window's frame,
    the temperature's place in the list, the sample and the step: plugins/whisper/rules.h, wh_sample().
"""
import json
import os
import sys

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # compiling takes longer than what is run here

import numpy as np
import tiktoken
import torch
import whisper
import whisper.audio
import whisper.decoding
import whisper.tokenizer
import whisper.transcribe  # noqa: F401: the module, not the function
from whisper.model import ModelDimensions, Whisper

import toy

transcribe_module = sys.modules["whisper.transcribe"]
torch.set_num_threads(1)
SEED = 0


def frame_locals(name, variable):
    frame = sys._getframe()
    while frame.f_code.co_name != name or variable not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals


class Gumbel:
    """Stands in for torch.distributions.Categorical."""

    def __init__(self, logits):
        self.logits = logits

    def sample(self):
        step = frame_locals("_main_loop", "i")["i"]
        seek = frame_locals("transcribe", "seek")["seek"]
        attempt = frame_locals("decode_with_fallback", "t")
        index = list(attempt["temperatures"]).index(attempt["t"])
        chosen = []
        for sample, row in enumerate(self.logits):
            u = toy.uniform(len(row), (sample << 16 | step, seek, index), SEED)
            noise = (-np.log(-np.log(u))).astype(np.float32)
            chosen.append(int(torch.argmax(row + torch.from_numpy(noise))))
        return torch.tensor(chosen)


whisper.decoding.Categorical = Gumbel

HF_NAMES = [
    ("model.", ""), (".layers.", ".blocks."), ("self_attn_layer_norm", "attn_ln"),
    ("encoder_attn_layer_norm", "cross_attn_ln"), ("final_layer_norm", "mlp_ln"),
    ("self_attn", "attn"), ("encoder_attn", "cross_attn"), ("q_proj", "query"), ("k_proj", "key"),
    ("v_proj", "value"), ("out_proj", "out"), ("fc1", "mlp.0"), ("fc2", "mlp.2"),
    ("encoder.layer_norm", "encoder.ln_post"), ("decoder.layer_norm", "decoder.ln"),
    ("embed_positions.weight", "positional_embedding"), ("embed_tokens", "token_embedding"),
]


def state_dict(tensors):
    renamed = {}
    for name, value in tensors.items():
        for old, new in HF_NAMES:
            name = name.replace(old, new)
        renamed[name] = torch.from_numpy(np.array(value, dtype=np.float32))
    return renamed


def use_tokenizer(tokens, specials, n_languages):
    n_vocab = max(specials.values()) + 1
    encoding = tiktoken.Encoding(
        name="own", explicit_n_vocab=None, special_tokens=specials,
        pat_str=r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
        mergeable_ranks={b: i for i, b in tokens.items()})
    whisper.tokenizer.get_encoding = lambda name, num_languages=99: encoding
    whisper.tokenizer.get_tokenizer.cache_clear()
    Whisper.num_languages = property(lambda self: n_languages)
    return n_vocab


def set_window(seconds):
    samples, frames = seconds * 16000, seconds * 100
    for module in (whisper.audio, whisper.decoding, transcribe_module):
        for name, value in (("CHUNK_LENGTH", seconds), ("N_SAMPLES", samples), ("N_FRAMES", frames)):
            if hasattr(module, name):
                setattr(module, name, value)


def load_toy(multilingual=True):
    specials = {name: toy.EOT + i for i, name in enumerate(toy.SPECIALS)}
    specials.update({f"<|{i * 0.02:.2f}|>": toy.TIMESTAMP_BEGIN + i for i in range(toy.N_TIMESTAMPS)})
    use_tokenizer(toy.text_tokens(), specials, len(toy.LANGUAGES))
    Whisper.is_multilingual = property(lambda self: multilingual)
    set_window(30)
    model = Whisper(ModelDimensions(
        n_mels=toy.M, n_audio_ctx=toy.T, n_audio_state=toy.D, n_audio_head=toy.HEADS,
        n_audio_layer=toy.LAYERS, n_vocab=toy.V, n_text_ctx=toy.C, n_text_state=toy.D,
        n_text_head=toy.HEADS, n_text_layer=toy.LAYERS))
    model.load_state_dict(state_dict(toy.weights()))
    return model.eval()


def load_synth():
    from safetensors.numpy import load_file
    config = json.loads((toy.SYNTH / "config.json").read_text())
    generation = json.loads((toy.SYNTH / "generation_config.json").read_text())
    specials = json.loads((toy.SYNTH / "added_tokens.json").read_text())
    use_tokenizer(toy.synth_tokens(), specials, 1)
    Whisper.is_multilingual = property(lambda self: True)
    set_window(10)
    model = Whisper(ModelDimensions(
        n_mels=config["num_mel_bins"], n_audio_ctx=config["max_source_positions"],
        n_audio_state=config["d_model"], n_audio_head=config["encoder_attention_heads"],
        n_audio_layer=config["encoder_layers"], n_vocab=config["vocab_size"],
        n_text_ctx=config["max_target_positions"], n_text_state=config["d_model"],
        n_text_head=config["decoder_attention_heads"], n_text_layer=config["decoder_layers"]))
    tensors = {k: v for k, v in load_file(toy.SYNTH / "model.safetensors").items() if k != "proj_out.weight"}
    model.load_state_dict(state_dict(tensors))
    mask = torch.zeros(config["decoder_layers"], config["decoder_attention_heads"], dtype=torch.bool)
    for layer, head in generation["alignment_heads"]:
        mask[layer, head] = True
    model.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
    return model.eval()


def wav(name):
    raw = (toy.ROOT / f"tests/data/{name}.wav").read_bytes()[44:]
    return np.frombuffer(raw[:len(raw) // 2 * 2], np.int16).astype(np.float32) / 32768.0


def audio(parts):
    """parts: [{wav, from, to} or {seed, seconds} or {silence}], in a row."""
    pieces = []
    for p in parts:
        if "wav" in p:
            pieces.append(wav(p["wav"])[int(p.get("from", 0) * 16000):int(p.get("to", 1e6) * 16000)])
        elif "silence" in p:
            pieces.append(np.zeros(int(p["silence"] * 16000), np.float32))
        else:
            pieces.append(toy.made_audio(p["seed"], p["seconds"]))
    return np.concatenate(pieces)


def reference_options(params):
    """Our parameters as the reference's."""
    o = {"temperature": tuple(params.get("temperature", [0, 0.2, 0.4, 0.6, 0.8, 1.0])),
         "beam_size": params.get("beam_size", 5), "best_of": params.get("best_of", 5), "fp16": False}
    for name, value in params.items():
        if name == "max_new_tokens":
            o["sample_len"] = value
        elif name == "suppress_tokens":
            o[name] = list(value)
        elif name not in o and name not in ("language", "seed"):
            o[name] = value
    o["language"] = params.get("language")
    for name in ("beam_size", "best_of"):
        if o[name] == 1:
            o[name] = None
    return o


def run(model, parts, params):
    """The reference's segments that hold text, as our transcript has them."""
    global SEED
    SEED = params.get("seed", 0)
    samples = audio(parts)
    result = model.transcribe(samples, **reference_options(params))
    begin = whisper.tokenizer.get_tokenizer(
        model.is_multilingual, num_languages=model.num_languages).timestamp_begin
    kept = []
    for s in result["segments"]:
        if not s["text"] or s["end"] < s["start"]:  # the second: a documented departure
            continue
        times = [t for t in s["tokens"] if t >= begin]
        segment = {"seek": s["seek"], "start": round(s["start"], 3), "end": round(s["end"], 3),
                   "tokens": [int(t) for t in s["tokens"]], "temperature": s["temperature"],
                   "avg_logprob": round(s["avg_logprob"], 5), "no_speech_prob": round(s["no_speech_prob"], 5),
                   "compression_ratio": round(s["compression_ratio"], 5)}
        if "words" in s:
            segment["words"] = [[w["word"], round(float(w["start"]), 2), round(float(w["end"]), 2),
                                 round(float(w["probability"]), 4)] for w in s["words"]]
        elif times and s["tokens"][0] >= begin:  # a documented departure: its own opening timestamp
            segment["start"] = round(s["seek"] / 100 + (s["tokens"][0] - begin) * 0.02, 3)
            if len(times) == 1 and times[0] != begin:  # and the window's end where nothing closes it
                segment["end"] = None
        kept.append(segment)
    return {"language": result["language"], "segments": kept}
