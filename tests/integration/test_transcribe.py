"""The shipped pipeline over real files: transcripts, subtitles, and batches with bad files in them."""
from harness import *

SYNTH = os.path.join(SHARED, "data/synth")
TRANSCRIBE = os.path.join(CONFIGS, "transcribe.yaml")
BATCHED = os.path.join(CONFIGS, "transcribe-batched.yaml")


class Transcribe(Case):
    confined = True
    def wer(self, reference, hypothesis, most):
        subprocess.run(["python3", os.path.join(SOURCE, "tools/wer"), reference, hypothesis, "--max", str(most)],
                       check=True, stdout=subprocess.DEVNULL)

    def test_meeting(self):
        done = self.sluice("run", TRANSCRIBE, os.path.join(DATA, "meeting.wav"), "-o", "out")
        names = sorted(os.listdir(self.path("out")))
        self.assertEqual(names, ["meeting.json", "meeting.srt", "meeting.txt", "meeting.vtt"])
        self.assertEqual(sorted(done.stdout.split()), [self.path("out", n) for n in names])
        self.wer(os.path.join(DATA, "meeting.txt"), self.path("out/meeting.txt"), 2)
        self.assertIn("-->", self.read("out/meeting.srt"))
        self.assertTrue(self.read("out/meeting.vtt").startswith("WEBVTT\n"))
        transcript = json.loads(self.read("out/meeting.json"))
        self.assertEqual(transcript["language"], "en")
        self.assertAlmostEqual(transcript["duration"], 29.95, delta=0.01)
        self.assertIn("[00:%05.2f --> " % transcript["segments"][0]["start"], done.stderr)

    def test_meeting_batched(self):
        texts = []
        for size in ("1", "8"):
            self.sluice("run", BATCHED, os.path.join(DATA, "meeting.wav"), "--set", f"batch_size={size}", "-o", size)
            self.assertEqual(sorted(os.listdir(self.path(size))), [f"meeting.{k}" for k in ("json", "srt", "txt", "vtt")])
            self.wer(os.path.join(DATA, "meeting.txt"), self.path(size, "meeting.txt"), 0)
            texts.append(self.read(size, "meeting.json"))
        self.assertEqual(texts[0], texts[1], "the size of the batch changes nothing")

    def test_files_share_a_batch(self):
        """Where a process has processors of its own, the windows of several files are decoded together."""
        names = ["a", "b", "c", "d", "meeting", "noise"]
        for name in names:
            clip = {"meeting": "meeting", "noise": "noise-only"}.get(name, "command")
            shutil.copy(os.path.join(DATA, clip + ".wav"), self.path(name + ".wav"))
        self.write("broken.wav", b"no audio\n")
        files = [name + ".wav" for name in names + ["broken"]]
        with open(BATCHED) as f:
            text = f.read()
        for name, line in (("own", "resources: { cpus: 1 }"), ("alone", "keep: none")):
            self.write(name + ".yaml", text.replace("use: whisper/transcribe\n", f"use: whisper/transcribe\n    {line}\n"))
        self.sluice("run", "alone.yaml", *files, "-o", "alone", status=1)
        self.assertFalse([log for log in os.listdir(os.path.join(self.run_folder(), "logs")) if "asr.worker" in log])
        self.sluice("run", "own.yaml", *files, "-o", "together", status=1)
        logs = [log for log in os.listdir(os.path.join(self.run_folder(), "logs")) if "asr.worker" in log]
        self.assertEqual(len(logs), 1, "one process for all files")
        self.assertEqual(sorted(os.listdir(self.path("alone"))), sorted(os.listdir(self.path("together"))))
        for name in os.listdir(self.path("alone")):
            self.assertEqual(self.read("alone", name), self.read("together", name))

    def test_noise_has_no_words_in_a_batch(self):
        self.sluice("run", BATCHED, os.path.join(DATA, "noise-only.wav"), "-o", "out")
        self.assertEqual(json.loads(self.read("out/noise-only.json"))["segments"], [])

    @unittest.skipUnless(os.path.isdir(SYNTH), "skipped: ../shared/data/synth is absent")
    def test_every_clip_gives_the_stored_text(self):
        with open(os.path.join(DATA, "expected/transcripts.json")) as f:
            expected = json.load(f)
        clips = [os.path.join(SYNTH, name + ".wav") for name in sorted(expected)]
        self.sluice("run", TRANSCRIBE, *clips, "-o", "out")
        for name, want in expected.items():
            got = json.loads(self.read(f"out/{name}.json"))
            self.assertEqual([s["text"].strip() for s in got["segments"]], [s["text"] for s in want["segments"]], name)

    def test_bad_files_do_not_stop_the_batch(self):
        shutil.copy(os.path.join(DATA, "command.wav"), self.path("a.wav"))
        shutil.copy(os.path.join(DATA, "meeting.wav"), self.path("b.wav"))
        self.write("broken.mp3", b"this is no audio at all\n" * 20)
        self.write("empty.wav", b"")
        done = self.sluice("run", TRANSCRIBE, "a.wav", "broken.mp3", "empty.wav", "b.wav", "-o", "out", status=1)
        self.assertEqual(sorted(os.listdir(self.path("out"))),
                         [f"{item}.{kind}" for item in "ab" for kind in ("json", "srt", "txt", "vtt")])
        self.assertRegex(done.stderr, r"(?m)^broken: decode failed: .*broken\.mp3")
        self.assertRegex(done.stderr, r"(?m)^empty: decode failed: .*empty\.wav")
        self.assertIn("2 ok, 2 failed", done.stderr)
        states = {i["name"]: i["state"] for i in self.show()["items"]}
        self.assertEqual(states, {"a": "ok", "b": "ok", "broken": "failed", "empty": "failed"})
        self.assertEqual(len(self.attempts("decode", item=1)), 1, "bad input is not retried")

    def test_missing_file_is_a_failed_item(self):
        shutil.copy(os.path.join(DATA, "command.wav"), self.path("a.wav"))
        done = self.sluice("run", TRANSCRIBE, "a.wav", "nowhere.wav", "-o", "out", status=1)
        self.assertRegex(done.stderr, r"(?m)^nowhere: decode failed: .*No such file")

    def test_a_single_temperature_is_a_number(self):
        self.sluice("stage", "audio/decode", "--in", "file=" + os.path.join(DATA, "command.wav"), "-o", "out")
        stage = ("stage", "whisper/transcribe", "--in", "audio=out/audio.safetensors")
        for value in ("0", "[0]", "0.0"):
            self.sluice(*stage, "--with", f"temperature={value}", "-o", "out")
            self.assertIn("Record the news in the basement.", self.read("out/transcript.json"))
        done = self.sluice(*stage, "--with", "temperature=hot", "-o", "out", status=2)
        self.assertIn("expected a number, a list or a map, found text \"hot\"", done.stderr)

    def test_unknown_model_is_explained(self):
        done = self.sluice("run", TRANSCRIBE, os.path.join(DATA, "command.wav"), "--set", "model=gigantic", "-o", "out",
                           status=1)
        self.assertIn("gigantic", done.stderr)
        self.assertFalse(os.path.exists(self.path("out")) and os.listdir(self.path("out")))

    def test_json_events(self):
        done = self.sluice("run", TRANSCRIBE, os.path.join(DATA, "command.wav"), "-o", "out", "--json")
        events = self.events(done.stdout)
        self.assertEqual(events[0]["event"], "run_begin")
        self.assertEqual(events[-1]["event"], "run_end")
        parts = [e for e in events if e["event"] == "part"]
        self.assertEqual([p["data"]["text"].strip() for p in parts], ["Record the news in the basement."])
        self.assertEqual([e["state"] for e in events if e["event"] == "item_end"], ["ok"])

    def test_same_bytes_twice(self):
        wav = os.path.join(DATA, "command.wav")
        self.sluice("run", TRANSCRIBE, wav, "-o", "one")
        self.sluice("run", TRANSCRIBE, wav, "-o", "two", "--jobs", "1")
        for name in os.listdir(self.path("one")):
            self.assertEqual(self.read("one", name), self.read("two", name))


main()
