#!/usr/bin/env python3
"""Writes tests/data/expected/wav2vec2.safetensors: what Hugging Face's wav2vec2 and HuBERT make of a made sound, with
small models of random weights in every variant that align/words reads: features, projected features, positions, each
layer and log probabilities.

    python3 tools/reference/wav2vec2.py           (needs transformers 4.45, torch, safetensors and numpy; seconds)

Every weight is a function of its tensor's name and index: tests/unit/align/net.c makes the same ones. Of the outputs
some rows are stored, ROWS of them evenly over the frames.
"""
import tempfile

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors
from transformers import HubertConfig, HubertForCTC, Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2FeatureExtractor

import toy

ROWS = 5
OTHER_VOCAB = 24
COMMON = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, vocab_size=20,
              num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, pad_token_id=0,
              conv_dim=(32,) * 7, conv_kernel=(10, 3, 3, 3, 3, 2, 2), conv_stride=(5, 2, 2, 2, 2, 2, 2))
# name: model, configuration, normalised sound, seconds
MODELS = {
    "group": (Wav2Vec2ForCTC, Wav2Vec2Config(**COMMON), True, 2.3),
    "layer": (Wav2Vec2ForCTC, Wav2Vec2Config(**COMMON, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True),
              True, 7.1),
    "hubert": (HubertForCTC, HubertConfig(**dict(COMMON, num_conv_pos_embeddings=15), feat_proj_layer_norm=False), False, 0.5),
    "adapter": (Wav2Vec2ForCTC, Wav2Vec2Config(**COMMON, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True,
                                               adapter_attn_dim=16), True, 1.0),
    "languages": (Wav2Vec2ForCTC, Wav2Vec2Config(**COMMON, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True,
                                                 adapter_attn_dim=16), True, 1.3),
}


def fnv(text):
    """32-bit FNV-1a."""
    value = 2166136261
    for byte in text.encode():
        value = (value ^ byte) * 16777619 & 0xffffffff
    return value


def scale(name, shape):
    """(mean, deviation) of a tensor's values."""
    if "norm.weight" in name:
        return 1.0, 0.1
    if name.endswith("bias"):
        return 0.0, 0.1
    if name.endswith(("weight_g", "original0")):
        return 2.0, 0.5
    return 0.0, 2.0 / np.sqrt(np.prod(shape[1:]))


def values_of(name, shape, stream=0):
    mean, deviation = scale(name, shape)
    u = toy.uniform(int(np.prod(shape)), (fnv(name), stream, 0), 7)
    return torch.from_numpy((mean + (2 * u - 1) * np.sqrt(3.0) * deviation).astype(np.float32).reshape(shape))


def load(model):
    """Weights by name, under the names that published files have."""
    state = {}
    for full, tensor in model.state_dict().items():
        name = full.replace("parametrizations.weight.original0", "weight_g").replace("parametrizations.weight.original1",
                                                                                      "weight_v")
        state[full] = values_of(name, tensor.shape)
    model.load_state_dict(state)


def speak_other(model):
    """Loads the adapter of a second language, of OTHER_VOCAB tokens, as a folder of many languages has it."""
    shapes = {name: tensor.shape for name, tensor in model._get_adapters().items()}
    shapes["lm_head.weight"], shapes["lm_head.bias"] = (OTHER_VOCAB, 64), (OTHER_VOCAB,)
    with tempfile.TemporaryDirectory() as folder:
        save_tensors({name: values_of(name, shape, 1) for name, shape in shapes.items()}, folder + "/adapter.other.safetensors")
        model.config._name_or_path = folder
        model.load_adapter("other")
    model.eval()


def run(name, kind, config, normalise, seconds, number):
    model = kind(config).eval()
    load(model)
    if name == "languages":
        speak_other(model)
    base = model.hubert if kind is HubertForCTC else model.wav2vec2
    base.encoder.layerdrop = 0.0
    samples = toy.made_audio(number, seconds)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=normalise)
    values = extractor(samples, sampling_rate=16000, return_tensors="pt").input_values
    features = base.feature_extractor(values).transpose(1, 2)
    projected = base.feature_projection(features)
    projected = projected[0] if isinstance(projected, tuple) else projected
    positions = projected + base.encoder.pos_conv_embed(projected)
    layers = []
    for layer in base.encoder.layers:
        layer.register_forward_hook(lambda _, __, output: layers.append(output[0]))
    logp = torch.log_softmax(model(values).logits, -1)
    rows = np.linspace(0, logp.shape[1] - 1, ROWS).round().astype(int)
    stages = {"features": features, "projected": projected, "positions": positions, "layer0": layers[0],
              "layer1": layers[1], "logp": logp}
    print(name, "%d frames," % logp.shape[1], ", ".join("%s %.2f" % (k, v.std()) for k, v in stages.items()))
    return {"%s.%s" % (name, k): v[0, rows].contiguous().numpy() for k, v in stages.items()}


if __name__ == "__main__":
    expected = {}
    with torch.no_grad():
        for position, (title, model) in enumerate(MODELS.items()):
            expected.update(run(title, *model, position))
    save_file(expected, toy.ROOT / "tests/data/expected/wav2vec2.safetensors")
