"""Who said which word in generated conversations of voices that nothing was fitted to; the figures are printed."""
import array
import sys
import wave

from harness import *
from toolcase import load_tool, tool_path

MEETING = os.path.join(CONFIGS, "meeting.yaml")
COUNT = 2 if SANITIZED else 20  # sanitizers are slow; they look for other things than quality


class Conversations(Case):
    confined = True
    def generate(self, *options):
        done = subprocess.run([sys.executable, tool_path("conversations"), self.path("talks"), *options],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        if done.returncode == 2:
            self.skipTest(f"skipped: {done.stderr.strip()}")
        self.assertEqual(done.returncode, 0, done.stderr)
        return sorted(name[:-4] for name in os.listdir(self.path("talks")) if name.endswith(".wav"))

    def contents(self, name):
        found = []
        for kind in ("wav", "rttm", "json", "txt"):
            with open(self.path("talks", f"{name}.{kind}"), "rb") as file:
                found.append(file.read())
        return found

    def score(self, name):
        der, times = load_tool("der"), load_tool("wordtimes")
        talk, out = self.path("talks", name), self.path("out", name)
        turns = der.score(der.read_rttm(talk + ".rttm")[name], der.read_rttm(out + ".rttm").get(name, []))
        return turns, times.score(times.read_words(talk + ".json"), times.read_words(out + ".json"))

    def test_words_go_to_who_says_them(self):
        names = self.generate("--count", str(COUNT), "--seed", "2026", "--voices", "held-out", "--turns", "6-10")
        self.assertEqual(len(names), COUNT)
        self.sluice("run", MEETING, *(self.path("talks", name + ".wav") for name in names), "-o", "out")
        print(f"{'conversation':14} {'DER':>6} {'speakers':>8} {'found':>5} {'words':>5} {'paired':>6} {'right':>7} {'start':>6}")
        right = paired = 0
        starts = []
        for name in names:
            turns, words = self.score(name)
            print(f"{name:14} {turns['der']:5.1f}% {turns['speakers']:8} {turns['speakers_found']:5} {words['words']:5} "
                  f"{words['paired']:6} {100 * words['speaker']:6.1f}% {1000 * words['start']['p50']:3.0f} ms")
            right += words["speaker"] * words["paired"]
            paired += words["paired"]
            starts.append(words["start"]["p50"])
        print(f"right speaker for {100 * right / paired:.1f} % of {paired} words; "
              f"median error of word starts {1000 * sorted(starts)[len(starts) // 2]:.0f} ms")
        self.assertGreaterEqual(right / paired, 0.90)
        self.assertLess(sorted(starts)[len(starts) // 2], 0.060)

    def test_the_same_seed_gives_the_same_files(self):
        options = ("--count", "1", "--seed", "5", "--turns", "2-3")
        name, = self.generate(*options)
        first = self.contents(name)
        self.generate(*options)
        self.assertEqual(self.contents(name), first)

    def test_times_are_those_of_the_sound(self):
        """Words are in order, within their turns, and louder than what is between the turns."""
        name, = self.generate("--count", "1", "--seed", "6", "--turns", "4-4", "--overlap", "0", "--snr", "40-40")
        truth = json.loads(self.read(f"talks/{name}.json"))
        with wave.open(self.path("talks", name + ".wav")) as file:
            rate = file.getframerate()
            pcm = array.array("h", file.readframes(file.getnframes()))

        def power(start, end):
            part = pcm[int(start * rate):int(end * rate)]
            return sum(x * x for x in part) / max(len(part), 1)

        until, noise = 0.0, power(0, 0.3)
        for segment in truth["segments"]:
            self.assertGreaterEqual(segment["start"], until)
            self.assertEqual(segment["text"], " ".join(word["word"] for word in segment["words"]))
            for word in segment["words"]:
                self.assertGreaterEqual(word["start"], until)
                self.assertGreater(word["end"], word["start"])
                self.assertGreater(power(word["start"], word["end"]), 10 * noise)
                until = word["end"]
        self.assertLess(until, truth["duration"])


main()
