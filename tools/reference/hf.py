#!/usr/bin/env python3
"""Writes tests/data/expected/hf.safetensors: what Hugging Face's Whisper makes of made sounds, with models of random
weights in several shapes: features, encoder states, logits and greedy tokens.

    python3 tools/reference/hf.py           (needs transformers 4.45, torch, safetensors and numpy; a minute)

Weights are functions of a seed, as the toy model's are (toy.py): tests/unit/whisper/hf.c makes the same ones. Seeds are
passed over until the two likeliest tokens are LEAST_GAP apart in every step. Of large outputs a few rows and columns are stored, which SHAPES, ROWS and COLUMNS say here and there.
"""
import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.generation import GenerationMixin

import toy

N_INPUTS, N_TOKENS, COLUMNS, LEAST_GAP = 3, 24, 96, 2e-3
# name: M, T, C, D, V, (layers, heads, F) of the encoder and of the decoder
SHAPES = {
    "small": (80, 250, 64, 64, 1000, (2, 2, 128), (2, 4, 256)),
    "mels128": (128, 500, 64, 128, 51866, (3, 2, 512), (1, 4, 384)),
    "tiny": (80, 1500, 448, 384, 51865, (4, 6, 1536), (4, 6, 1536)),
    "tiny.en": (80, 1500, 448, 384, 51864, (4, 6, 1536), (4, 6, 1536)),
    "base": (80, 1500, 448, 512, 51865, (6, 8, 2048), (6, 8, 2048)),
}


def tensors(shape):
    """(name, shape, mean, deviation) in the order of their numbers."""
    M, T, C, D, V, encoder, decoder = shape

    def linear(name, n_out, n_in, gain=1.0, bias=True):
        yield name + ".weight", (n_out, n_in), 0.0, gain / np.sqrt(n_in)
        if bias:
            yield name + ".bias", (n_out,), 0.0, 0.05

    def norm(name):
        yield name + ".weight", (D,), 1.0, 0.1
        yield name + ".bias", (D,), 0.0, 0.1

    def attention(name):
        yield from linear(name + ".q_proj", D, D, 2.0)
        yield from linear(name + ".k_proj", D, D, 2.0, bias=False)
        yield from linear(name + ".v_proj", D, D)
        yield from linear(name + ".out_proj", D, D, 2.0)

    for side, (layers, _, ffn) in (("encoder", encoder), ("decoder", decoder)):
        p = "model.%s." % side
        if side == "encoder":
            yield p + "conv1.weight", (D, M, 3), 0.0, 2 / np.sqrt(3 * M)
            yield p + "conv1.bias", (D,), 0.0, 0.1
            yield p + "conv2.weight", (D, D, 3), 0.0, 2 / np.sqrt(3 * D)
            yield p + "conv2.bias", (D,), 0.0, 0.1
            yield p + "embed_positions.weight", (T, D), 0.0, 0.3
        else:
            yield p + "embed_tokens.weight", (V, D), 0.0, 3 / np.sqrt(D)
            yield p + "embed_positions.weight", (C, D), 0.0, 2.0
        for i in range(layers):
            layer = "%slayers.%d." % (p, i)
            yield from norm(layer + "self_attn_layer_norm")
            yield from attention(layer + "self_attn")
            if side == "decoder":
                yield from norm(layer + "encoder_attn_layer_norm")
                yield from attention(layer + "encoder_attn")
            yield from norm(layer + "final_layer_norm")
            yield from linear(layer + "fc1", ffn, D)
            yield from linear(layer + "fc2", D, ffn, 4.0)
        yield from norm(p + "layer_norm")


def make(shape, key):
    M, T, C, D, V, encoder, decoder = shape
    config = WhisperConfig(
        num_mel_bins=M, max_source_positions=T, max_target_positions=C, d_model=D, vocab_size=V,
        encoder_layers=encoder[0], encoder_attention_heads=encoder[1], encoder_ffn_dim=encoder[2],
        decoder_layers=decoder[0], decoder_attention_heads=decoder[1], decoder_ffn_dim=decoder[2],
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0)
    state = {}
    for number, (name, dims, mean, deviation) in enumerate(tensors(shape)):
        u = toy.uniform(int(np.prod(dims)), (number, 0, 0), key)
        values = (mean + (2 * u - 1) * np.sqrt(3.0) * deviation).astype(np.float32)
        state[name] = torch.from_numpy(values.reshape(dims))
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    model = WhisperForConditionalGeneration(config).eval()
    model.load_state_dict(state)
    return model


def greedy(model, states, prompt, n):
    """n tokens behind the prompt, by transformers' own search, and the gap between the two likeliest of each."""
    plain = GenerationConfig(max_new_tokens=n, do_sample=False, eos_token_id=None, pad_token_id=0,
                             output_logits=True, return_dict_in_generate=True)
    out = GenerationMixin.generate(model, encoder_outputs=states, decoder_input_ids=prompt,
                                   attention_mask=None, generation_config=plain)
    best = torch.stack(out.logits)[:, 0].topk(2).values
    return out.sequences[0, prompt.shape[1]:], float((best[:, 0] - best[:, 1]).min())


def run(name, shape, number, seed):
    """What is stored of one shape; None where two tokens are too close to call."""
    M, T, _, _, V = shape[:5]
    model, stored = make(shape, seed), {name + ".seed": np.array([seed], np.int32)}
    extractor = WhisperFeatureExtractor(feature_size=M, chunk_length=T // 50)
    columns = torch.arange(COLUMNS) * 5407 % V
    for i in range(N_INPUTS):
        samples = toy.made_audio(10 * number + i, 2 + i)
        features = extractor(samples, sampling_rate=16000, return_tensors="pt").input_features
        prompt = torch.tensor([[(7 + 997 * k + i) % V for k in range(4)]])
        states = model.model.encoder(features)
        tokens, gap = greedy(model, states, prompt, N_TOKENS)
        logits = model(encoder_outputs=states, decoder_input_ids=torch.cat([prompt[0], tokens])[None]).logits[0]
        key = "%s.%d." % (name, i)
        stored[key + "features"] = features[0, :, [0, 100, 2 * T - 1]].T.contiguous().numpy()
        stored[key + "encoder"] = states[0][0][[0, T // 3, T - 1]].numpy()
        stored[key + "logits"] = logits[[3, 3 + N_TOKENS // 2]][:, columns].contiguous().numpy()
        stored[key + "tokens"] = tokens.numpy().astype(np.int32)
        print(name, i, "states %.2f, logits %.2f, gap %.4f, %d different tokens" % (
            states[0].std(), logits.std(), gap, len(set(tokens.tolist()))), flush=True)
        if gap < LEAST_GAP:
            return None
    return stored


if __name__ == "__main__":
    expected = {}
    with torch.no_grad():
        for position, (shape_name, sizes) in enumerate(SHAPES.items()):
            first = 100 * (position + 1)
            expected.update(next(filter(None, (run(shape_name, sizes, position, first + k) for k in range(100)))))
    save_file(expected, toy.ROOT / "tests/data/expected/hf.safetensors")
