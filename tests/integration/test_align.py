"""Times of words: the shipped pipelines over recordings whose word times are known."""
from harness import *

MEETING = os.path.join(CONFIGS, "meeting.yaml")
TRUTH = os.path.join(DATA, "meeting.json")

WORDS = """
sluice: 1
name: words
inputs: { audio: { type: file/1 } }
stages:
  decode: { use: audio/decode, in: { file: inputs.audio } }
  asr:
    use: whisper/transcribe
    in: { audio: decode.audio }
    with: { word_timestamps: true, attention: true, language: en }
  align: { use: align/words, in: { audio: decode.audio, transcript: asr.transcript, attention: asr.attention } }
outputs:
  json: { use: export/json, in: { transcript: align.transcript } }
  plain: { use: export/json, in: { transcript: asr.transcript } }
"""


class Align(Case):
    confined = True
    def wordtimes(self, reference, hypothesis):
        done = subprocess.run(["python3", os.path.join(SOURCE, "tools/wordtimes"), reference, hypothesis, "--json"],
                              check=True, stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    def test_meeting(self):
        self.sluice("run", MEETING, os.path.join(DATA, "meeting.wav"), "-o", "out")
        words = self.wordtimes(TRUTH, self.path("out/meeting.json"))
        self.assertGreaterEqual(words["paired"], 70)
        self.assertLess(words["start"]["p50"], 0.04)
        self.assertLess(words["end"]["p50"], 0.04)
        self.assertGreater(words["f1"], 0.95)

    def test_conversations(self):
        """Twenty, of voices that nothing was trained on or fitted to."""
        made = subprocess.run(["python3", os.path.join(SOURCE, "tools/conversations"), self.path("talks"), "--count",
                               "20", "--seed", "20", "--voices", "held-out", "--turns", "4-6"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if made.returncode == 2:
            self.skipTest("skipped: " + made.stderr.decode().strip())
        self.assertEqual(made.returncode, 0, made.stderr)
        self.write("words.yaml", WORDS)
        talks = sorted(name[:-4] for name in os.listdir(self.path("talks")) if name.endswith(".wav"))
        self.sluice("run", "words.yaml", *(self.path("talks", name + ".wav") for name in talks), "-o", "out")
        starts, before = [], []
        for name in talks:
            truth = self.path("talks", name + ".json")
            words = self.wordtimes(truth, self.path("out", name + ".json"))
            starts.append(words["start"]["p50"])
            before.append(self.wordtimes(truth, self.path("out", name + ".plain"))["start"]["p50"])
        self.assertEqual(len(starts), 20)
        self.assertLess(max(starts), 0.06)
        self.assertLess(sorted(starts)[10], 0.04)
        self.assertLess(sorted(starts)[10], sorted(before)[10])

    def test_attention_is_made_where_it_is_taken(self):
        """Nothing in `with:` asks for it; the outputs are those of a pipeline that does. Told not to, the stage does not."""
        path = os.path.join(DATA, "command.wav")
        self.write("asked.yaml", WORDS)
        self.write("taken.yaml", WORDS.replace("word_timestamps: true, attention: true, ", ""))
        self.write("told.yaml", WORDS.replace("word_timestamps: true, attention: true, ", "attention: false, "))
        alone = re.sub(r"  align:.*\n", "", self.read("taken.yaml")).replace("align.transcript", "asr.transcript")
        self.write("alone.yaml", alone)
        self.sluice("run", "asked.yaml", path, "-o", "asked")
        self.sluice("run", "taken.yaml", path, "-o", "taken")
        for name in ("command.json", "command.plain"):
            self.assertEqual(self.read("taken", name), self.read("asked", name))
        self.assertIn('"words"', self.read("taken/command.json"))
        self.sluice("run", "alone.yaml", path, "-o", "alone")
        self.assertNotIn('"words"', self.read("alone/command.json"))
        self.assertIn("method attention needs", self.sluice("run", "told.yaml", path, "-o", "told", status=1).stderr)

    def test_attention_must_be_connected(self):
        self.write("words.yaml", WORDS.replace(", attention: asr.attention", ""))
        done = self.sluice("run", "words.yaml", os.path.join(DATA, "meeting.wav"), "-o", "out", status=1)
        self.assertIn("method attention needs the input `attention`", done.stderr)
        self.assertEqual(os.listdir(self.path("out")) if os.path.isdir(self.path("out")) else [], [])


main()
