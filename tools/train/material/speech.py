"""The pool: short utterances of many made-up speakers, kept in a folder, a shard of speakers a file.

A speaker is a synthesiser's voice with a pitch, a rate and a warp (played slower or faster, which moves pitch and formants),
so that some fifty variants of espeak-ng and six voices of flite and Festival become hundreds. Utterances are 16 kHz, cut to
what is audible, and come with the times of words and with the stretches in which the clean signal is speech: within 40 dB of
its peak, gaps up to 120 ms included. Shards are made one after another and found again, so that a pool can grow.
"""
import json
import os
import random
import sys
import tempfile

import numpy as np

from material import effects, festival, variants
from material.effects import RATE_HZ

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
from talklib import sentences, voices  # noqa: E402

SHARD = 20          # speakers
FOREIGN = "de fr es it pl nl sv ru pt tr hu cs".split()  # they read English with another sound
GAP = 12            # frames of 10 ms
KEEP = RATE_HZ // 40


def active(x):
    """[(start, end)] in samples where clean x is speech."""
    width = RATE_HZ // 100
    frames = x[:len(x) // width * width].reshape(-1, width)
    energy = np.mean(np.square(frames, dtype=np.float64), 1)
    loud = np.flatnonzero(energy > max(energy.max(initial=0), 1e-9) * 1e-4)
    spans = []
    for i in loud.tolist():
        if spans and i - spans[-1][1] <= GAP:
            spans[-1][1] = i + 1
        else:
            spans.append([i, i + 1])
    return [(a * width, b * width) for a, b in spans]


class Speaker:
    """How one speaker of the pool is made; `split` is training or held-out."""
    variant = None  # (name, text) of one of espeak-ng's that is made for the speaker

    def __init__(self, chance, split):
        kinds = ["espeak"] * 7 + ["flite"] * 2 + ["festival"] if split == "training" else ["espeak"] * 4 + ["festival"]
        self.kind = chance.choice(kinds)
        self.rate = int(chance.triangular(78, 130, 98))
        self.warp = chance.choice([1.0, chance.uniform(0.86, 1.17), chance.uniform(0.9, 1.1)])
        if self.kind == "espeak":
            variants = voices.TRAINING if split == "training" else voices.HELD_OUT
            language = chance.choice(voices.LANGUAGES[:5] if chance.random() < 0.65 else FOREIGN)
            self.voice, self.pitch = "%s+%s" % (language, chance.choice(variants)), chance.randint(10, 90)
        elif self.kind == "flite":
            self.voice, self.pitch = chance.choice(voices.FLITE), chance.choice([0, chance.randint(75, 240)])
        else:
            self.voice, self.pitch = chance.choice(festival.TRAINING if split == "training" else festival.HELD_OUT), 0

    def name(self):
        return "%s:%s/%d/%d/%.3f" % (self.kind, self.voice, self.pitch, self.rate, self.warp)


class Reader(Speaker):
    """One that reads English as it is read in English: for a recogniser."""
    made_up = 0.5  # of espeak-ng's voices

    def __init__(self, chance, split):
        training = split == "training"
        self.kind = chance.choice(["espeak"] * 6 + ["flite"] * 3 + ["festival"] if training else ["espeak", "festival"])
        self.rate, self.pitch = int(chance.triangular(78, 130, 98)), 0
        self.warp = chance.choice([1.0, chance.uniform(0.86, 1.17), chance.uniform(0.9, 1.1)]) if training else 1.0
        if self.kind == "espeak":
            name, self.pitch = chance.choice(voices.TRAINING if training else voices.HELD_OUT), chance.randint(10, 90)
            if training and chance.random() < self.made_up:
                self.variant = name, _ = "own%09d" % chance.randrange(10 ** 9), variants.variant(chance)
            self.voice = "%s+%s" % (chance.choice(voices.LANGUAGES), name)
        elif self.kind == "flite":
            self.voice, self.pitch = chance.choice(voices.FLITE), chance.choice([0, chance.randint(75, 240)])
        else:
            self.voice = chance.choice(festival.TRAINING if training else festival.HELD_OUT)


def say(speaker, texts, synthesisers):
    """[(text, samples of 16 kHz, [(start, end)] in samples or None)]; what failed is left out."""
    if speaker.kind == "festival":
        made = festival.say(speaker.voice, [(text, speaker.rate) for text in texts])
        made = [m and (m[0], m[1], np.array(m[2]) * m[0]) for m in made]
    else:
        made = []
        for text in texts:
            pcm, times = synthesisers.say("%s:%s" % (speaker.kind, speaker.voice), speaker.rate, speaker.pitch, text)
            made.append((voices.RATE_HZ, np.array(pcm, np.int16), None if times is None else np.array(times, float)))
    done = []
    for text, one in zip(texts, made):
        one = one and fitted(*one, speaker.warp)
        if one:
            done.append((text, *one))
    return done


def fitted(rate_hz, pcm, times, warp):
    """As 16 kHz, warped, trimmed, with a peak of 0.5; None where nothing is audible."""
    if len(pcm) < rate_hz // 10 or np.abs(pcm.astype(np.int32)).max() < 200:
        return None
    factor = RATE_HZ / rate_hz * warp
    x = effects.resample(pcm / 32768, factor)
    loud = np.flatnonzero(np.abs(x) > 0.012 * np.abs(x).max())
    start, end = max(0, loud[0] - KEEP), min(len(x), loud[-1] + KEEP)
    if times is not None:
        times = np.clip(times * factor, loud[0], loud[-1]).astype(int) - start
        times = times.tolist()
        if any(a >= b for a, b in times):
            times = None
    return x[start:end] * (0.5 / np.abs(x).max()), times


def made(number, seed, split, n_each, text, kind):
    """[(speaker, what Speaker.say() gives)] of a shard"""
    chance, done = random.Random("%s/%d/%d" % (split, seed, number)), []
    with tempfile.TemporaryDirectory() as folder:
        data = variants.Data(folder)
        synthesisers = voices.Synthesisers(data.path)
        for _ in range(SHARD):
            speaker = kind(chance, split)
            if speaker.variant:
                data.add(*speaker.variant)
            try:
                done.append((speaker, say(speaker, [text(chance) for _ in range(n_each)], synthesisers)))
            except voices.Missing as error:
                print("a speaker is left out: %s" % error, file=sys.stderr)
    return done


def make_shard(folder, number, seed, split, n_each, text, kind):
    """20 speakers with n_each utterances each; text(chance) gives what they say."""
    rng, index, parts, at = np.random.default_rng([seed, number]), [], [], 0
    for speaker, said in made(number, seed, split, n_each, text, kind):
        for words, x, times in said:
            spans = active(x)
            if rng.random() < 0.08:
                x = effects.codec(x, rng.choice(list(effects.CODECS)))
            index.append({"speaker": speaker.name(), "text": words, "at": at, "n": len(x), "words": times, "active": spans})
            parts.append(effects.to_pcm(x))
            at += len(x)
    base = os.path.join(folder, "%s-%d-%03d" % (split, seed, number))
    np.save(base + ".part.npy", np.concatenate(parts) if parts else np.zeros(0, "<i2"))
    os.replace(base + ".part.npy", base + ".npy")
    with open(base + ".json.part", "w", encoding="utf-8") as file:
        json.dump(index, file)
    os.replace(base + ".json.part", base + ".json")


class Utterance:
    __slots__ = ("speaker", "text", "words", "active", "_pcm")

    def __init__(self, entry, pcm):
        self.speaker, self.text, self.words, self.active = entry["speaker"], entry["text"], entry["words"], entry["active"]
        self._pcm = pcm[entry["at"]:entry["at"] + entry["n"]]

    def samples(self):
        return self._pcm.astype(np.float32) / 32768

    def __len__(self):
        return len(self._pcm)


class Pool:
    """The utterances of `shards` shards in `folder`, which are made where they are missing; of speakers of a `kind`."""

    def __init__(self, folder, shards, seed=1, split="training", n_each=6, text=sentences.sentence, kind=Speaker):
        os.makedirs(folder, exist_ok=True)
        self.utterances = []
        for number in range(shards):
            base = os.path.join(folder, "%s-%d-%03d" % (split, seed, number))
            if not os.path.exists(base + ".json"):
                make_shard(folder, number, seed, split, n_each, text, kind)
            pcm = np.load(base + ".npy", mmap_mode="r")
            with open(base + ".json", encoding="utf-8") as file:
                self.utterances += [Utterance(entry, pcm) for entry in json.load(file)]
        self.group(lambda speaker: speaker)

    def group(self, voice):
        """Sets `speakers` and their `names`; voice(speaker) is what they are told apart by."""
        self.speakers = {}
        for utterance in self.utterances:
            self.speakers.setdefault(voice(utterance.speaker), []).append(utterance)
        self.names = sorted(self.speakers)

    def draw(self, rng):
        return self.utterances[rng.integers(len(self.utterances))]
