"""Windows for a recogniser: utterances one after another at some speed, in a room, over noise, through a channel or from 8 kHz,
the tokens that are to come of them, and when each is said.

Rooms are products of spectra, a batch of windows at once; channels are gains of the front end's spectra, which costs nothing.
A quarter of the windows are near recordings in a quiet place. Behind the end of a short recording is silence, as Hugging Face
fills up a window, or a middling loudness in all bands, as openai-whisper does.
"""
import numpy as np
import torch

from material import effects, sounds
from material.effects import RATE_HZ as RATE
from models.whisper_net import MELS, PIECE, TEXT, WARPS

IGNORE = -100
ALPHABET = {c: i + 1 for i, c in enumerate("abcdefghijklmnopqrstuvwxyz'")}
HZ = np.maximum(np.arange(201) * 40.0, 1)
N_ROOMS = 48


class Window:
    """x: samples; `end`: of the recording; `near`: in a quiet place; body: tokens, spans: [(start, end) in seconds or None] of each."""

    def __init__(self, n, near):
        self.near, self.end, self.body, self.spans = near, n, [], []
        self.x, self.letters = np.zeros(n, np.float32), np.zeros(n // 320, np.int64)

    def add(self, tokens, spans):
        self.body, self.spans = self.body + tokens, self.spans + spans


class Windows:
    def __init__(self, utterances, bank, tokens):
        self.utterances, self.bank, self.tokens = utterances, bank, tokens
        self.short = [u for u in utterances if len(u.words) <= 2] or utterances
        self._white = np.random.default_rng(7).standard_normal(60 * RATE).astype(np.float32)
        self._rooms = {}

    # ---- speech ----

    def draw(self, rng, short=False):
        some = self.short if short else self.utterances
        return some[rng.integers(len(some))]

    @staticmethod
    def spoken(rng, one, near):
        """Samples, and times of words in samples, played at some speed."""
        x, words = one.samples(), np.array(one.words, float)
        if not near and rng.random() < 0.35:
            speed = rng.uniform(0.89, 1.13)
            x = np.interp(np.arange(int(len(x) / speed)) * speed, np.arange(len(x)), x).astype(np.float32)
            words /= speed
        return x * np.float32(10 ** (rng.uniform(-5, 5) / 20) / np.sqrt(effects.power(x))), words

    def written(self, text, words):
        """Tokens, and the seconds that each is said in; words: [(start, end)] in seconds"""
        tokens, spans = [], []
        for word, (start, end) in zip(text.split(), words):
            for piece in PIECE.findall(" " + word):
                some = self.tokens.word(piece)
                tokens += some
                mark = piece in ".,?"
                for i in range(len(some)):
                    spans.append((end, end + 0.1) if mark else (start + (end - start) * i / len(some),
                                                               start + (end - start) * (i + 1) / len(some)))
        return tokens, spans

    @staticmethod
    def spell(letters, text, words):
        for word, (start, end) in zip(text.lower().split(), words):
            numbers = [ALPHABET[c] for c in word if c in ALPHABET]
            first, last = int(start * 50), min(len(letters), int(end * 50) + 1)
            for t in range(first, last):
                letters[t] = numbers[min(len(numbers) - 1, (t - first) * len(numbers) // (last - first))]

    def cut(self, window, text, words, stamped):
        """An utterance that goes on behind the window: where it begins, if that can be heard, or those of its words that are whole."""
        if stamped and words[0][0] < len(window.x) / RATE - 0.1:
            window.add([self.stamp(words[0][0])], [None])
        elif not stamped:
            kept = sum(end < len(window.x) / RATE - 0.05 for _, end in words)
            window.add(*self.written(" ".join(text.split()[:kept]), words[:kept]))

    def stamp(self, seconds):
        return self.tokens.first_stamp + round(seconds / 0.02)

    def speak(self, rng, window, stamped, short):
        """Utterances into the window one after another."""
        n, left = len(window.x), 1 if short else rng.choice([1, 1, 2, 3, 9])
        at = int(rng.choice([0, rng.uniform(0, 0.3), rng.uniform(0, 1), rng.uniform(0, 2.5)]) * RATE)
        while left and at < n - RATE // 10:
            one = self.draw(rng, short)
            x, times = self.spoken(rng, one, window.near)
            if at + len(x) > n and not window.body:
                if len(x) > n:
                    continue
                at = n - len(x)
            words = (times + at) / RATE
            tokens, spans = self.written(one.text, words)
            past = at + len(x) > n
            if len(window.body) + len(tokens) > TEXT - 28 or past and rng.random() < 0.3:
                break
            window.x[at:at + len(x)] += x[:n - at]
            self.spell(window.letters, one.text, words)
            if past:
                self.cut(window, one.text, words, stamped)
                at = n
                break
            window.add([self.stamp(words[0][0])] * stamped + tokens + [self.stamp(words[-1][1])] * stamped,
                       [None] * stamped + spans + [None] * stamped)
            at += len(x)
            window.end = at
            at += int(rng.choice([rng.uniform(0, 0.3), rng.uniform(0, 1.2)]) * RATE)
            left -= 1
        window.end = self.finish(rng, n, n if at >= n else window.end)

    @staticmethod
    def finish(rng, n, spoken):
        """Where a recording ends whose speech ends at `spoken`."""
        return n if rng.random() < 0.4 else min(n, spoken + int(rng.choice([0, rng.uniform(0, 0.5), rng.uniform(0, 3)]) * RATE))

    # ---- tokens ----

    def labelled(self, rng, window, stamped):
        """Tokens, the one that follows each, and spans"""
        t = self.tokens
        head = [t.start, t.english, t.transcribe] + [t.no_stamps] * (not stamped)
        ids, spans = head + window.body, [None] * (len(head) - 1) + window.spans + [None]
        follows = ids[1:] + [t.end]
        if not window.body:
            follows = [t.no_speech] + [IGNORE] * (len(ids) - 2) + [t.end]
        if not window.body and stamped:  # a search that has to begin with a timestamp ends there
            ids, follows, spans = ids + [self.stamp(rng.uniform(0, 1))], follows + [t.end], spans + [None]
        if rng.random() < 0.08:
            past = []
            for _ in range(rng.integers(1, 4)):
                past += self.written(self.draw(rng).text, [(0, 0)] * 99)[0]
            past = [t.previous] + past[-min(60, TEXT - 2 - len(ids)):]
            ids, follows, spans = past + ids, [IGNORE] * len(past) + follows, [None] * len(past) + spans
        return ids, follows, spans

    # ---- sound ----

    def background(self, rng, n):
        """Noise of power 1, and its level in dB below speech."""
        kind = rng.random()
        if kind < 0.35:
            at = rng.integers(len(self._white) - n)
            return self._white[at:at + n], rng.uniform(-2, 25)
        if kind < 0.47:
            return sounds.babble(rng, n, lambda rng: self.draw(rng).samples()), rng.uniform(3, 35)
        return self.bank.draw(rng, n), rng.uniform(0, 38)

    def noisy(self, rng, window):
        """The window's samples over noise, up to its end, at some level and of 16 bits"""
        x, n = window.x, len(window.x)
        loud = x[np.abs(x) > 1e-4]
        x = x / (np.sqrt(np.mean(np.square(loud))) if len(loud) else 1)
        if rng.random() < 0.8:
            noise, down_db = self.background(rng, n)
            down_db = max(down_db, 20) if window.near else down_db
            x = x + noise * np.float32(10 ** (-down_db / 20))
        x[window.end:] = 0
        level = 10 ** (rng.uniform(-45, -12) / 20) / np.sqrt(effects.power(x[:window.end]) + 1e-6)
        return np.clip(np.round(x * np.float32(level * 32768)), -32768, 32767).astype(np.float32) / 32768

    def in_rooms(self, rng, windows, share=0.4):
        chosen = [w for w in windows if w.body and not w.near and rng.random() < share]
        if not chosen:
            return
        n = len(chosen[0].x)
        if n not in self._rooms:
            same = np.random.default_rng(7)
            self._rooms[n] = torch.stack([torch.fft.rfft(torch.from_numpy(effects.room(same)).float()[:n], n) for _ in range(N_ROOMS)])
        spectra = self._rooms[n][torch.from_numpy(rng.integers(N_ROOMS, size=len(chosen)))]
        heard = torch.fft.irfft(torch.fft.rfft(torch.from_numpy(np.stack([w.x for w in chosen]))) * spectra, n)
        for window, x in zip(chosen, heard.numpy()):
            window.x = x

    @staticmethod
    def channel(rng, near):
        """Gains of the frequencies HZ; one in four is sampled at 8 kHz."""
        gains = effects.channel(rng, HZ) if not near and rng.random() < 0.5 else np.ones(len(HZ))
        if rng.random() < 0.25:
            high = rng.uniform(3300, 4000)
            gains = gains * np.where(HZ > high, 10 ** (-rng.uniform(1.5, 5) * np.minimum(1, (HZ - high) / 300)), 1)
        return gains

    @staticmethod
    def masked(rng, frames, near):
        """(frames, MELS): what is not to be heard"""
        mask = np.zeros((frames, MELS), bool)
        if not near and rng.random() < 0.6:
            for _ in range(2):
                width = rng.integers(0, 11)
                at = rng.integers(MELS - width)
                mask[:, at:at + width] = True
            for _ in range(frames // 300):
                width = rng.integers(0, 20)
                at = rng.integers(frames - width)
                mask[at:at + width] = True
        return mask

    @staticmethod
    def filled(rng, windows):
        """The frame from which each window is filled up with a middling loudness"""
        return torch.tensor([w.end // 160 if rng.random() < 0.65 else len(w.x) // 160 for w in windows])

    # ---- batches ----

    def batch(self, rng, count, n):
        """Of `count` windows of n samples: samples, tokens, those that follow, spans, letters, gains, warps, masks, where filled up"""
        windows, texts = [Window(n, rng.random() < 0.25) for _ in range(count)], []
        for window in windows:
            stamped, kind = bool(rng.random() < 0.5), rng.random()
            if kind < 0.07:
                window.end = int(rng.uniform(0.05, 1) * n)
            else:
                self.speak(rng, window, stamped, short=kind < 0.2)
            texts.append(self.labelled(rng, window, stamped))
        self.in_rooms(rng, windows)
        x = torch.from_numpy(np.stack([self.noisy(rng, w) for w in windows]))
        letters = torch.from_numpy(np.stack([w.letters for w in windows]))
        gains = torch.from_numpy(np.stack([self.channel(rng, w.near) for w in windows])).float()
        warps = torch.tensor([int(rng.integers(len(WARPS))) if not w.near and rng.random() < 0.5 else len(WARPS) // 2 for w in windows])
        masks = torch.from_numpy(np.stack([self.masked(rng, n // 160, w.near) for w in windows]))
        return (x, *self.padded(texts), letters, gains, warps, masks, self.filled(rng, windows))

    def padded(self, texts):
        n = max(len(ids) for ids, _, _ in texts)
        ids, follows = torch.full((len(texts), n), self.tokens.end), torch.full((len(texts), n), IGNORE)
        spans = torch.full((len(texts), n, 2), -1.0)
        for i, (some, next_ones, times) in enumerate(texts):
            ids[i, :len(some)], follows[i, :len(some)] = torch.tensor(some), torch.tensor(next_ones)
            for k, span in enumerate(times):
                if span:
                    spans[i, k] = torch.tensor(span)
        return ids, follows, spans
