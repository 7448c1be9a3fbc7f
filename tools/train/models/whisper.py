"""whisper-synth: a recogniser in Whisper's shape, with windows of 10 s, for a closed domain of English.

Besides the next token it learns, from the known times of words, which letter each frame of the encoder belongs to (else it
stays long where it begins) and to attend to the spoken word with the first head of each layer of the decoder (word times).
--start goes on from the weights of another whisper-synth, with its tokens.
"""
import os
import random

import numpy as np
import torch
import torch.nn.functional as F

from material import effects, english, sounds, speech
from material.scene import Scenes
from models.whisper_net import AUDIO, DECODER_LAYERS, ENCODER_LAYERS, HEADS, MELS, PIECE, SPECIAL, TEXT, Tokens, WIDTH, Whisper, learn
from training import folder

N, RATE = 160000, 16000
PIECES = 512
ALPHABET = {c: i + 1 for i, c in enumerate("abcdefghijklmnopqrstuvwxyz'")}
IGNORE = -100


class Task:
    name = "whisper-synth"
    rate, muon_rate, decay, clip = 1e-3, 0.005, 0.01, 3.0
    smoke_steps, smoke_loss = 60, 8.0

    def __init__(self, options):
        self.size, self.start = (4 if options.smoke else 8), getattr(options, "start", None)
        if self.start:
            self.rate, self.muon_rate, self.tokens = 3e-4, 0.002, Tokens.read(self.start)
        else:
            chance = random.Random(9)
            self.tokens = Tokens(*learn([english.text(chance) for _ in range(20000)], PIECES))
        pool = speech.Pool(os.path.join(options.cache, "speech-wide"), 2 if options.smoke else 24, 2, n_each=20, text=english.text)
        self.utterances = [u for u in pool.utterances if u.words and len(u.words) == len(u.text.split()) and len(u) < 9 * RATE]
        bank = sounds.Bank(os.path.join(options.cache, "sounds"), 30 if options.smoke else 240, 1)
        self.scenes = Scenes(pool, bank, N)
        self.material = "%d speakers, %d utterances" % (len(pool.names), len(self.utterances))

    @staticmethod
    def is_matrix(name):
        return ".layers." in name

    def network(self):
        network = Whisper(self.tokens.size)
        if self.start:
            network.load_state_dict(read_safetensors(os.path.join(self.start, "model.safetensors")), strict=False)
        return network

    # ---- windows ----

    def written(self, one, at):
        """Tokens of an utterance that begins at sample `at`, and the seconds that each is said in."""
        tokens, spans = [], []
        for word, (start, end) in zip(one.text.split(), one.words):
            start, end = (at + start) / RATE, (at + end) / RATE
            for piece in PIECE.findall(" " + word):
                some = self.tokens.word(piece)
                tokens += some
                mark = piece in ".,?"
                for i in range(len(some)):
                    spans.append((end, end + 0.1) if mark else (start + (end - start) * i / len(some),
                                                               start + (end - start) * (i + 1) / len(some)))
        return tokens, spans

    def spell(self, letters, one, at):
        for word, (start, end) in zip(one.text.lower().split(), one.words):
            numbers = [ALPHABET[c] for c in word if c in ALPHABET]
            first, last = (at + start) * 50 // RATE, min(AUDIO, (at + end) * 50 // RATE + 1)
            for t in range(first, last):
                letters[t] = numbers[min(len(numbers) - 1, (t - first) * len(numbers) // (last - first))]

    def place(self, rng, x, letters, stamped):
        """Utterances into x one after another; their tokens and spans."""
        t, body, spans = self.tokens, [], []
        at, left = int(rng.uniform(0, 1.5) * RATE), rng.choice([1, 1, 1, 2, 3])
        while left:
            one = self.utterances[rng.integers(len(self.utterances))]
            if at + len(one) > N:
                if body:
                    break
                at = max(0, N - len(one))
            tokens, times = self.written(one, at)
            if len(body) + len(tokens) > TEXT - 12:
                break
            samples = one.samples()
            x[at:at + len(one)] += samples * (10 ** (rng.uniform(-5, 5) / 20) / np.sqrt(effects.power(samples)))
            self.spell(letters, one, at)
            stamp = lambda s: t.first_stamp + round((at + s) / RATE / 0.02)
            body += [stamp(one.words[0][0])] * stamped + tokens + [stamp(one.words[-1][1])] * stamped
            spans += [None] * stamped + times + [None] * stamped
            at += len(one) + int(rng.uniform(0.05, 1.2) * RATE)
            left -= 1
        return body, spans

    def window(self, rng):
        """Samples, tokens, the token that follows each, spans, letters of frames"""
        t, x, letters = self.tokens, np.zeros(N), np.zeros(AUDIO, np.int64)
        stamped, silent = bool(rng.random() < 0.5), rng.random() < 0.05
        head = [t.start, t.english, t.transcribe] + [t.no_stamps] * (not stamped)
        body, spans = ([], []) if silent else self.place(rng, x, letters, stamped)
        if body:
            x = self.scenes.through(rng, x, room=0.4, channel=0.5)
            if rng.random() < 0.15:  # from 8 kHz
                x = effects.filtered(x, lambda hz: effects.telephone(hz, 30, 3800))
            x /= np.sqrt(np.mean(np.square(x[np.abs(x) > 1e-4]))) + 1e-9
        if rng.random() < 0.8 or not body and rng.random() < 0.9:
            x = x + self.scenes.background(rng, 0.1) * 10 ** (-rng.uniform(0, 40) / 20)
        ids = head + body
        if body:
            follows = ids[1:] + [t.end]
        else:
            follows = [t.no_speech] + [IGNORE] * (len(ids) - 2) + [t.end]
        return self.scenes.record(rng, x + 1e-6, -45), ids, follows, [None] * (len(head) - 1) + spans + [None], letters

    def batch(self, rng):
        made = [self.window(rng) for _ in range(self.size)]
        n = max(len(ids) for _, ids, _, _, _ in made)
        ids, follows = torch.full((len(made), n), self.tokens.end), torch.full((len(made), n), IGNORE)
        spans = torch.full((len(made), n, 2), -1.0)
        for i, (_, some, next_ones, times, _) in enumerate(made):
            ids[i, :len(some)], follows[i, :len(some)] = torch.tensor(some), torch.tensor(next_ones)
            for k, span in enumerate(times):
                if span:
                    spans[i, k] = torch.tensor(span)
        return (torch.from_numpy(np.stack([w[0] for w in made])), ids, follows, spans,
                torch.from_numpy(np.stack([w[4] for w in made])))

    def loss(self, network, x, ids, follows, spans, letters):
        memory, scores, maps = network(x, ids)
        loss = F.cross_entropy(scores.float().flatten(0, 1), follows.flatten(), ignore_index=IGNORE)
        quiet = torch.ones(28, device=x.device)
        quiet[0] = 0.3
        loss = loss + 0.3 * F.cross_entropy(network.letters(memory).float().flatten(0, 1), letters.flatten(), quiet)
        at = (torch.arange(AUDIO, device=x.device) + 0.5) / 50
        said = (spans[..., :1] - 0.02 <= at) & (at < spans[..., 1:] + 0.02)
        known = spans[..., 1] >= 0
        for weights in maps if known.any() else ():
            loss = loss - 0.05 * ((weights.float() * said).sum(-1) + 1e-4).log()[known].mean()
        return loss

    def finish(self, path):
        for name, text in self.tokens.files().items():
            folder.write(os.path.join(path, name), text.encode())
        for name, value in configs(self.tokens).items():
            folder.write_json(os.path.join(path, name), value)


# ---- files ----

def read_safetensors(path):
    import json
    import struct
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    kinds = {"F16": np.float16, "F32": np.float32}
    return {name[len("model."):]: torch.from_numpy(np.frombuffer(data[slice(*t["data_offsets"])], kinds[t["dtype"]])
                                                   .reshape(t["shape"]).astype(np.float32))
            for name, t in header.items() if name != "__metadata__"}


def configs(t):
    common = {"bos_token_id": t.end, "eos_token_id": t.end, "pad_token_id": t.end, "decoder_start_token_id": t.start}
    names = {"bos_token": SPECIAL[0], "eos_token": SPECIAL[0], "unk_token": SPECIAL[0]}
    return {
        "config.json": {
            "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "torch_dtype": "float16",
            "vocab_size": t.size, "num_mel_bins": MELS, "d_model": WIDTH, "encoder_layers": ENCODER_LAYERS,
            "encoder_attention_heads": HEADS, "encoder_ffn_dim": 4 * WIDTH, "decoder_layers": DECODER_LAYERS,
            "decoder_attention_heads": HEADS, "decoder_ffn_dim": 4 * WIDTH, "num_hidden_layers": ENCODER_LAYERS,
            "max_source_positions": AUDIO, "max_target_positions": TEXT, "activation_function": "gelu",
            "scale_embedding": False, "is_encoder_decoder": True, "tie_word_embeddings": True, **common},
        "generation_config.json": {
            **common, "prev_sot_token_id": t.previous, "no_timestamps_token_id": t.no_stamps,
            "lang_to_id": {"<|en|>": t.english}, "task_to_id": {"transcribe": t.transcribe}, "is_multilingual": True,
            "language": "en", "task": "transcribe", "begin_suppress_tokens": [t.end], "suppress_tokens": [],
            "max_initial_timestamp_index": 100, "max_length": TEXT, "condition_on_prev_tokens": False,
            "alignment_heads": [[layer, 0] for layer in range(DECODER_LAYERS)]},
        "preprocessor_config.json": {
            "feature_extractor_type": "WhisperFeatureExtractor", "processor_class": "WhisperProcessor", "feature_size": MELS,
            "sampling_rate": RATE, "n_fft": 400, "hop_length": 160, "chunk_length": N // RATE, "n_samples": N,
            "nb_max_frames": N // 160, "padding_side": "right", "padding_value": 0.0},
        "tokenizer_config.json": {"tokenizer_class": "WhisperTokenizer", "model_max_length": TEXT, "add_prefix_space": False, **names},
        "special_tokens_map.json": {**names, "additional_special_tokens": SPECIAL}}


def export(network, path):
    state = {"model." + name: value for name, value in network.state_dict().items() if not name.startswith(("letters", "front"))}
    folder.write_safetensors(os.path.join(path, "model.safetensors"), folder.arrays(dict(sorted(state.items()))))
