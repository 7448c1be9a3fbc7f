"""Who speaks when, and who said which word: the shipped pipelines over the synthetic meeting."""
from harness import *

SYNTH = os.path.join(SHARED, "data/synth")
MEETING = os.path.join(CONFIGS, "meeting.yaml")
ONLY = os.path.join(CONFIGS, "diarize-only.yaml")


class Diarize(Case):
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


main()
