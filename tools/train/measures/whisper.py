"""whisper-synth, and the one beside it, through sluice run on the same files: word error rate by material, times of segments and
words, words found where nobody speaks; and whether PyTorch's greedy search finds the same texts (whisper_torch.py).

`--digits FOLDER` adds spoken digits of people: WAV files whose names begin with the digit. `--people FOLDER` adds what they read.
"""
import os
import re
import statistics
import sys

import numpy as np

from material import effects, english, sounds, speech
from measures import percent, read_json, sluice, write_wav
from training.folder import Card, table

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
from talklib import sentences  # noqa: E402
from werlib.align import align, count  # noqa: E402

SEED, LEAD = 20265, 8000  # samples of silence at both ends
KNOWN, VARIANTS, KED = "voices of training", "espeak-ng variants never heard", "Festival ked, never heard"
UNSEEN, NARROW = "all voices never heard", "files of 8 kHz"
PEOPLE = "people reading books (no training material is like it)"
ALIKE = 50  # files on which the search is compared with PyTorch's
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
    with: { model: "${params.model}", language: en, temperature: [0], %s }
outputs:
  json: { use: export/json, in: { transcript: asr.transcript } }
"""

ABOUT = """
A small speech recogniser with exactly Whisper's architecture, trained from nothing on synthetic speech. It is what a fresh clone runs
offline: real words out of real audio, in a closed domain of English (meetings, planning, voice commands, small talk, numbers, money and
times; some 640 words, and 400 common ones besides). It is no general recogniser: of people expect nonsense, and sentences that are
unlike the grammar's are pulled towards it.

- 3.44 million parameters, F16: windows of 10 s, 80 log-mel bins, 4 + 2 layers of width 192 with 3 heads, front end and prompt Whisper's.
- 1022 tokens: 512 byte-pair pieces of letters, apostrophe and . , ? (nothing else can be written), Whisper's 9 special ones in its
  order, timestamps from 0.00 to 10.00 s. English and transcribing alone were trained, with and without timestamps, some of it with
  `<|startofprev|>` and text before. Where nobody speaks `<|nospeech|>` is likely at the start, and a forced prompt gives no text.
- The first heads of both decoder layers follow the spoken word (`alignment_heads`). Shorter encoder windows (5 s) were trained too.
- A segment that the window's end cuts has its start time alone, so that Whisper's rule for the next window works.
"""


def words(text):
    return re.sub(r"[^a-z' ]", " ", text.lower()).split()


class Known(speech.Reader):
    made_up = 0


def recordings(cache):
    """[(group, utterance, samples, rate in Hz)]; no utterance where nobody speaks"""
    folder, rng = os.path.join(cache, "speech-test"), np.random.default_rng(SEED)
    known = speech.Pool(folder, 3, SEED, "training", 3, sentences.sentence, Known)
    unseen = speech.Pool(folder, 4, SEED, "held-out", 3, sentences.sentence, Known)
    free = speech.Pool(folder, 3, SEED + 1, "training", 3, english.loose, Known)
    made = []

    def add(group, pool, change=lambda x: x, rate_hz=effects.RATE_HZ):
        for one in [u for u in pool.utterances if len(u) < 9 * effects.RATE_HZ]:
            x = np.concatenate([np.zeros(LEAD), one.samples(), np.zeros(LEAD)])
            x = x + rng.standard_normal(len(x)) * np.sqrt(effects.power(x)) * 10 ** (-35 / 20)
            kind = group or (KED if one.speaker.startswith("festival") else VARIANTS)
            made.append((kind, one, change(x), rate_hz))

    add(KNOWN, known)
    add(None, unseen)
    for db in (20, 10, 5):
        add("white noise at %d dB" % db, known,
            lambda x: x + rng.standard_normal(len(x)) * np.sqrt(effects.power(x)) * 10 ** (-db / 20))
    add(NARROW, known, lambda x: effects.resample(x, 0.5), 8000)
    add("words in any order", free)
    for i in range(60):
        n = int(effects.RATE_HZ * rng.uniform(1, 9))
        x = sounds.KINDS[sorted(sounds.KINDS)[i % len(sounds.KINDS)]](rng, n) if i < 50 else rng.standard_normal(n)
        made.append(("nobody speaks", None, x * 10 ** (rng.uniform(-60, -20) / 20), effects.RATE_HZ))
    return made


def make(folder, cache):
    """[(name, group, utterance)] of files in `folder`"""
    made = []
    for group, one, x, rate_hz in recordings(cache):
        name = "%s-%04d" % (re.sub(r"\W+", "-", group), len(made))
        write_wav(os.path.join(folder, name + ".wav"), x, rate_hz)
        made.append((name, group, one))
    return made


def read_by_people(folder):
    """{path: what is said} of a folder with transcripts.tsv"""
    with open(os.path.join(folder, "transcripts.tsv"), encoding="utf-8") as file:
        texts = dict(line.rstrip("\n").split("\t") for line in file)
    paths = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]
    return {path: texts[stem(path)] for path in sorted(paths) if stem(path) in texts}


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def errors(reference, found):
    return sum(count(align(words(reference), words(found))))


class Scores:
    def __init__(self):
        self.wrong, self.total, self.edges, self.starts, self.exact, self.known = {}, {}, [], [], 0, 0
        self.heard, self.silent = 0, 0

    def add(self, group, one, found):
        if not one:
            self.silent += 1
            self.heard += bool(words(found["text"]))
            return
        self.wrong[group] = self.wrong.get(group, 0) + errors(one.text, found["text"])
        self.total[group] = self.total.get(group, 0) + len(words(one.text))
        if group == KNOWN:
            self.known += 1
            self.exact += found["text"].strip() == one.text
            if words(found["text"]) == words(one.text):
                self.time(one, found["segments"])

    def time(self, one, segments):
        truth = [((LEAD + a) / effects.RATE_HZ, (LEAD + b) / effects.RATE_HZ) for a, b in one.words or []]
        said = [w["start"] for s in segments for w in s["words"]]
        if truth and len(said) == len(truth):
            self.starts += [abs(a - b[0]) for a, b in zip(said, truth)]

    def edge(self, one, segments):
        if one.words and segments:
            self.edges += [abs(segments[0]["start"] - (LEAD + one.words[0][0]) / effects.RATE_HZ),
                           abs(segments[-1]["end"] - (LEAD + one.words[-1][1]) / effects.RATE_HZ)]

    def rows(self):
        """{group: text}"""
        both = lambda of: of.get(VARIANTS, 0) + of.get(KED, 0)
        rows = {group: "%.2f %%" % (100 * self.wrong[group] / self.total[group]) for group in self.total}
        rows[UNSEEN] = "%.2f %%" % (100 * both(self.wrong) / both(self.total))
        rows["of those of training, right to the comma"] = percent(self.exact / self.known)
        rows["sounds of 60 in which words are found"] = "%d" % self.heard
        rows["segment times, mean error"] = "%.0f ms" % (1000 * statistics.mean(self.edges))
        rows["word starts, mean error"] = "%.0f ms" % (1000 * statistics.mean(self.starts))
        rows["word starts within 0.1 s"] = percent(sum(s < 0.1 for s in self.starts) / len(self.starts))
        return rows


def score(options, model, folder, made, digits, people):
    """{group: text}"""
    path = lambda name: os.path.join(folder, name + ".wav")
    scores, right = Scores(), 0
    files = [path(name) for name, _, _ in made] + [*digits, *people]
    held, out = sluice(options, PIPELINE % "word_timestamps: true", files, "--set", "model=" + model)
    with held:
        for name, group, one in made:
            scores.add(group, one, read_json(out, name + ".json"))
        for name in map(stem, digits):
            right += words(read_json(out, name + ".json")["text"]) == [SAYS[int(name[0])]]
        wrong = sum(errors(text, read_json(out, stem(path) + ".json")["text"]) for path, text in people.items())
    known = [(name, one) for name, group, one in made if group == KNOWN]
    held, out = sluice(options, PIPELINE % "beam_size: 1", [path(name) for name, _ in known], "--set", "model=" + model)
    with held:
        for name, one in known:
            found = read_json(out, name + ".json")
            if words(found["text"]) == words(one.text):
                scores.edge(one, found["segments"])
    rows = scores.rows()
    if digits:
        rows["digits of people right"] = "%d of %d" % (right, len(digits))
    if people:
        rows[PEOPLE] = percent(wrong / sum(len(words(text)) for text in people.values()))
    return rows


def torch_measures():
    """None without PyTorch"""
    try:
        from measures import whisper_torch
        return whisper_torch
    except ImportError:
        return None


def alone(model, folder, made):
    """Mean error of word starts, from the alignment heads alone"""
    pytorch, wrong = torch_measures(), []
    network, tokens = pytorch.load(model)
    for name, group, one in made:
        if group == KNOWN and one.words:
            starts = pytorch.word_starts(network, tokens, os.path.join(folder, name + ".wav"), one.text)
            wrong += [abs(start - (LEAD + a) / effects.RATE_HZ) for start, (a, _) in zip(starts, one.words)]
    return "%.0f ms" % (1000 * statistics.mean(wrong))


def alike(options, model, folder, made):
    """On how many of ALIKE files PyTorch's greedy search finds the same text"""
    speaking = [name for name, group, one in made if one and group != NARROW]
    paths = [os.path.join(folder, name + ".wav") for name in speaking[::len(speaking) // ALIKE][:ALIKE]]
    setting = "beam_size: 1, without_timestamps: true, compute: f32, no_speech_threshold: 2"
    held, out = sluice(options, PIPELINE % setting, paths, "--set", "model=" + model)
    with held:
        found = [read_json(out, stem(path) + ".json")["text"].strip() for path in paths]
    return "%d of %d" % (sum(a == b for a, b in zip(found, torch_measures().texts(model, paths))), len(paths))


def measure(options):
    folder = os.path.join(options.cache, "measure", "whisper")
    os.makedirs(folder, exist_ok=True)
    made = make(folder, options.cache)
    digits = sorted(os.path.join(options.digits, f) for f in os.listdir(options.digits)
                    if re.match(r"\d.*\.wav$", f)) if options.digits else []
    people = read_by_people(options.people) if options.people else {}
    models = [("whisper-synth", os.path.abspath(options.folder))] + [tuple(m.split("=", 1)) for m in options.beside]
    scores = {name: score(options, model, folder, made, digits, people) for name, model in models}
    for name, model in [m for m in models if os.path.isdir(m[1])] if torch_measures() else []:
        scores[name]["word starts, from the alignment heads alone"] = alone(model, folder, made)
        scores[name]["as PyTorch's greedy search"] = alike(options, model, folder, made)
    rows = [[key] + [scores[name].get(key, "") for name in scores] for key in scores["whisper-synth"]]
    figures = table(["word error rate", *scores], rows)
    print(figures)
    if not os.path.exists(os.path.join(options.folder, "training.json")):
        return
    card = Card("whisper-synth", ABOUT, ["en"])
    card.trained(read_json(options.folder, "training.json"))
    card.add("Figures", figures + """
%d recordings (seed %d) that are in no training material; beams of 5 at temperature 0, letters alone, through `sluice run`.
""" % (len(made), SEED))
    card.figures = {"WER of voices in training": scores["whisper-synth"][KNOWN], "of voices never heard": scores["whisper-synth"][UNSEEN]}
    card.write(options.folder)
