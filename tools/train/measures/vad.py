"""vad-synth beside other detectors: voices that it was not trained on, over noise, music and babble, with exact labels.

Rules are such that regions are the detector's own frames. Recordings with an RTTM file beside them, where there are any, are
scored against the union of its turns: those of people, in which no model of ours was trained.
"""
import os

import numpy as np

from material import sounds, speech
from material.effects import RATE_HZ
from material.scene import HOP, Scenes
from measures import percent, read_json, sluice, write_wav
from training.folder import Card, table

N, SEED, EACH = 102 * 5 * 512, 20261, 6  # samples of a clip: 16 s
LEVELS_DB = (20, 10, 5, 0)
SCENES = ("noise", "music", "babble")

PIPELINE = """
sluice: 1
name: frames
inputs: { audio: { type: file/1 } }
params: { model: { default: embedded } }
stages:
  decode: { use: audio/decode, in: { file: inputs.audio } }
  speech:
    use: audio/vad
    in: { audio: decode.audio }
    with: { model: "${params.model}", threshold: 0.5, neg_threshold: 0.5, min_speech_duration_ms: 0,
            min_silence_duration_ms: 0, speech_pad_ms: 0 }
outputs:
  json:
    use: exec/command
    in: { regions: speech.regions }
    with: { argv: [cp, "${in.regions}", "${out.copy}"], outputs: { copy: json/1 } }
"""

ABOUT = """
A detector of speech in the shape of Silero VAD 5, trained from nothing on synthetic material; `audio/vad` runs it with the
code that runs Silero's weights. Frames of 32 ms, 16 kHz.

It knows the voices of synthesisers. It tells speech from noise, music made of notes and drums, and, where the voices are soft,
many of them at once; it has never heard a person, a song with words, laughter or a real room. In meeting rooms it takes
much for speech that is none, and in steady noise up to a third of a second at the beginning. For recordings of people take
Silero's own weights; the default of `audio/vad`, a regression, misses less there.
"""


def background(rng, kind, scenes, music):
    if kind == "music":
        return music.draw(rng, N)
    if kind == "babble":
        return sounds.babble(rng, N, lambda rng: scenes.pool.draw(rng).samples())
    return scenes.bank.draw(rng, N)


class Only(sounds.Bank):
    """Sounds of some kinds"""

    def __init__(self, kinds, count, seed):
        rng = [np.random.default_rng([seed, i]) for i in range(count)]
        self._bank = [sounds.KINDS[kinds[i % len(kinds)]](r, sounds.BANK_SECONDS * RATE_HZ) for i, r in enumerate(rng)]


def make(folder, cache):
    """Clips in `folder`: [(name, group, activity of frames of 10 ms)]"""
    pool = speech.Pool(os.path.join(cache, "speech"), 3, SEED, "held-out", 4)
    quiet = [kind for kind in sounds.KINDS if kind != "music"]
    scenes, music = Scenes(pool, Only(quiet, 28, SEED), N, SEED), Only(["music"], 16, SEED + 1)
    made = []

    def clip(group, number, kind, level_db, talk=True):
        rng = np.random.default_rng([SEED, len(made)])
        x, activity = np.zeros(N), np.zeros((1, N // HOP), bool)
        if talk:
            cast = list(rng.choice(pool.names, rng.integers(1, 4), replace=False))
            x, activity = scenes.talk(rng, cast, busy=rng.uniform(0.2, 0.7))
            x = scenes.through(rng, x)
            x /= np.sqrt(np.sum(np.square(x)) / max(activity.any(0).sum() * HOP, 1) + 1e-12)
        if kind:
            x = x + background(rng, kind, scenes, music) * 10 ** (-level_db / 20)
        name = "%s-%d" % (group.replace(" ", "-"), number)
        write_wav(os.path.join(folder, name + ".wav"), scenes.record(rng, x, -40, -14))
        made.append((name, group, activity.any(0)))

    for number in range(EACH):
        clip("clean", number, None, 0)
        for kind in SCENES:
            for level in LEVELS_DB:
                clip("%s %d dB" % (kind, level), number, kind, level)
            clip("%s alone" % kind, number, kind, 0, talk=False)
    return made


def found(path, n):
    heard = np.zeros(n, bool)
    for region in read_json(path)["regions"]:
        heard[round(region["start"] * 100):round(region["end"] * 100)] = True
    return heard


def turns(path, n):
    spoken = np.zeros(n, bool)
    with open(path, encoding="utf-8") as file:
        for fields in map(str.split, file):
            spoken[round(float(fields[3]) * 100):round((float(fields[3]) + float(fields[4])) * 100)] = True
    return spoken


class Score:
    def __init__(self):
        self.spoken = self.missed = self.silent = self.false = 0

    def add(self, truth, heard):
        self.spoken, self.missed = self.spoken + truth.sum(), self.missed + (truth & ~heard).sum()
        self.silent, self.false = self.silent + (~truth).sum(), self.false + (~truth & heard).sum()

    def text(self):
        """Share of frames that are wrong; of speech missed, of the rest taken for speech."""
        error = (self.missed + self.false) / (self.spoken + self.silent)
        missed = percent(self.missed / self.spoken) if self.spoken else "-"
        return "%s (%s, %s)" % (percent(error), missed, percent(self.false / self.silent) if self.silent else "-")


def score(options, model, folder, clips, recordings):
    """{group: Score} of one detector"""
    held, out = sluice(options, PIPELINE, [os.path.join(folder, name + ".wav") for name, _, _ in clips] + recordings,
                       "--set", "model=" + model)
    scores = {}
    with held:
        for name, group, truth in clips:
            heard = found(os.path.join(out, name + ".json"), len(truth))
            for key in {group, "all"} | ({"%s, all levels" % group.split()[0]} if group.endswith("dB") else set()):
                scores.setdefault(key, Score()).add(truth, heard)
        for path in recordings:
            name = os.path.splitext(os.path.basename(path))[0]
            n = os.path.getsize(path) // 2 * 100 // RATE_HZ  # 16 kHz, 16 bits, mono
            scores.setdefault("recording " + name, Score()).add(turns(path[:-4] + ".rttm", n),
                                                                found(os.path.join(out, name + ".json"), n))
    return scores


def measure(options):
    folder = os.path.join(options.cache, "measure", "vad")
    os.makedirs(folder, exist_ok=True)
    clips = make(folder, options.cache)
    recordings = sorted(os.path.join(options.recordings, name) for name in os.listdir(options.recordings)
                        if name.endswith(".wav") and os.path.exists(os.path.join(options.recordings, name[:-4] + ".rttm"))
                        ) if options.recordings else []
    models = [("vad-synth", os.path.abspath(options.folder))] + [tuple(m.split("=", 1)) for m in options.beside]
    scores = {name: score(options, model, folder, clips, recordings) for name, model in models}
    order = ["all", "clean"] + ["%s, all levels" % kind for kind in SCENES]
    order += ["%s %d dB" % (kind, level) for kind in SCENES for level in LEVELS_DB] + ["%s alone" % kind for kind in SCENES]
    order += sorted(key for key in scores["vad-synth"] if key.startswith("recording"))
    rows = [[key] + [scores[name][key].text() for name, _ in models] for key in order]
    card = Card("vad-synth", ABOUT, ["any"])
    card.trained(read_json(options.folder, "training.json"))
    card.facts["size"] = "309,633 parameters, F16"
    card.add("Wrong frames (of speech missed, of the rest taken for speech)", table(["", *scores], rows) + """
Frames of 10 ms against labels that are exact: where the clean signal is within 40 dB of its peak, gaps up to 120 ms included.
%d clips of 16 s; voices, noises and music are others than those of training, but made in the same ways, which favours this
model. Of recordings, excerpts of 30 s with people, the labels are the turns of their RTTM files, short pauses included; trn00,
trn01 and trn02 have loud speech that is not in their turns. All through `sluice run`.
""" % len(clips))
    card.figures = {"wrong frames": scores["vad-synth"]["all"].text().split(" (")[0]}
    card.write(options.folder)
    print(table(["", *scores], rows))
