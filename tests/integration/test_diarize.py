"""Who speaks when, and who said which word: the shipped pipelines over the synthetic meeting."""
from harness import *

SYNTH = os.path.join(SHARED, "data/synth")
MEETING = os.path.join(CONFIGS, "meeting.yaml")
REAL = os.path.join(SHARED, "data/diarization")
ONLY = os.path.join(CONFIGS, "diarize-only.yaml")


class Diarize(Case):
    confined = True
    def tool(self, name, *arguments):
        done = subprocess.run(["python3", os.path.join(SOURCE, "tools", name), *arguments, "--json"],
                              check=True, stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    def test_meeting(self):
        self.sluice("run", MEETING, os.path.join(DATA, "meeting.wav"), "-o", "out")
        self.assertEqual(sorted(os.listdir(self.path("out"))),
                         [f"meeting.{kind}" for kind in ("json", "rttm", "srt", "txt", "vtt")])
        self.assertIn("[SPEAKER_01]: Good morning, Robert.", self.read("out/meeting.txt"))
        self.assertIn("<v SPEAKER_00>", self.read("out/meeting.vtt"))
        transcript = json.loads(self.read("out/meeting.json"))
        for number, segment in enumerate(transcript["segments"]):
            self.assertEqual(segment["id"], number)
            self.assertEqual({word["speaker"] for word in segment["words"]}, {segment["speaker"]})

    @unittest.skipUnless(os.path.isdir(SYNTH), "skipped: ../shared/data/synth is absent")
    def test_meeting_scores(self):
        self.sluice("run", MEETING, os.path.join(DATA, "meeting.wav"), "-o", "out")
        turns = self.tool("der", os.path.join(SYNTH, "meeting.rttm"), self.path("out/meeting.rttm"))
        words = self.tool("wordtimes", os.path.join(SYNTH, "meeting.json"), self.path("out/meeting.json"))
        self.assertLess(turns["der"], 10)
        self.assertEqual(turns["speakers_found"], 2)
        self.assertGreaterEqual(words["speaker"], 0.97)

    def test_the_number_of_speakers_can_be_given(self):
        for number in (1, 2):
            self.sluice("run", ONLY, os.path.join(DATA, "meeting.wav"), "-o", str(number),
                        "--set", f"num_speakers={number}")
            lines = self.read(f"{number}/meeting.rttm").splitlines()
            self.assertEqual(len({line.split()[7] for line in lines}), number)

    def test_the_networks_that_come_along(self):
        self.sluice("run", ONLY, os.path.join(DATA, "meeting.wav"), "-o", "out", "--set", "segmentation=speaker-synth/segmentation",
                    "--set", "embedding=speaker-synth/embedding")
        lines = self.read("out/meeting.rttm").splitlines()
        self.assertEqual(len({line.split()[7] for line in lines}), 2)
        if os.path.isdir(SYNTH):
            self.assertLess(self.tool("der", os.path.join(SYNTH, "meeting.rttm"), self.path("out/meeting.rttm"))["der"], 15)

    def test_noise_has_no_speakers(self):
        self.sluice("run", ONLY, os.path.join(DATA, "noise-only.wav"), "-o", "out")
        self.assertEqual(self.read("out/noise-only.rttm"), "")

    def test_contradictions_are_refused(self):
        pipeline = self.read(ONLY).replace('num_speakers: "${params.num_speakers}"', "num_speakers: 2, max_speakers: 3")
        self.write("p.yaml", pipeline)
        done = self.sluice("run", "p.yaml", os.path.join(DATA, "meeting.wav"), "-o", "out", status=1)
        self.assertIn("num_speakers says how many speakers there are", done.stderr)

    def test_rttm_there_and_back(self):
        self.sluice("run", ONLY, os.path.join(DATA, "meeting.wav"), "-o", "out")
        rttm = self.path("out/meeting.rttm")
        self.sluice("stage", "diarize/from_rttm", "--in", f"file={rttm}", "-o", "turns")
        self.sluice("stage", "diarize/rttm", "--in", f"turns={self.path('turns/turns.json')}", "-o", "again")
        again = self.path("again", os.listdir(self.path("again"))[0])
        self.assertEqual(self.tool("der", rttm, again)["der"], 0)

    def test_known_speakers_are_named(self):
        """Small networks with random weights: a voice is like itself."""
        models = [f"--set={kind}={os.path.join(DATA, 'expected', name)}"
                  for kind, name in (("segmentation", "pyannet"), ("embedding", "resnet34"))]
        recording = os.path.join(DATA, "meeting.wav")
        self.sluice("run", os.path.join(CONFIGS, "enrol-speakers.yaml"), recording, "-o", "voices", *models)
        self.assertEqual(os.listdir(self.path("voices")), ["meeting.safetensors"])
        pipeline = self.read(ONLY).replace("outputs:", """\
  named:
    use: diarize/identify
    in: { turns: who.turns, embeddings: who.embeddings }
    with: { enrolment: "${env.VOICES}", threshold: 0.99 }
outputs:""").replace("turns: who.turns } }\n", "turns: named.turns } }\n")
        self.write("p.yaml", pipeline)
        self.env["VOICES"] = self.path("voices")
        self.sluice("run", "p.yaml", recording, "-o", "out", "--set=num_speakers=1", *models)
        self.assertEqual({line.split()[7] for line in self.read("out/meeting.rttm").splitlines()}, {"meeting"})

    @unittest.skipUnless(os.path.isdir(REAL), "skipped: ../shared/data/diarization is absent")
    def test_real_recordings_are_scored(self):
        """Whatever the rates are: distant microphones, overlap, references that lack some speech."""
        names = sorted(name[:-4] for name in os.listdir(REAL) if name.endswith(".wav"))
        self.sluice("run", ONLY, *(os.path.join(REAL, name + ".wav") for name in names), "-o", "out")
        print(f"{'recording':10} {'DER':>8} {'missed':>7} {'false':>7} {'confused':>8} {'speakers':>8} {'found':>5}")
        for name in names:
            f = self.tool("der", os.path.join(REAL, name + ".rttm"), self.path(f"out/{name}.rttm"))
            print(f"{name:10} {f['der']:7.1f}% {f['missed']:6.1f}s {f['false_alarm']:6.1f}s {f['confusion']:7.1f}s "
                  f"{f['speakers']:8} {f['speakers_found']:5}")
            self.assertGreaterEqual(f["speakers_found"], 1)


main()
