"""Sounds that are not speech, made of random numbers: noise, mains, engines, clicks, beeps, notes, music; and babble.

All functions return n samples of 16 kHz with a power of 1. `rng` is a numpy.random.Generator.
"""
import os

import numpy as np

from material.effects import RATE_HZ, filtered, power

BANK_SECONDS = 20


def level(x):
    return x / np.sqrt(power(x))


def wander(rng, n, step_s):
    """A random line through a value every step_s seconds."""
    at = np.arange(0, n + 2 * step_s * RATE_HZ, step_s * RATE_HZ)
    return np.interp(np.arange(n), at, rng.standard_normal(len(at)))


def coloured(rng, n):
    slope = rng.uniform(0, 2.2)
    return level(filtered(rng.standard_normal(n), lambda f: np.maximum(f, 30) ** (-slope / 2)))


def band(rng, n):
    low, high = 10 ** rng.uniform(1.7, 3.2), 10 ** rng.uniform(3.1, 3.9)
    return level(filtered(rng.standard_normal(n), lambda f: 1 / (1 + (low / f) ** 4) / (1 + (f / high) ** 4)))


def mains(rng, n):
    t, f = np.arange(n) / RATE_HZ, rng.choice([50, 60, 100, 120])
    tones = sum(rng.random() / h * np.sin(2 * np.pi * f * h * t + rng.uniform(0, 6)) for h in range(1, 9))
    return level(0.1 * coloured(rng, n) + tones)


def pulsing(rng, n):
    t = np.arange(n) / RATE_HZ
    return level(coloured(rng, n) * (1 + rng.uniform(0.2, 1) * np.sin(2 * np.pi * rng.uniform(0.1, 8) * t)))


def passing(rng, n):
    return level(coloured(rng, n) * 10 ** (6 * wander(rng, n, rng.uniform(0.4, 2)) / 20))


def engine(rng, n):
    phase = 2 * np.pi * np.cumsum(rng.uniform(40, 200) * (1 + 0.1 * wander(rng, n, 2))) / RATE_HZ
    return level(0.4 * coloured(rng, n) + sum(rng.uniform(0.2, 1) / h * np.sin(h * phase) for h in range(1, 15)))


# ---- events and music ----

def note(rng, hz, n, brightness, vibrato=0.0):
    """A struck or a bowed tone."""
    t = np.arange(n) / RATE_HZ
    phase = 2 * np.pi * hz * t + vibrato * np.sin(2 * np.pi * rng.uniform(4, 7) * t)
    x = sum(h ** -brightness * np.sin(h * phase) for h in range(1, 12) if h * hz < 7500)
    shape = np.minimum(t / 0.06, 1) * np.minimum((n / RATE_HZ - t) / 0.1, 1) if vibrato else np.exp(-t * rng.uniform(1, 8))
    return x * shape


def drum(rng, n):
    t = np.arange(n) / RATE_HZ
    if rng.random() < 0.5:
        return 2 * np.sin(2 * np.pi * 60 * t * np.exp(-4 * t)) * np.exp(-12 * t)
    return filtered(rng.standard_normal(n), lambda f: 1 / (1 + (rng.uniform(500, 4000) / f) ** 2)) * np.exp(-rng.uniform(15, 50) * t)


def add(x, part, at):
    """Adds what of part lies within x."""
    end = min(len(x), at + len(part))
    if at < end:
        x[at:end] += part[:end - at]


def music(rng, n):
    """Chords, a bass, a melody and drums in time."""
    x, beat = np.zeros(n), RATE_HZ * 60 / rng.uniform(60, 170)
    root, minor = rng.integers(33, 50), rng.random() < 0.5
    scale = np.array([0, 2, 3, 5, 7, 8, 10] if minor else [0, 2, 4, 5, 7, 9, 11])
    brightness, vibrato = rng.uniform(0.8, 2.5), rng.choice([0, 0, 0.3, 0.8])
    drums, chords, melody = rng.random() < 0.6, rng.random() < 0.8, rng.random() < 0.8
    pitch = lambda degree: 440 * 2 ** ((root + scale[degree % 7] + 12 * (degree // 7) - 57) / 12)
    for i in range(int(n / beat) + 1):
        at, degree = int(i * beat), rng.integers(0, 7)
        if i % 4 == 0:
            add(x, note(rng, pitch(degree), int(4 * beat), brightness), at)
            for third in (0, 2, 4) if chords else ():
                add(x, 0.6 * note(rng, pitch(7 + degree + third), int(4 * beat), brightness, vibrato), at)
        for half in (0, 0.5) if melody else ():
            if rng.random() < 0.7:
                long = int(beat * rng.choice([0.5, 1, 2]))
                add(x, note(rng, pitch(14 + rng.integers(0, 10)), long, brightness, vibrato), at + int(half * beat))
        for quarter in range(4) if drums else ():
            if rng.random() < 0.5:
                add(x, drum(rng, int(0.2 * RATE_HZ)), at + int(quarter * beat / 4))
    return level(x + 1e-4 * rng.standard_normal(n))


def event(rng):
    kind, n = rng.integers(6), int(RATE_HZ * rng.uniform(0.02, 0.6))
    t = np.arange(n) / RATE_HZ
    if kind == 0:
        n = int(rng.integers(20, 400))
        return rng.standard_normal(n) * np.exp(-np.arange(n) / (n / 4))
    if kind == 1:
        return band(rng, n) * np.hanning(n)
    if kind == 2:
        return np.sin(2 * np.pi * rng.choice([350, 440, 620, 800, 1000, 2000]) * t)
    if kind == 3:
        return note(rng, 110 * 2 ** (rng.integers(0, 36) / 12), n, 1.5)
    if kind == 4:
        return np.sin(2 * np.pi * np.cumsum(np.linspace(*rng.uniform(200, 3000, 2), n)) / RATE_HZ) * np.hanning(n)
    return band(rng, n) * np.exp(-8 * t)


def events(rng, n):
    x, at = 1e-4 * rng.standard_normal(n), 0
    while True:
        at += int(RATE_HZ * rng.exponential(0.6))
        if at >= n:
            return level(x)
        one = event(rng)
        add(x, one / (np.abs(one).max() + 1e-9) * 10 ** (rng.uniform(-15, 0) / 20), at)


KINDS = {"coloured": coloured, "band": band, "mains": mains, "pulsing": pulsing, "passing": passing, "engine": engine,
         "events": events, "music": music}
WEIGHTS = {"coloured": 3, "band": 1, "mains": 1, "pulsing": 1, "passing": 2, "engine": 1, "events": 2, "music": 4}


def babble(rng, n, draw):
    """Five to nine voices at once, of which none can be followed; draw(rng) gives samples of one."""
    x = np.zeros(n)
    for _ in range(rng.integers(5, 10)):
        at = -int(rng.integers(0, 2 * RATE_HZ))
        while at < n:
            one = draw(rng)
            cut = one[max(0, -at):]
            if len(cut):
                add(x, cut / np.sqrt(power(cut)), max(0, at))
            at += len(one) + int(rng.integers(0, RATE_HZ // 3))
    return level(x)


class Bank:
    """Sounds of 20 s that are made once and kept in a file; draw() takes a piece of one."""

    def __init__(self, folder, count, seed):
        path = os.path.join(folder, "sounds-%d-%d.npy" % (seed, count))
        if not os.path.exists(path):
            names = [name for name in KINDS for _ in range(WEIGHTS[name])]
            bank = np.empty((count, BANK_SECONDS * RATE_HZ), np.float16)
            for i in range(count):
                bank[i] = KINDS[names[i % len(names)]](np.random.default_rng([seed, i]), bank.shape[1])
            os.makedirs(folder, exist_ok=True)
            np.save(path + ".part.npy", bank)
            os.replace(path + ".part.npy", path)
        self._bank = np.load(path, mmap_mode="r")

    def draw(self, rng, n):
        """n samples, at most 20 s."""
        x = self._bank[rng.integers(len(self._bank))]
        at = rng.integers(0, len(x) - n + 1)
        return level(x[at:at + n].astype(np.float32))


def bank(options):
    """The one that models learn from, in the cache."""
    return Bank(os.path.join(options.cache, "sounds"), 30 if options.smoke else 240, 1)
