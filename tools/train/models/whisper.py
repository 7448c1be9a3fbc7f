"""whisper-synth: a recogniser in Whisper's shape, with windows of 10 s, for a closed domain of English.

Besides the next token it learns, from the known times of words, which letter each frame of the encoder belongs to (else it
stays long where it begins) and to attend to the spoken word with the first head of each layer of the decoder (word times).
--start goes on from the weights of another whisper-synth, with its tokens. --mix takes a share of the weights of another at the end:
what lies between two that are of one origin keeps what both can do (M. Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).
"""
import os
import random

import numpy as np
import torch
import torch.nn.functional as F

from material import english, pools, sounds
from material.effects import RATE_HZ as RATE
from models.whisper_net import AUDIO, MELS, SHAPES, Shape, SPECIAL, TEXT, Tokens, Whisper, learn
from models.whisper_windows import IGNORE, Windows
from training import folder

N = 10 * RATE
PIECES = 512
SECONDS = [5, 10, 10]  # of a batch's windows


class Task:
    name = "whisper-synth"
    rate, muon_rate, decay, clip = 1e-3, 0.005, 0.01, 3.0
    smoke_steps, smoke_loss = 60, 8.0
    averaged, half = 0.999, True

    def __init__(self, options):
        self.seconds, self.start, self.mix = (40 if options.smoke else 80), options.start, options.mix
        self.shape = shape_of(self.start) if self.start else SHAPES[options.shape]
        self.others, self.share = read_other(options.mix, self.shape) if options.mix else ({}, 0)
        if self.start:
            self.rate, self.muon_rate, self.tokens = 6e-4 * options.pace, 0.0035 * options.pace, Tokens.read(self.start)
        else:
            chance = random.Random(9)
            self.tokens = Tokens(*learn([english.text(chance) for _ in range(20000)], PIECES))
        both = [pools.readers(options), pools.domain_readers(options)]
        fit = [u for pool in both for u in pool.utterances if u.words and len(u.words) == len(u.text.split()) and len(u) < 9 * RATE]
        self.windows = Windows(fit, sounds.bank(options), self.tokens)
        self.material = "%d speakers, %d utterances" % (sum(len(pool.names) for pool in both), len(fit))
        self.material += "; from the weights of another" * bool(self.start)

    @staticmethod
    def is_matrix(name):
        return ".layers." in name

    def network(self):
        network = Whisper(self.shape, self.tokens.size)
        if self.start:
            network.load_state_dict(read_weights(self.start), strict=False)
        return network

    @torch.no_grad()
    def trained(self, network):
        """The network whose weights become the model's"""
        for name, value in network.state_dict().items():
            if name in self.others:
                value.lerp_(self.others[name].to(value.device), self.share)
        return network

    def batch(self, rng):
        seconds = rng.choice(SECONDS)
        return self.windows.batch(rng, max(1, self.seconds // seconds), seconds * RATE)

    def loss(self, network, x, ids, follows, spans, letters, gains, warps, masks, filled):
        memory, scores, maps = network(network.varied(network.front(x, gains), warps, masks, filled), ids)
        loss = F.cross_entropy(scores.float().flatten(0, 1), follows.flatten(), ignore_index=IGNORE)
        quiet = torch.ones(28, device=x.device)
        quiet[0] = 0.3
        loss = loss + 0.3 * F.cross_entropy(network.letters(memory).float().flatten(0, 1), letters.flatten(), quiet)
        at = (torch.arange(memory.shape[1], device=x.device) + 0.5) / 50
        said = (spans[..., :1] - 0.02 <= at) & (at < spans[..., 1:] + 0.02)
        known = spans[..., 1] >= 0
        for weights in maps if known.any() else ():
            loss = loss - 0.05 * ((weights.float() * said).sum(-1) + 1e-4).log()[known].mean()
        return loss

    def finish(self, path):
        for name, text in self.tokens.files().items():
            folder.write(os.path.join(path, name), text.encode())
        for name, value in configs(self.tokens, self.shape).items():
            folder.write_json(os.path.join(path, name), value)


# ---- files ----

def shape_of(path):
    config = folder.read_json(os.path.join(path, "config.json"))
    if config.get("model_type") != "whisper":
        raise OSError("%s is no whisper-synth" % path)
    return Shape(*(config[key] for key in ("d_model", "encoder_attention_heads", "encoder_layers", "decoder_layers")))


def read_other(mix, shape):
    """(weights, share) of FOLDER=SHARE"""
    path, _, share = mix.rpartition("=")
    if shape_of(path) != shape:
        raise OSError("--mix: %s has another shape" % path)
    return read_weights(path), float(share)


def read_weights(path):
    """Of the folder `path`: {name in Whisper: tensor}"""
    return {name[len("model."):]: torch.from_numpy(value)
            for name, value in folder.read_safetensors(os.path.join(path, "model.safetensors")).items()}


def configs(t, shape):
    common = {"bos_token_id": t.end, "eos_token_id": t.end, "pad_token_id": t.end, "decoder_start_token_id": t.start}
    names = {name: SPECIAL[0] for name in ("bos_token", "eos_token", "unk_token")}
    return {
        "config.json": {
            "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "torch_dtype": "float16",
            "vocab_size": t.size, "num_mel_bins": MELS, "d_model": shape.width, "encoder_layers": shape.encoder_layers,
            "encoder_attention_heads": shape.heads, "encoder_ffn_dim": 4 * shape.width, "decoder_layers": shape.decoder_layers,
            "decoder_attention_heads": shape.heads, "decoder_ffn_dim": 4 * shape.width, "num_hidden_layers": shape.encoder_layers,
            "max_source_positions": AUDIO, "max_target_positions": TEXT, "activation_function": "gelu",
            "scale_embedding": False, "is_encoder_decoder": True, "tie_word_embeddings": True,
            "suppress_tokens": None, "begin_suppress_tokens": None, **common},
        "generation_config.json": {
            **common, "prev_sot_token_id": t.previous, "no_timestamps_token_id": t.no_stamps,
            "lang_to_id": {"<|en|>": t.english}, "task_to_id": {"transcribe": t.transcribe, "translate": t.translate},
            "is_multilingual": True, "language": "en", "task": "transcribe", "begin_suppress_tokens": [t.end], "suppress_tokens": [],
            "max_initial_timestamp_index": 100, "max_length": TEXT, "condition_on_prev_tokens": False,
            "return_timestamps": False,
            "alignment_heads": [[layer, 0] for layer in range(shape.decoder_layers)]},
        "preprocessor_config.json": {
            "feature_extractor_type": "WhisperFeatureExtractor", "processor_class": "WhisperProcessor", "feature_size": MELS,
            "sampling_rate": RATE, "n_fft": 400, "hop_length": 160, "chunk_length": N // RATE, "n_samples": N,
            "nb_max_frames": N // 160, "padding_side": "right", "padding_value": 0.0, "return_attention_mask": False},
        "tokenizer_config.json": {"tokenizer_class": "WhisperTokenizer", "model_max_length": TEXT, "add_prefix_space": False,
                                  "pad_token": SPECIAL[0], **names},
        "special_tokens_map.json": {**names, "additional_special_tokens": SPECIAL}}


def export(network, path):
    state = {"model." + name: value for name, value in network.state_dict().items() if not name.startswith(("letters", "front", "varied"))}
    folder.write_safetensors(os.path.join(path, "model.safetensors"), folder.arrays(dict(sorted(state.items()))))
