"""What is done with a transcript: summaries, and what happens where they fail."""
from harness import *

MEETING = os.path.join(CONFIGS, "meeting.yaml")
SUMMARIZE = os.path.join(CONFIGS, "summarize.yaml")
WAV = os.path.join(DATA, "meeting.wav")
FILES = [f"meeting.{kind}" for kind in ("json", "rttm", "srt", "txt", "vtt")]


class Summaries(Case):
    confined = True
    def test_meeting_has_a_summary(self):
        self.sluice("run", MEETING, WAV, "-o", "out")
        self.assertEqual(sorted(os.listdir(self.path("out"))), FILES)
        transcript = json.loads(self.read("out/meeting.json"))
        lines = transcript["summary"].splitlines()
        self.assertEqual(len(lines), 5)
        said = {speaker: " ".join(s["text"].strip() for s in transcript["segments"] if s["speaker"] == speaker)
                for speaker in ("SPEAKER_00", "SPEAKER_01")}
        for line in lines:
            speaker, sentence = line.split(": ", 1)
            self.assertIn(sentence, said[speaker])

    def test_a_summary_that_fails_is_empty(self):
        """The stage is killed at every attempt: the same files but for the summary, a warning, and success."""
        self.sluice("run", MEETING, WAV, "-o", "good")
        text = self.read(MEETING)
        crashing = text.replace("use: llm/extractive", "use: fixture/crash") \
                       .replace("in: { transcript: merge.transcript }\n    with: { sentences: 5 }",
                                "with: { how: kill }\n    retry: { backoff: 10ms }")
        self.assertNotEqual(crashing, text)
        self.write("p.yaml", crashing)
        done = self.sluice(*fixtures("run", "p.yaml", WAV, "-o", "bad"), status=0)
        self.assertEqual([a["class"] for a in self.attempts("summary")], ["crash"] * 3)
        warnings = [line for line in (done.stdout + done.stderr).splitlines() if ": left out: " in line]
        self.assertEqual(len(warnings), 1)
        self.assertTrue(warnings[0].startswith("meeting: summary: left out: its process was killed by signal 9 (Killed)"), warnings)
        self.assertEqual(sorted(os.listdir(self.path("bad"))), FILES)
        for name in FILES:
            if name != "meeting.json":
                self.assertEqual(self.read("bad", name), self.read("good", name))
        good, bad = (json.loads(self.read(folder, "meeting.json")) for folder in ("good", "bad"))
        self.assertEqual(bad["summary"], "")
        self.assertEqual(dict(bad, summary=good["summary"]), good)

    def test_a_transcript_is_summarised(self):
        sentence = "The bridge over the river needs a larger budget."
        segments = [{"start": i, "end": i + 1, "text": f" {text}"} for i, text in enumerate(
            ["Good morning.", sentence, "The budget of the bridge is small, and the river is wide.", "Who is next?"])]
        self.write("talk.json", json.dumps({"segments": segments}))
        self.sluice("run", SUMMARIZE, "talk.json", "-o", "out", "--set", "sentences=1")
        self.assertEqual(self.read("out/talk.summary.txt").count("\n"), 1)
        self.assertIn("bridge", self.read("out/talk.summary.txt"))

    def test_what_is_no_transcript_is_said(self):
        self.write("talk.json", '{"segments": [{"text": 3}]}')
        done = self.sluice("run", SUMMARIZE, "talk.json", "-o", "out", status=1)
        self.assertIn("segments[0].text: expected a string", done.stderr)

    def test_a_model_at_work(self):
        """A model whose answers are noise: words stay, JSON is JSON, and the rest is text."""
        subprocess.run([os.path.join(BUILD, "tests/llm_made"), self.path("model")], check=True)
        segments = [{"start": i, "end": i + 1, "text": f" {text}", "words": [{"word": f" {text}", "start": i, "end": i + 0.5}]}
                    for i, text in enumerate(["hello", "there", "good", "morning"])]
        self.write("talk.json", json.dumps({"segments": segments}))
        self.write("p.yaml", f"""
sluice: 1
inputs:
  transcript: {{ type: transcript/1 }}
params:
  model: {{ default: {self.path("model")} }}
stages:
  points: {{ use: llm/punctuate, in: {{ transcript: inputs.transcript }}, with: {{ model: "${{params.model}}" }} }}
  summary:
    use: llm/summarize
    in: {{ transcript: points.transcript }}
    with: {{ model: "${{params.model}}", max_tokens: 30, temperature: 1 }}
    optional: true
outputs:
  json:
    use: export/json
    in: {{ transcript: points.transcript, summary: summary.text }}
    with: {{ defaults: {{ summary: "" }} }}
  facts.json: {{ use: llm/extract, in: {{ transcript: points.transcript }}, with: {{ model: "${{params.model}}", max_tokens: 9 }} }}
  de.json: {{ use: llm/translate, in: {{ transcript: points.transcript }}, with: {{ model: "${{params.model}}", to: de }} }}
  answer.txt:
    use: llm/generate
    in: {{ transcript: points.transcript }}
    with: {{ model: "${{params.model}}", max_tokens: 30, temperature: 1, prompt: "Who? {{transcript}}" }}
""")
        done = self.sluice("run", "p.yaml", "talk.json", "-o", "out")
        self.assertIn("4 of 4 segments stay as they were", done.stdout + done.stderr)
        transcript = json.loads(self.read("out/talk.json"))
        self.assertEqual([(s["text"], s["words"]) for s in transcript["segments"]],
                         [(s["text"], s["words"]) for s in segments])
        self.assertTrue(transcript["summary"])
        facts = json.loads(self.read("out/talk.facts.json"))
        self.assertEqual(sorted(facts), ["action_items", "decisions", "names"])
        self.assertTrue(self.read("out/talk.answer.txt"))
        german = json.loads(self.read("out/talk.de.json"))
        self.assertEqual((german["language"], len(german["segments"])), ("de", 4))

    def test_items_together(self):
        """Several items in one worker, whose questions are answered in one batch: what each says is what it says alone."""
        subprocess.run([os.path.join(BUILD, "tests/llm_made"), self.path("model")], check=True)
        names = [self.write(f"t{i}.json", json.dumps({"segments": [
            {"start": k, "end": k + 1, "text": f" {k} words of item {i} " * 4} for k in range(3 + 9 * i)]})) for i in range(5)]
        self.write("t5.json", '{"segments": 3}')
        outputs = {}
        for batch in (1, 4):
            self.write("p.yaml", f"""
sluice: 1
inputs: {{ transcript: {{ type: transcript/1 }} }}
outputs:
  txt:
    use: llm/summarize
    in: {{ transcript: inputs.transcript }}
    resources: {{ cpus: 2 }}
    with: {{ model: "{self.path("model")}", compute: f32, context: 512, max_tokens: 40, temperature: 1, batch_size: {batch} }}
""")
            done = self.sluice("run", "p.yaml", *names, "t5.json", "-o", f"out{batch}", "--jobs", "6", status=1)
            self.assertIn("segments", done.stderr)
            outputs[batch] = {name: self.read(f"out{batch}", name) for name in os.listdir(self.path(f"out{batch}"))}
            self.assertEqual(len(outputs[batch]), 5)
        self.assertEqual(outputs[1], outputs[4])

    def test_a_model_that_is_missing_is_named(self):
        text = self.read(SUMMARIZE).replace("use: llm/extractive", "use: llm/summarize") \
                                   .replace('sentences: "${params.sentences}"', "model: ./none.gguf")
        self.write("p.yaml", text)
        self.write("talk.json", json.dumps({"segments": []}))
        done = self.sluice("run", "p.yaml", "talk.json", "-o", "out", status=1)
        self.assertIn("none.gguf", done.stderr)


main()
