"""A pipeline of all the stages together, as one would write it down: no parameter that is not the user's business."""
from harness import *

PIPELINE = """
sluice: 1                       # version of this format
name: meeting
description: Transcribe a recording, say who spoke when, and summarise it.
inputs:
  audio: { type: file/1, help: any audio or video file }
params:                         # overridable: --set model=/path/to/whisper-large-v3
  model: { default: embedded, help: a model name or a folder or file }
defaults:
  retry:   { attempts: 3, backoff: 1s, factor: 2, max_backoff: 30s, on: [crash, timeout, transient, resource, internal] }
  timeout: { start: 2m, idle: 2m, total: 2h }
stages:
  decode:   { use: audio/decode, in: { file: inputs.audio } }
  speech:   { use: audio/vad,    in: { audio: decode.audio } }
  asr:
    use: whisper/transcribe
    in: { audio: decode.audio, regions: speech.regions }
    with: { model: "${params.model}", language: auto, beam_size: 5 }
    device: auto                # auto | cpu | cuda | cuda:1
    resources: { memory: 4GiB, gpu_memory: 3GiB, cpus: 2 }
    retry: { grow: { memory: 2 } }
  align:    { use: align/words,      in: { audio: decode.audio, transcript: asr.transcript, attention: asr.attention } }
  who:      { use: diarize/speakers, in: { audio: decode.audio, regions: speech.regions } }
  merge:    { use: diarize/assign,   in: { transcript: align.transcript, turns: who.turns } }
  summary:  { use: llm/summarize,    in: { transcript: merge.transcript }, optional: true }
outputs:                        # written for each item: DIR/<item>.<output name>
  srt:  { use: export/srt,  in: { transcript: merge.transcript } }
  json: { use: export/json, in: { transcript: merge.transcript, summary: summary.text } }
"""


class Meeting(Case):
    confined = True

    def test_it_runs_as_it_stands(self):
        self.write("meeting.yaml", PIPELINE)
        self.assertEqual(self.sluice("check", "meeting.yaml").stderr, "")
        done = self.sluice("run", "meeting.yaml", os.path.join(DATA, "meeting.wav"), "-o", "out")
        self.assertIn("summary: warning: model scribe-synth is for trying out", done.stderr)
        self.assertEqual(sorted(os.listdir(self.path("out"))), ["meeting.json", "meeting.srt"])
        result = json.loads(self.read("out/meeting.json"))
        self.assertEqual(set(result), {"language", "duration", "text", "segments", "summary"})
        self.assertIn("budget", result["text"])
        self.assertTrue(result["summary"].strip())
        for segment in result["segments"]:
            self.assertRegex(segment["speaker"], r"^SPEAKER_\d\d$")
            for word in segment["words"]:
                self.assertLessEqual(word["start"], word["end"])
                self.assertIn("speaker", word)

    def test_a_summary_that_fails_is_left_out(self):
        self.write("meeting.yaml", PIPELINE)
        done = self.sluice("run", "meeting.yaml", os.path.join(DATA, "command.wav"), "-o", "out", "--inject", "summary:transient")
        self.assertIn("summary", done.stderr)
        self.assertEqual(sorted(os.listdir(self.path("out"))), ["command.json", "command.srt"])
        self.assertEqual(json.loads(self.read("out/command.json")).get("summary", ""), "")


main()
