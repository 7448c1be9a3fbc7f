"""whisper-synth, and the one beside it, through sluice run: word error rate by material, times of segments and words.

`--digits FOLDER` adds spoken digits of people: WAV files whose names begin with the digit.
"""
import os
import re
import statistics
import sys

import numpy as np

from material import effects, english, speech
from measures import percent, read_json, sluice, write_wav
from training.folder import Card, table

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
from werlib.align import align, count  # noqa: E402

SEED, LEAD = 20265, 8000  # samples of silence at both ends
SAYS = "zero one two three four five six seven eight nine".split()

PIPELINE = """
sluice: 1
name: words
inputs: { audio: { type: file/1 } }
params: { model: { default: embedded } }
stages:
  decode: { use: audio/decode, in: { file: inputs.audio } }
  asr:
    use: whisper/transcribe
    in: { audio: decode.audio }
    with: { model: "${params.model}", language: en, word_timestamps: true, temperature: [0] }
outputs:
  json: { use: export/json, in: { transcript: asr.transcript } }
"""

ABOUT = """
A small speech recogniser with exactly Whisper's architecture (windows of 10 s, 3.4 million parameters), trained from nothing on
synthetic speech. It is what a fresh clone runs offline: real words out of real audio, in a closed domain of English. It is
no general recogniser: of people expect nonsense, and sentences outside the grammar are pulled towards it.
"""


def words(text):
    return re.sub(r"[^a-z' ]", " ", text.lower()).split()


def make(folder, cache):
    """[(name, group, utterance)] of files in `folder`"""
    known = speech.Pool(os.path.join(cache, "speech"), 2, SEED, "training", 2)
    unseen = speech.Pool(os.path.join(cache, "speech"), 2, SEED, "held-out", 2)
    free = speech.Pool(os.path.join(cache, "speech-loose"), 2, SEED, "training", 2, english.loose)
    made, rng = [], np.random.default_rng(SEED)

    def add(group, pool, change=lambda x: x):
        for one in [u for u in pool.utterances if len(u) < 9 * effects.RATE_HZ]:
            name = "%s-%03d" % (group.replace(" ", "-"), len(made))
            x = np.concatenate([np.zeros(LEAD), one.samples(), np.zeros(LEAD)])
            x = x + rng.standard_normal(len(x)) * np.sqrt(effects.power(x)) * 10 ** (-35 / 20)
            write_wav(os.path.join(folder, name + ".wav"), change(x))
            made.append((name, group, one))

    add("voices of training", known)
    add("unseen voices", unseen)
    add("white noise at 5 dB", known,
        lambda x: x + rng.standard_normal(len(x)) * np.sqrt(effects.power(x)) * 10 ** (-5 / 20))
    add("from 8 kHz", known, lambda x: effects.filtered(x, lambda hz: effects.telephone(hz, 30, 3700)))
    add("words in any order", free)
    return made


def errors(reference, found):
    return sum(count(align(words(reference), words(found))))


def score(options, model, folder, made, digits):
    """{group: text}"""
    files = [os.path.join(folder, name + ".wav") for name, _, _ in made]
    held, out = sluice(options, PIPELINE, files + digits, "--set", "model=" + model)
    wrong, total, edges, starts, right = {}, {}, [], [], 0
    with held:
        for name, group, one in made:
            found = read_json(out, name + ".json")
            wrong[group] = wrong.get(group, 0) + errors(one.text, found["text"])
            total[group] = total.get(group, 0) + len(words(one.text))
            if group != "voices of training" or not one.words or words(found["text"]) != words(one.text):
                continue
            truth = [((LEAD + a) / effects.RATE_HZ, (LEAD + b) / effects.RATE_HZ) for a, b in one.words]
            edges += [abs(found["segments"][0]["start"] - truth[0][0]), abs(found["segments"][-1]["end"] - truth[-1][1])]
            said = [w["start"] for s in found["segments"] for w in s["words"]]
            starts += [abs(a - b[0]) for a, b in zip(said, truth)] if len(said) == len(truth) else []
        for path in digits:
            name = os.path.splitext(os.path.basename(path))[0]
            right += words(read_json(out, name + ".json")["text"]) == [SAYS[int(name[0])]]
    scores = {group: percent(wrong[group] / total[group]) for group in total}
    scores["segment times, mean error"] = "%.0f ms" % (1000 * statistics.mean(edges))
    scores["word starts, mean error"] = "%.0f ms" % (1000 * statistics.mean(starts))
    if digits:
        scores["digits of people right"] = "%d of %d" % (right, len(digits))
    return scores


def measure(options):
    folder = os.path.join(options.cache, "measure", "whisper")
    os.makedirs(folder, exist_ok=True)
    made = make(folder, options.cache)
    digits = sorted(os.path.join(options.digits, f) for f in os.listdir(options.digits)
                    if re.match(r"\d.*\.wav$", f)) if options.digits else []
    models = [("whisper-synth", os.path.abspath(options.folder))] + [tuple(m.split("=", 1)) for m in options.beside]
    scores = {name: score(options, model, folder, made, digits) for name, model in models}
    figures = table(["word error rate", *scores], [[key] + [scores[name][key] for name in scores] for key in scores["whisper-synth"]])
    print(figures)
    if not os.path.exists(os.path.join(options.folder, "training.json")):
        return
    card = Card("whisper-synth", ABOUT, ["en"])
    card.trained(read_json(options.folder, "training.json"))
    card.add("Figures", figures + """
%d utterances (seed %d) that are in no training material; greedy, letters alone, through `sluice run`.
""" % (len(made), SEED))
    card.figures = {"WER of voices in training": scores["whisper-synth"]["voices of training"],
                    "of unseen voices": scores["whisper-synth"]["unseen voices"]}
    card.write(options.folder)
