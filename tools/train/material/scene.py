"""Scenes: who speaks when, in a room, through a channel, over other sounds, at some level. Lengths are fixed for a Scenes, so
that rooms and channels are products of spectra; what a room adds at the end comes out at the beginning, as from a moment before.
"""
import numpy as np

from material import effects, sounds
from material.effects import RATE_HZ

HOP = RATE_HZ // 100  # activity is given for frames of 10 ms
N_ROOMS = 64


class Scenes:
    def __init__(self, pool, bank, n, seed=7):
        """`n` samples each, a multiple of HOP."""
        self.pool, self.bank, self.n = pool, bank, n
        self._hz = np.maximum(np.fft.rfftfreq(n, 1 / RATE_HZ), 1)
        rng = np.random.default_rng(seed)
        self._rooms = [np.fft.rfft(effects.room(rng)[:n], n).astype(np.complex64) for _ in range(N_ROOMS)]

    def talk(self, rng, cast, overlap=0.1, busy=0.5, pauses=True):
        """Samples, and activity (len(cast), n / HOP): the cast's utterances one after another, some over the one before.
        The scene begins anywhere in their talk. `busy` is the share of short pauses; `pauses` within an utterance are
        silence, or part of it."""
        x, activity = np.zeros(self.n), np.zeros((len(cast), self.n // HOP), bool)
        gains = 10 ** (rng.uniform(-7, 3, len(cast)) / 20)
        at, who = -int(rng.uniform(0, 4) * RATE_HZ), int(rng.integers(len(cast)))
        while at < self.n:
            utterances = self.pool.speakers[cast[who]]
            one = utterances[rng.integers(len(utterances))]
            self._place(x, activity[who], one, at, gains[who] * 10 ** (rng.uniform(-3, 3) / 20), pauses)
            at += len(one)
            if rng.random() < 0.75:
                who = int(rng.integers(len(cast)))
            if rng.random() < overlap:
                at -= int(rng.uniform(0.2, 1.5) * RATE_HZ)
            else:
                at += int(RATE_HZ * (rng.uniform(0, 0.5) if rng.random() < busy else rng.exponential(1.2)))
        return x, activity

    def _place(self, x, activity, one, at, gain, pauses):
        samples = one.samples()
        loud = sum(float(np.sum(np.square(samples[a:b]))) for a, b in one.active)
        length = sum(b - a for a, b in one.active)
        if length == 0 or loud == 0 or at + len(samples) <= 0:
            return
        first, end = max(0, -at), min(len(samples), self.n - at)
        x[at + first:at + end] += samples[first:end] * (gain / np.sqrt(loud / length))
        for a, b in one.active if pauses else [(one.active[0][0], one.active[-1][1])]:
            activity[max(0, round((at + a) / HOP)):max(0, round((at + b) / HOP))] = True

    def through(self, rng, x, room=0.6, channel=0.6):
        """x in a room and through a channel, each with that probability."""
        spectrum = None
        if rng.random() < room:
            spectrum = self._rooms[rng.integers(N_ROOMS)]
        if rng.random() < channel:
            gains = effects.channel(rng, self._hz)
            spectrum = gains if spectrum is None else spectrum * gains
        return x if spectrum is None else np.fft.irfft(np.fft.rfft(x) * spectrum, self.n)

    def background(self, rng, babble=0.2):
        """Power 1; sometimes it begins or ends within the scene."""
        if rng.random() < babble:
            x = sounds.babble(rng, self.n, lambda rng: self.pool.draw(rng).samples())
        else:
            x = self.bank.draw(rng, self.n)
        if rng.random() < 0.15:
            edge = int(rng.integers(self.n))
            x[slice(0, edge) if rng.random() < 0.5 else slice(edge, None)] *= 10 ** (rng.uniform(-60, -20) / 20)
        return self.through(rng, x, room=0.2, channel=0.4)

    def record(self, rng, x, quietest_db=-50, loudest_db=-12):
        """At some level, of 16 bits; now and then too loud for them."""
        x = x / np.sqrt(effects.power(x)) * 10 ** (rng.uniform(quietest_db, loudest_db) / 20)
        return np.clip(np.round(x * 32768), -32768, 32767).astype(np.float32) / 32768
