#!/usr/bin/env python3
"""Fits the weights in embedded.c: prints the C table for it, and how well it does.

    python3 plugins/audio/vad/fit.py [CLIPS]

Speech comes from free synthesisers (espeak-ng and flite must be installed), so what is speech is known
to the sample: where the clean signal is within 40 dB of its peak, gaps up to 120 ms included. It is set
into rooms and through channels made of random numbers, and mixed with noise, hum, engines, clicks,
bursts, beeps and notes made here. A third of the clips have no speech. No recording is used. Needs numpy
and a C compiler. The synthesisers differ a little between versions, and so do the last digits.
"""
import ctypes
import os
import random
import re
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
PLUGINS = os.path.dirname(os.path.dirname(HERE))
RATE, FRAME, SECONDS = 16000, 512, 20

VERBS = """record open close bring move check send carry follow answer describe measure paint repair visit""".split()
NOUNS = """the news|the basement|a yellow bicycle|seven boxes|his sister|the old station|our meeting|the report|
a cup of coffee|thirty five pages|the northern river|their garden|the second window|an empty bottle|the museum""".split("|")
TAILS = """before noon|without asking|on the first of May|in the kitchen|for a while|if you can|next week|as usual|
with great care|under the bridge|after the show|at half past eight|in a hurry|again|very slowly""".split("|")
OTHERS = {
    "de": ["Guten Morgen, wir treffen uns heute um acht Uhr.", "Das Fenster im zweiten Stock ist noch offen."],
    "fr-fr": ["Bonjour, je voudrais une table pour deux personnes.", "Le train part dans vingt minutes."],
    "es": ["Buenos dias, la reunion empieza a las nueve.", "La ventana del segundo piso esta abierta."],
    "it": ["Buongiorno, il treno parte tra dieci minuti.", "Grazie mille e a presto."],
    "pl": ["Dzien dobry, spotkanie zaczyna sie o dziewiatej.", "Okno jest otwarte."],
    "cmn": ["你好，今天天气很好。", "我们明天八点见面。"],
}
ENGLISH = ["en-us", "en-gb", "en-us", "en-gb-x-rp", "en-gb-scotland"]
VARIANTS = "m1 m2 m3 m4 m5 m6 m7 f1 f2 f3 f4 f5 croak".split()

rng = np.random.default_rng(1)
pick = random.Random(1)


# ---- speech ----

def sentence():
    return f"{pick.choice(VERBS).capitalize()} {pick.choice(NOUNS).strip()} {pick.choice(TAILS).strip()}."


def speak():
    """One sentence in a random voice, at 16 kHz."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as f:
        if pick.random() < 0.3:
            stretch = f"duration_stretch={pick.uniform(0.8, 1.3):.2f}"
            command = ["flite", "-voice", pick.choice("awb rms slt kal16".split()), "--setf", stretch,
                       "-t", sentence(), "-o", f.name]
        else:
            lang = pick.choice(ENGLISH + list(OTHERS))
            text = pick.choice(OTHERS[lang]) if lang in OTHERS else sentence()
            command = ["espeak-ng", "-v", f"{lang}+{pick.choice(VARIANTS)}", "-s", str(pick.randint(120, 220)),
                       "-p", str(pick.randint(20, 80)), "-w", f.name, text]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        data = open(f.name, "rb").read()
    rate = int.from_bytes(data[24:28], "little")
    x = np.frombuffer(data[44:44 + len(data[44:]) // 2 * 2], np.int16).astype(np.float32) / 32768
    n = len(x) * RATE // rate
    return np.interp(np.arange(n) * rate / RATE, np.arange(len(x)), x)


def active(x):
    """1 for every sample of clean `x` that is speech."""
    width = RATE // 100
    n = len(x) // width
    power = (x[:n * width].reshape(n, width) ** 2).mean(1)
    on = power > max(power.max(), 1e-9) * 1e-4
    loud = np.flatnonzero(on)
    for a, b in zip(loud[:-1], loud[1:]):
        if b - a <= 12:
            on[a:b] = True
    ret = np.zeros(len(x))
    ret[:n * width] = np.repeat(on, width)
    return ret


def filtered(x, gain):
    """x with its spectrum multiplied by gain(frequencies)."""
    return np.fft.irfft(np.fft.rfft(x) * gain(np.maximum(np.fft.rfftfreq(len(x), 1 / RATE), 1)), len(x))


def room(x):
    n = int(RATE * rng.uniform(0.08, 0.6))
    h = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n) * rng.uniform(0.02, 0.3) / np.sqrt(n / 20)
    h[0] = 1
    size = len(x) + n
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(h, size), size)[:len(x)]


def channel(x):
    """Random tone control; sometimes a telephone."""
    levels = rng.uniform(-8, 8, 6)
    x = filtered(x, lambda f: 10 ** (np.interp(np.log(f), np.log(np.geomspace(20, 8000, 6)), levels) / 20))
    if rng.random() < 0.2:
        x = filtered(x, lambda f: 1 / (1 + (300 / f) ** 6) / (1 + (f / 3400) ** 10))
    return x


# ---- other sounds ----

def coloured(n):
    slope = rng.uniform(0, 2)
    return filtered(rng.standard_normal(n), lambda f: np.maximum(f, 30) ** (-slope / 2))


def band(x):
    low, high = 10 ** rng.uniform(1.7, 3), 10 ** rng.uniform(3.1, 3.9)
    return filtered(x, lambda f: 1 / (1 + (low / f) ** 4) / (1 + (f / high) ** 4))


def wander(n, step):
    """A random line through a value every `step` seconds."""
    at = np.arange(0, n + 2 * step * RATE, step * RATE)
    return np.interp(np.arange(n), at, rng.standard_normal(len(at)))


def noise(n):
    t = np.arange(n) / RATE
    kind = pick.randrange(9)
    x = coloured(n)
    x /= x.std()
    if kind == 1:
        x = band(x)
    elif kind == 2:  # mains
        f = pick.choice([50, 60, 100, 120])
        x = 0.05 * x + sum(rng.random() / h * np.sin(2 * np.pi * f * h * t + rng.uniform(0, 6)) for h in range(1, 9))
    elif kind == 3:  # pulsing
        x *= 1 + rng.uniform(0.2, 1) * np.sin(2 * np.pi * rng.uniform(0.1, 8) * t)
    elif kind == 4:  # coming and going
        x *= 10 ** (5 * wander(n, 1.5) / 20)
    elif kind == 5:  # engine
        phase = 2 * np.pi * np.cumsum(rng.uniform(40, 200) * (1 + 0.1 * wander(n, 2))) / RATE
        x = 0.3 * x + sum(rng.uniform(0.2, 1) / h * np.sin(h * phase) for h in range(1, 15))
    return x / x.std()


def event(kind):
    n = int(RATE * rng.uniform(0.02, 0.6))
    t = np.arange(n) / RATE
    if kind == 0:  # click
        n = rng.integers(20, 400)
        return rng.standard_normal(n) * np.exp(-np.arange(n) / (n / 4))
    if kind == 1:
        return band(rng.standard_normal(n)) * np.hanning(n)
    if kind == 2:
        return np.sin(2 * np.pi * rng.choice([350, 440, 620, 800, 1000, 2000]) * t)
    if kind == 3:  # note
        f = 110 * 2 ** (rng.integers(0, 36) / 12)
        return sum(np.exp(-6 * t) / h ** 1.5 * np.sin(2 * np.pi * f * h * t) for h in range(1, 8))
    return band(rng.standard_normal(n)) * np.exp(-8 * t)


def events(n):
    x = np.zeros(n)
    kind, at = pick.randrange(5), 0
    while True:
        at += int(RATE * rng.exponential(0.6))
        e = event(kind)
        if at + len(e) >= n:
            return x / (np.abs(x).max() + 1e-9)
        x[at:at + len(e)] += e


# ---- clips ----

def talk(n):
    """Sentences with pauses, and where they are."""
    x, on = np.zeros(n), np.zeros(n)
    at = int(RATE * rng.uniform(0, 2.5))
    while True:
        s = speak()
        if at + len(s) >= n:
            break
        a = active(s)
        x[at:at + len(s)] = s / (s[a > 0].std() + 1e-6) * 10 ** (rng.uniform(-8, 2) / 20)
        on[at:at + len(s)] = a
        at += len(s) + int(RATE * pick.choice([rng.uniform(0, 0.4), rng.uniform(0.3, 1.2), rng.uniform(1, 5)]))
    if rng.random() < 0.5:
        x = room(x)
    if rng.random() < 0.6:
        x = channel(x)
    return (x / x[on > 0].std() if on.any() else x), on


def clip():
    """A recording and, for every frame, the share of it that is speech."""
    n = SECONDS * RATE
    speech = rng.random() > 0.3
    x, on = talk(n) if speech else (np.zeros(n), np.zeros(n))
    if rng.random() < 0.9:
        x = x + noise(n) * 10 ** (-rng.uniform(0, 45) / 20)
    if rng.random() < 0.4:
        x = x + channel(noise(n)) * 10 ** (-rng.uniform(5, 40) / 20)
    if rng.random() < 0.35:
        x = x + events(n) * 10 ** (rng.uniform(-30, 8) / 20) * (1 if speech else 3)
    if rng.random() < 0.1:  # the line drops out
        for at in rng.integers(0, n - RATE, 3):
            end = at + rng.integers(RATE // 10, RATE)
            x[at:end] = on[at:end] = 0
    x = np.clip(x * 10 ** (rng.uniform(-45, -14) / 20), -1, 1)
    n_frames = n // FRAME
    return (np.round(x * 32768) / 32768).astype(np.float32), on[:n_frames * FRAME].reshape(n_frames, FRAME).mean(1)


# ---- features and fit ----

class Samples(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("n", ctypes.c_int64)]


class Features:
    """features.c, compiled for this run."""

    def __init__(self, folder):
        names = re.search(r"enum vad_feature \{(.*?)\}", open(os.path.join(HERE, "features.h")).read(), re.S).group(1)
        self.names = re.findall(r"^\s*(VAD_\w+),", names, re.M)
        library = os.path.join(folder, "features.so")
        sources = [os.path.join(HERE, "features.c"), os.path.join(HERE, "samples.c")]
        sources += [os.path.join(PLUGINS, "num", f + ".c") for f in ("fft", "safetensors", "err")]
        subprocess.run(["cc", "-shared", "-fPIC", "-O3", "-D_GNU_SOURCE", "-I", PLUGINS, "-I",
                        os.path.join(os.path.dirname(PLUGINS), "core", "include"), *sources, "-ljansson", "-lm",
                        "-o", library], check=True)
        self.c = ctypes.CDLL(library)
        self.handle = ctypes.c_void_p()
        assert self.c.vad_features_create(ctypes.byref(self.handle), None) == 0

    def of(self, x):
        samples = Samples(x.ctypes.data, len(x))
        ret = np.zeros(((len(x) + FRAME - 1) // FRAME, len(self.names)), np.float32)
        self.c.vad_features_reset(self.handle)
        for i, row in enumerate(ret):
            self.c.vad_features_next(self.handle, ctypes.byref(samples), ctypes.c_int64(i),
                                     row.ctypes.data_as(ctypes.c_void_p))
        return ret


def fit(x, y, steps=30, penalty=0.1):
    """Logistic regression by Newton's method, on features scaled to unit deviation: weights, bias.

    Speech and the rest weigh the same, whatever their shares in the clips: a lost word is worse than a
    second of noise.
    """
    share = np.where(y, 0.5 / y.mean(), 0.5 / (~y).mean())
    mean, deviation = x.mean(0), x.std(0)
    a = np.c_[(x - mean) / deviation, np.ones(len(x))]
    w = np.zeros(a.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-a @ w))
        hessian = (a * (share * p * (1 - p))[:, None]).T @ a + penalty * np.eye(len(w))
        w -= np.linalg.solve(hessian, a.T @ (share * (p - y)) + penalty * w)
    return w[:-1] / deviation, w[-1] - (w[:-1] * mean / deviation).sum()


def report(name, p, y):
    print(f"// {name}: {len(y)} frames, {((p > 0.5) == y).mean():.4f} right, "
          f"{(p[y] <= 0.5).mean():.4f} of speech missed, {(p[~y] > 0.5).mean():.4f} of the rest taken for it")


def main():
    n_clips = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    with tempfile.TemporaryDirectory() as folder:
        features = Features(folder)
        x, share, group = [], [], []
        for i in range(n_clips):
            samples, on = clip()
            x.append(features.of(samples)[:len(on)])
            share.append(on)
            group.append(np.full(len(on), i))
    x, share, group = np.concatenate(x).astype(float), np.concatenate(share), np.concatenate(group)
    clear = (share < 0.1) | (share > 0.6)
    x, y, held_out = x[clear], share[clear] > 0.5, group[clear] % 5 == 0
    weights, bias = fit(x[~held_out], y[~held_out])
    print("static const float weights[VAD_N_FEATURES] = {")
    for name, w in zip(features.names, weights):
        print(f"    [{name}] = {w:.4f}f,")
    print(f"}};\nstatic const float bias = {bias:.4f}f;")
    for name, rows in (("fitted to", ~held_out), ("held out", held_out)):
        report(name, 1 / (1 + np.exp(-(x[rows] @ weights + bias))), y[rows])


if __name__ == "__main__":
    main()
