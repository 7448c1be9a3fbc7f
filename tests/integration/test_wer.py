"""tools/wer: normalisation, counting, file formats, exit status."""
import functools
import importlib.machinery
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "wer")


def load_tool():
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("wer", TOOL)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("wer", loader))
    loader.exec_module(module)
    return module


wer = load_tool()


@functools.lru_cache(maxsize=None)
def distance(a, b):
    """Edit distance by its definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(distance(a[1:], b[1:]) + (a[0] != b[0]), distance(a[1:], b) + 1, distance(a, b[1:]) + 1)


class Words(unittest.TestCase):
    def test_case_and_punctuation_do_not_count(self):
        self.assertEqual(wer.words_of(" Hello, World!  “Don’t” don't "), ["hello", "world", "dont", "dont"])

    def test_hyphens_separate(self):
        self.assertEqual(wer.words_of("twenty-second \u2014 yes"), ["twenty", "second", "yes"])

    def test_numbers_keep_their_point(self):
        self.assertEqual(wer.words_of("1.5, 2. 50%"), ["1.5", "2", "50%"])

    def test_letters_are_composed(self):
        self.assertEqual(wer.words_of("Cafe\u0301"), wer.words_of("café"))


class Count(unittest.TestCase):
    def check(self, reference, hypothesis, expected):
        self.assertEqual(wer.count_errors(reference.split(), hypothesis.split()), expected)

    def test_each_kind(self):
        self.check("a b c", "a b c", (0, 0, 0))
        self.check("a b c", "a x c", (1, 0, 0))
        self.check("a b c", "a c", (0, 1, 0))
        self.check("a b c", "a b x c", (0, 0, 1))
        self.check("a b c", "", (0, 3, 0))
        self.check("", "a b", (0, 0, 2))

    def test_mixed(self):
        self.check("the cat sat on the mat", "the cat sit on mat now", (1, 1, 1))

    def test_the_distance_is_the_shortest(self):
        rng = random.Random(1)
        for _ in range(300):
            a = [rng.choice("abc") for _ in range(rng.randrange(7))]
            b = [rng.choice("abc") for _ in range(rng.randrange(7))]
            self.assertEqual(sum(wer.count_errors(a, b)), distance(tuple(a), tuple(b)))

    def test_rate(self):
        self.assertEqual(wer.score("a b c d", "a b c")["wer"], 25.0)
        self.assertEqual(wer.score("a", "a b c")["wer"], 200.0)
        self.assertEqual(wer.score("", "")["wer"], 0.0)
        self.assertEqual(wer.score("", "a")["wer"], 100.0)


SRT = "1\n00:00:00,000 --> 00:00:01,000\n[SPEAKER_00]: Hello there.\nTwo 3\n\n2\n00:00:01,000 --> 00:00:02,000\n42\n\n"
VTT = "WEBVTT\n\nNOTE\nno words\n\n00:00.000 --> 00:01.000\n<v A B>Hello &amp; there.</v>\n\n"
TRANSCRIPT = json.dumps({"text": "other", "segments": [{"start": 0, "end": 1, "text": " Hello"}, {"text": " there."}]})


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def run_tool(self, *arguments):
        done = subprocess.run([sys.executable, TOOL, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True)
        return done.returncode, done.stdout, done.stderr

    def words(self, name, text):
        return wer.words_of(wer.read_text(self.file(name, text)))

    def test_formats(self):
        self.assertEqual(self.words("a.srt", SRT), ["hello", "there", "two", "3", "42"])
        self.assertEqual(self.words("a.vtt", VTT), ["hello", "there"])
        self.assertEqual(self.words("a.json", TRANSCRIPT), ["hello", "there"])
        self.assertEqual(self.words("b.json", '{"text": "Hello"}'), ["hello"])
        self.assertEqual(self.words("a.txt", "\ufeff[A]: Hello\nthere\n"), ["hello", "there"])

    def test_output(self):
        reference = self.file("r.txt", "Hello there, you.")
        self.assertEqual(self.run_tool(reference, reference), (
            0, "wer 0.00 % (0 errors in 3 words: 0 substitutions, 0 deletions, 0 insertions)\n", ""))
        status, out, _ = self.run_tool(reference, self.file("h.txt", "hello their"), "--json")
        self.assertEqual(status, 0)
        self.assertEqual(json.loads(out), {"wer": 200 / 3, "errors": 2, "words": 3, "substitutions": 1,
                                           "deletions": 1, "insertions": 0})

    def test_limit(self):
        reference, half = self.file("r.txt", "a b"), self.file("h.txt", "a")
        self.assertEqual(self.run_tool(reference, half, "--max", "50")[0], 0)
        self.assertEqual(self.run_tool(reference, half, "--max", "49.9")[0], 1)

    def test_unreadable_files_are_explained(self):
        good = self.file("r.txt", "a")
        for path in (self.file("a.json", "{"), self.file("b.json", "[]"), os.path.join(self.folder, "none")):
            status, out, err = self.run_tool(good, path)
            self.assertEqual((status, out), (2, ""))
            self.assertIn(path, err)
            self.assertEqual(err.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
