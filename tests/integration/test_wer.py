"""tools/wer: normalisers, alignment, file formats, folders, exit status."""
import functools
import json
import os
import random
import sys
import unittest

from toolcase import ROOT, ToolCase

PAIRS = os.path.join(ROOT, "..", "shared", "data", "expected", "normalizer_pairs.json")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tools"))
from werlib import align, basic, english, files, numbers, show  # noqa: E402: found through the line above


@functools.lru_cache(maxsize=None)
def distance(a, b):
    """Edit distance by its definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(distance(a[1:], b[1:]) + (a[0] != b[0]), distance(a[1:], b) + 1, distance(a, b[1:]) + 1)


class Texts(unittest.TestCase):
    def test_expected_values_of_the_reference(self):
        with open(os.path.join(ROOT, "tests", "data", "expected", "normaliser.json"), encoding="utf-8") as file:
            expected = json.load(file)
        for name, normalise in (("english", english.EnglishNormaliser({})), ("basic", basic.BasicNormaliser())):
            for text, wanted in expected[name]:
                self.assertEqual(normalise(text), wanted, repr(text))

    def test_published_examples(self):
        if not os.path.exists(PAIRS):
            self.skipTest("the data folder is not there")
        with open(PAIRS, encoding="utf-8") as file:
            for text, wanted in json.load(file)["number_normalizer"]:
                self.assertEqual(numbers.numbers_as_digits(text), wanted)

    def test_spellings(self):
        normalise = english.EnglishNormaliser({"colour": "color"})
        self.assertEqual(normalise("Colour, Mr. Smith: twenty-one!").split(), ["color", "mister", "smith", "21"])

    def test_numbers_too_long_for_a_number(self):
        self.assertEqual(numbers.numbers_as_digits("9" * 5000), "9" * 5000)
        self.assertTrue(numbers.numbers_as_digits("0" + "9" * 3990 + " decillion").isdigit())


class Alignments(unittest.TestCase):
    def check(self, reference, hypothesis, expected):
        self.assertEqual(align.count(align.align(reference.split(), hypothesis.split())), expected)

    def test_each_kind(self):
        self.check("a b c", "a b c", (0, 0, 0))
        self.check("a b c", "a x c", (1, 0, 0))
        self.check("a b c", "a c", (0, 1, 0))
        self.check("a b c", "a b x c", (0, 0, 1))
        self.check("a b c", "", (0, 3, 0))
        self.check("", "a b", (0, 0, 2))

    def test_mixed(self):
        self.check("the cat sat on the mat", "cat sit on the mat now", (1, 1, 1))
        self.check("a b the mat", "a c mat now", (3, 0, 0))  # as short as 1, 1, 1, and what jiwer says

    def test_pairs_are_both_sides_in_order(self):
        pairs = align.align("abcde", "xbdef")
        self.assertEqual("".join(r for r, _ in pairs if r), "abcde")
        self.assertEqual("".join(h for _, h in pairs if h), "xbdef")

    def test_the_distance_is_the_shortest(self):
        rng = random.Random(1)
        for _ in range(300):
            a = [rng.choice("abc") for _ in range(rng.randrange(7))]
            b = [rng.choice("abc") for _ in range(rng.randrange(7))]
            self.assertEqual(sum(align.count(align.align(a, b))), distance(tuple(a), tuple(b)))

    def test_columns_made_again_are_the_same(self):
        rng = random.Random(2)
        a, b = ([rng.choice("abcd") for _ in range(3 * align.STEP + 7)] for _ in range(2))
        whole, align.STEP = align.align(a, b), 10 ** 6
        try:
            self.assertEqual(align.align(a, b), whole)
        finally:
            align.STEP = 256


SRT = "1\n00:00:00,000 --> 00:00:01,000\n[SPEAKER_00]: Hello there.\nTwo 3\n\n2\n00:00:01,000 --> 00:00:02,000\n42\n\n"
VTT = "WEBVTT\n\nNOTE\nno words\n\n00:00.000 --> 00:01.000\n<v A B>Hello &amp; there.</v>\n\n"
TRANSCRIPT = json.dumps({"text": "other", "segments": [{"start": 0, "end": 1, "text": " Hello"}, {"text": " there."}]})


class Files(ToolCase):
    tool = "wer"

    def words(self, name, text):
        return basic.BasicNormaliser()(files.read(self.file(name, text))[0]).split()

    def test_formats(self):
        self.assertEqual(self.words("a.srt", SRT), ["hello", "there", "two", "3", "42"])
        self.assertEqual(self.words("a.vtt", VTT), ["hello", "there"])
        self.assertEqual(self.words("a.json", TRANSCRIPT), ["hello", "there"])
        self.assertEqual(self.words("b.json", '{"text": "Hello"}'), ["hello"])
        self.assertEqual(self.words("a.txt", "\ufeff[A]: Hello\nthere\n"), ["hello", "there"])

    def test_output(self):
        reference = self.file("r.txt", "Hello there, you.")
        self.assertEqual(self.run_tool(reference, reference, "--spellings", "none"), (
            0, "wer 0.00 % (0 errors in 3 words: 0 substitutions, 0 deletions, 0 insertions)\n", ""))
        status, out, _ = self.run_tool(reference, self.file("h.txt", "hello their"), "--json")
        got = json.loads(out)
        self.assertEqual(status, 0)
        self.assertEqual(got["files"][0]["normaliser"], "english")
        for key, value in {"wer": 200 / 3, "errors": 2, "words": 3, "substitutions": 1, "deletions": 1,
                           "insertions": 0}.items():
            self.assertEqual(got[key], value)

    def test_rates_without_a_reference(self):
        empty, one = self.file("e.txt", ""), self.file("a.txt", "a")
        self.assertEqual(json.loads(self.run_tool(empty, empty, "--json")[1])["wer"], 0)
        self.assertEqual(json.loads(self.run_tool(empty, one, "--json")[1])["wer"], 100)

    def test_characters(self):
        reference, hypothesis = self.file("r.txt", "ab cd"), self.file("h.txt", "ab ce")
        got = json.loads(self.run_tool(reference, hypothesis, "--cer", "--json")[1])
        self.assertEqual((got["wer"], got["cer"], got["characters"]), (50, 20, 5))

    def test_the_language_chooses_the_normaliser(self):
        plain, german = self.file("r.txt", "eins 2"), self.file("h.json", '{"text": "eins 2", "language": "de"}')
        self.assertEqual(json.loads(self.run_tool(plain, german, "--json")[1])["files"][0]["normaliser"], "basic")
        got = json.loads(self.run_tool(plain, german, "--json", "--language", "en")[1])
        self.assertEqual(got["files"][0]["normaliser"], "english")

    def test_folders(self):
        for name, text in (("r/a.txt", "ten cats"), ("r/b.txt", "x y z"), ("r/c.txt", "k"), ("h/b.srt", SRT),
                           ("h/a.json", '{"text": "10 cats"}'), ("h/d.txt", "z")):
            os.makedirs(os.path.join(self.folder, name[0]), exist_ok=True)
            self.file(name, text)
        reference, hypothesis = (os.path.join(self.folder, name) for name in "rh")
        status, out, err = self.run_tool(reference, hypothesis, "--json", "--spellings", "none")
        got = json.loads(out)
        self.assertEqual((status, [f["name"] for f in got["files"]]), (0, ["a", "b", "c"]))
        self.assertEqual([f["wer"] for f in got["files"]], [0, 500 / 3, 100])
        self.assertTrue(got["files"][2]["missing"])
        self.assertEqual((got["words"], got["errors"]), (6, 6))
        self.assertIn("d has no reference", err)
        self.assertIn("total: wer 100.00 %", self.run_tool(reference, hypothesis)[1])
        self.assertEqual(self.run_tool(reference, self.file("x.txt", ""))[0], 2)

    def test_differences(self):
        reference, hypothesis = self.file("r.txt", "so it goes on"), self.file("h.txt", "so she goes on on")
        self.assertIn("so [-it-]{+she+} goes {+on+} on", self.run_tool(reference, hypothesis, "--diff")[1])
        words = [str(i) for i in range(50)]
        self.assertEqual(show.pieces([("a", "b")] + [(w, w) for w in words] + [("c", None)]),
                         ["[-a-]{+b+}"] + words[:8] + ["... (34)"] + words[-8:] + ["[-c-]"])
        self.assertIn("\033[31m[-a-]\033[0m", show.aligned([("a", None)], True))

    def test_limit(self):
        reference, half = self.file("r.txt", "a b"), self.file("h.txt", "a")
        self.assertEqual(self.run_tool(reference, half, "--max", "50")[0], 0)
        self.assertEqual(self.run_tool(reference, half, "--max", "49.9")[0], 1)

    def test_unreadable_files_are_explained(self):
        good = self.file("r.txt", "a")
        for path in (self.file("a.json", "{"), self.file("b.json", "[]"), os.path.join(self.folder, "none")):
            status, out, err = self.run_tool(good, path, "--spellings", "none")
            self.assertEqual((status, out), (2, ""))
            self.assertIn(path, err)
            self.assertEqual(err.count("\n"), 1)
        for table in ("[]", "{", '{"a": 1}'):
            status, out, err = self.run_tool(good, good, "--spellings", self.file("t.json", table))
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))


if __name__ == "__main__":
    unittest.main()
