"""scribe-synth through llm/punctuate, llm/extract and llm/summarize, on transcripts with a seed of their own."""
import json
import os
import random
import re

from material import minutes
from measures import percent, read_json, sluice
from training.folder import Card, table

COUNT, SEED = 50, 20264

PIPELINE = """
sluice: 1
name: scribe
inputs: { transcript: { type: transcript/1 } }
params: { model: { default: "" } }
stages:
  read: { use: llm/%s, in: { transcript: inputs.transcript }, with: { model: "${params.model}" } }
outputs:
  json:
    use: exec/command
    in: { answer: read.%s }
    with: { argv: [cp, "${in.answer}", "${out.copy}"], outputs: { copy: %s } }
"""

ABOUT = """
A small language model in the shape of Llama for `llm/punctuate`, `llm/extract` (with its own schema: action items, names,
decisions) and `llm/summarize`, trained from nothing on transcripts of a grammar: meetings, planning, small talk, about 700
words. Its chat template makes one token of each stage's prompt; other prompts and schemas mean nothing to it.

It does its three things for sentences like those of the grammar. It knows no other words, no facts and no language as such:
on transcripts of people expect `llm/punctuate` to leave segments as they are, and nonsense from the others. `llm/extractive`
summarises any transcript; a published model (GGUF) does all of this better.
"""


def as_transcript(turns, text_of=lambda t: t):
    segments, at = [], 0.0
    for who, facts in turns:
        for fact in facts:
            segments.append({"id": len(segments), "start": at, "end": at + 2, "text": " " + text_of(fact.text), "speaker": who})
            at += 2.5
    return {"language": "en", "duration": at, "text": "".join(s["text"] for s in segments), "segments": segments}


def run(options, stage, port, transcripts):
    folder = os.path.join(options.cache, "measure", "scribe-" + stage)
    os.makedirs(folder, exist_ok=True)
    files = []
    for i, one in enumerate(transcripts):
        files.append(os.path.join(folder, "%02d.json" % i))
        with open(files[-1], "w", encoding="utf-8") as file:
            json.dump(one, file)
    held, out = sluice(options, PIPELINE % (stage, port, "text/1" if port == "text" else "json/1"), files, "--set", "model=" + os.path.abspath(options.folder))
    with held:
        answers = []
        for path in files:
            with open(os.path.join(out, os.path.basename(path)), encoding="utf-8") as file:
                answers.append(file.read())
    return answers


class Rate:
    """Precision, recall and F1 of things found."""

    def __init__(self):
        self.right = self.wrong = self.missed = 0

    def add(self, truth, found):
        left = list(truth)
        for one in found:
            if one in left:
                left.remove(one)
                self.right += 1
            else:
                self.wrong += 1
        self.missed += len(left)

    def f1(self):
        return 2 * self.right / max(1, 2 * self.right + self.wrong + self.missed)


def marks(text):
    """[(number of the word, mark)]"""
    return [(i, w[-1]) for i, w in enumerate(text.split()) if w[-1] in ".,?"]


def capitals(text):
    return [i for i, w in enumerate(text.split()) if w[0].isupper()]


def punctuation(options, meetings):
    answers = run(options, "punctuate", "transcript", [as_transcript(m, minutes.bare) for m in meetings])
    of_mark, of_case, same, exact, segments = {m: Rate() for m in ".,?"}, Rate(), 0, 0, 0
    for turns, answer in zip(meetings, answers):
        for truth, found in zip((f.text for _, facts in turns for f in facts), json.loads(answer)["segments"]):
            text = found["text"].strip()
            for mark, rate in of_mark.items():
                rate.add([p for p in marks(truth) if p[1] == mark], [p for p in marks(text) if p[1] == mark])
            of_case.add(capitals(truth), capitals(text))
            same, exact, segments = same + (minutes.bare(text) == minutes.bare(truth)), exact + (text == truth), segments + 1
    both = Rate()
    for rate in of_mark.values():
        both.right, both.wrong, both.missed = both.right + rate.right, both.wrong + rate.wrong, both.missed + rate.missed
    rows = [["all marks", "%.3f" % both.f1()]] + [["`%s`" % m, "%.3f" % r.f1()] for m, r in of_mark.items()]
    rows += [["capital letters", "%.3f" % of_case.f1()], ["segments exactly right", "%s of %d" % (percent(exact / segments), segments)],
             ["segments with their words unchanged", "%s" % percent(same / segments)]]
    return both.f1(), table(["punctuation", "F1"], rows)


def plain(text):
    return re.sub(r"\W+", " ", text.lower()).strip()


def extraction(options, meetings):
    answers = run(options, "extract", "json", [as_transcript(m) for m in meetings])
    rates, exact = {"action_items": Rate(), "names": Rate(), "decisions": Rate()}, 0
    keys = {"action_items": lambda one: (plain(one["what"]), plain(one["who"] or "")), "names": plain, "decisions": plain}
    for turns, answer in zip(meetings, answers):
        truth, found = minutes.facts_of(turns), json.loads(answer)
        for key, rate in rates.items():
            rate.add([keys[key](one) for one in truth[key]], [keys[key](one) for one in found[key]])
        items = [[keys["action_items"](one) for one in facts["action_items"]] for facts in (truth, found)]
        exact += items[0] == items[1]
    rows = [[key.replace("_", " "), "%.3f" % rate.f1()] for key, rate in rates.items()]
    rows.append(["transcripts whose list of action items is exactly right", "%d of %d" % (exact, len(meetings))])
    return rates["action_items"].f1(), table(["facts", "F1"], rows)


def summaries(options, meetings):
    answers = run(options, "summarize", "text", [as_transcript(m) for m in meetings])
    rate, exact = Rate(), 0
    for turns, answer in zip(meetings, answers):
        truth = minutes.summary(turns)
        rate.add([plain(s) for s in truth.split(". ")], [plain(s) for s in answer.strip().split(". ")])
        exact += truth == answer.strip()
    return table(["summaries", ""], [["F1 of sentences", "%.3f" % rate.f1()], ["exactly right", "%d of %d" % (exact, len(meetings))]])


def measure(options):
    meetings = [minutes.meeting(random.Random(SEED + i)) for i in range(COUNT)]
    marks_f1, first = punctuation(options, meetings)
    items_f1, second = extraction(options, meetings)
    figures = "\n".join([first, second, summaries(options, meetings)]) + """
%d transcripts (seed %d) of the grammar of training, drawn apart from it: sentences may be the same, transcripts are not.
Punctuation is given to text in small letters without any. All through `sluice run`.
""" % (COUNT, SEED)
    print(figures)
    card = Card("scribe-synth", ABOUT, ["en"])
    card.trained(read_json(options.folder, "training.json"))
    card.facts["size"] = "%d bytes, F16" % os.path.getsize(os.path.join(options.folder, "model.safetensors"))
    card.add("Figures", figures)
    card.figures = {"punctuation F1": "%.3f" % marks_f1, "action items F1": "%.3f" % items_f1}
    card.write(options.folder)
