"""The small models that come along, by name, through pipelines."""
import random

from harness import *
from toolcase import ROOT

sys.path.insert(0, os.path.join(ROOT, "tools", "train"))
from material import minutes  # noqa: E402

N_MEETINGS = 2 if SANITIZED else 10

SCRIBE = """
sluice: 1
name: scribe
inputs: { transcript: { type: transcript/1 } }
stages:
  points: { use: llm/punctuate, in: { transcript: inputs.transcript }, with: { model: scribe-synth } }
  facts: { use: llm/extract, in: { transcript: points.transcript }, with: { model: scribe-synth } }
outputs:
  json: { use: export/json, in: { transcript: points.transcript } }
  facts.json: { use: exec/command, in: { facts: facts.json },
                with: { argv: [cp, "${in.facts}", "${out.copy}"], outputs: { copy: json/1 } } }
"""


def bare_transcript(turns):
    segments = [{"id": 0, "start": 0, "end": 1, "text": " " + minutes.bare(fact.text), "speaker": who}
                for who, facts in turns for fact in facts]
    for i, segment in enumerate(segments):
        segment.update(id=i, start=2.0 * i, end=2.0 * i + 1.5)
    return {"language": "en", "duration": 2.0 * len(segments), "text": "".join(s["text"] for s in segments), "segments": segments}


class Synth(Case):
    confined = True

    def test_all_are_listed(self):
        entries = {m["name"]: m for m in map(json.loads, self.sluice("models", "list", "--json").stdout.splitlines())}
        for name in ("embedded", "vad-synth", "scribe-synth", "speaker-synth/segmentation", "speaker-synth/embedding"):
            self.assertTrue(entries[name]["card"]["figures"], name)

    def test_punctuation_and_facts(self):
        meetings = [minutes.meeting(random.Random("test/%d" % i)) for i in range(N_MEETINGS)]
        files = [self.write(f"talks/{i}.json", json.dumps(bare_transcript(turns))) for i, turns in enumerate(meetings)]
        self.write("p.yaml", SCRIBE)
        self.sluice("run", "p.yaml", *files, "-o", "out")
        right = total = 0
        for i, turns in enumerate(meetings):
            truth = [fact.text for _, facts in turns for fact in facts]
            found = [s["text"].strip() for s in json.loads(self.read(f"out/{i}.json"))["segments"]]
            self.assertEqual([minutes.bare(t) for t in found], [minutes.bare(t) for t in truth], "no word changes")
            right, total = right + sum(a == b for a, b in zip(found, truth)), total + len(truth)
            self.assertEqual(list(json.loads(self.read(f"out/{i}.facts.json"))), ["action_items", "names", "decisions"])
        print(f"{right} of {total} segments exactly right")
        self.assertGreater(right, 0.8 * total)


main()
