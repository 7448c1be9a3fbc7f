#!/usr/bin/env python3
"""Writes tests/data/expected/transcripts.json and command.safetensors: the embedded model in PyTorch, in float32.

    python3 tools/reference/clips.py [FOLDER]...

For tests/data and each FOLDER's WAV files: the greedy tokens of text without timestamps, the sum of their log-probabilities,
how likely there is no speech, and the segments of a recording of any length, by Whisper's rules for timestamps, where each
window begins where the last complete segment ends and is a part of the spectrogram of the recording and 10 s of silence. For
command.wav: the spectrogram, the encoder's output and the logits after the prompt, those of special tokens suppressed.
"""
import json
import pathlib
import sys

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tools/train"))
from measures.whisper_torch import BLANK, load  # noqa: E402
from training import folder  # noqa: E402

MODEL = ROOT / "plugins/whisper/models/whisper-synth"
EXPECTED = ROOT / "tests/data/expected"
RATE, FRAME, WINDOW_S, MOST_TOKENS = 16000, 160, 10, 100
NO_SPEECH, FIRST_STAMPS = 0.6, 101  # a window's first segment begins within 2 s, as generation_config.json says


def read(path):
    raw = path.read_bytes()[44:]
    return np.frombuffer(raw[:len(raw) // 2 * 2], "<i2").astype(np.float32) / 32768


class Reference:
    def __init__(self):
        self.network, self.tokens = load(str(MODEL))
        self.prompt = [self.tokens.start, self.tokens.english, self.tokens.transcribe]

    def features(self, x):
        filled = np.zeros(WINDOW_S * RATE, np.float32)
        filled[:len(x)] = x
        return self.network.front(torch.from_numpy(filled)[None])

    def scores(self, ids, memory):
        """Logits after each token"""
        return self.network.decoder(torch.tensor([ids]), memory)[0][0]

    def text(self, ids):
        return "".join(self.tokens.pieces[i] for i in ids).replace(BLANK, " ")

    def greedy(self, memory):
        """Tokens of text, the sum of log-probabilities, how likely there is no speech, and the first logits"""
        t, ids, total, first = self.tokens, self.prompt + [self.tokens.no_stamps], 0.0, None
        while len(ids) < MOST_TOKENS + 10:
            scores = self.scores(ids, memory)
            if first is None:
                silent = float(scores[0].softmax(-1)[t.no_speech])
            scores[-1, t.end + 1:] = -torch.inf
            first = scores[-1].numpy() if first is None else first
            best = int(scores[-1].argmax())
            total += float(scores[-1].log_softmax(-1)[best])
            if best == t.end:
                break
            ids.append(best)
        return ids[len(self.prompt) + 1:], total, silent, first

    def allowed(self, scores, out):
        """Whisper's rules for timestamps after the tokens `out`, in place"""
        t = self.tokens
        stamp = t.first_stamp
        last, before = bool(out) and out[-1] >= stamp, len(out) < 2 or out[-2] >= stamp
        scores[t.end + 1:stamp] = -torch.inf
        if not out:
            scores[:stamp] = -torch.inf
            scores[stamp + FIRST_STAMPS:] = -torch.inf
        elif last:
            scores[slice(stamp, None) if before else slice(None, t.end)] = -torch.inf
        stamps = [i for i in out if i >= stamp]
        if stamps:
            scores[stamp:stamps[-1] + (0 if last and not before else 1)] = -torch.inf
        likely = scores.log_softmax(-1)
        if likely[stamp:].logsumexp(-1) > likely[:stamp].max():
            scores[:stamp] = -torch.inf

    def window(self, features):
        """Tokens with timestamps, and how likely there is no speech"""
        memory, ids, silent = self.network.encoder(features), list(self.prompt), None
        while len(ids) < MOST_TOKENS + 3:
            scores = self.scores(ids, memory)
            silent = float(scores[0].softmax(-1)[self.tokens.no_speech]) if silent is None else silent
            self.allowed(scores[-1], ids[3:])
            ids.append(int(scores[-1].argmax()))
            if ids[-1] == self.tokens.end:
                ids.pop()
                break
        return ids[3:], silent

    def parts(self, ids, at, length_s):
        """[(start, end, text)] of a window at `at` seconds, and how far it is done, in seconds. What comes behind the last two
        timestamps in a row was cut by the window's end, unless another timestamp ends it."""
        stamp, seconds = self.tokens.first_stamp, lambda i: (i - self.tokens.first_stamp) * FRAME * 2 / RATE
        ends = [i for i in range(1, len(ids)) if ids[i - 1] >= stamp and ids[i] >= stamp]
        whole = len(ids) > 1 and ids[-2] < stamp <= ids[-1]
        if not ends:
            last = [i for i in ids[1:] if i > stamp]
            first = seconds(ids[0]) if ids and ids[0] >= stamp else 0
            found, done = [(at + first, at + (seconds(last[-1]) if last else length_s), ids)], WINDOW_S
        else:
            done = WINDOW_S if whole else seconds(ids[ends[-1] - 1])
            ends += [len(ids)] * whole
            found = [(at + seconds(ids[a]), at + seconds(ids[b - 1]), ids[a:b]) for a, b in zip([0] + ends, ends)]
        said = [(a, b, self.text([i for i in some if i < stamp]).strip()) for a, b, some in found]
        return [one for one in said if one[2]], done

    def segments(self, x):
        whole = self.network.front(torch.from_numpy(np.pad(x, (0, WINDOW_S * RATE)))[None])
        at, end, found = 0, len(x) // FRAME, []
        while at < end:
            n = WINDOW_S * RATE // FRAME
            ids, silent = self.window(whole[:, at:at + n])
            seconds = FRAME / RATE
            some, done = self.parts(ids, at * seconds, min(n, end - at) * seconds) if silent <= NO_SPEECH else ([], WINDOW_S)
            found += some
            at += round(done / seconds)
        return [{"start": round(a, 2), "end": round(b, 2), "text": text} for a, b, text in found]


@torch.no_grad()
def main(folders):
    torch.set_num_threads(1)
    reference, made = Reference(), {}
    for path in sorted((p for f in folders for p in pathlib.Path(f).glob("*.wav")), key=lambda p: p.name):
        x = read(path)
        one = made[path.stem] = {"segments": reference.segments(x)}
        if len(x) <= WINDOW_S * RATE:
            features = reference.features(x)
            memory = reference.network.encoder(features)
            ids, total, silent, first = reference.greedy(memory)
            one.update(tokens=ids, text=reference.text(ids), sum_logprob=round(total, 4), no_speech_prob=round(silent, 5))
        if path.stem == "command":
            folder.write_safetensors(str(EXPECTED / "command.safetensors"), {
                "mel": features[0].numpy(), "encoder": memory[0].numpy(), "logits": first})
    (EXPECTED / "transcripts.json").write_text(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    main([ROOT / "tests/data", *sys.argv[1:]])
