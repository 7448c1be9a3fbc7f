"""tools/wordtimes: pairing, figures, files, exit status."""
import json
import random
import unittest

from toolcase import ToolCase, load_tool

wordtimes = load_tool("wordtimes")


def longest_common(a, b):
    """Its length, by definition."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


class Pairs(unittest.TestCase):
    def test_words_without_case_and_punctuation(self):
        self.assertEqual(wordtimes.bare(" Don’t,"), "dont")
        self.assertEqual(wordtimes.bare("..."), "...")
        self.assertEqual(wordtimes.bare("Cafe\u0301"), wordtimes.bare("CAFÉ"))

    def test_no_sequence_is_longer(self):
        rng = random.Random(1)
        for _ in range(300):
            a = [rng.choice("abc") for _ in range(rng.randrange(9))]
            b = [rng.choice("abc") for _ in range(rng.randrange(9))]
            pairs = wordtimes.pair_equal(a, b)
            self.assertTrue(all(a[i] == b[j] for i, j in pairs))
            self.assertTrue(all(p[0] < q[0] and p[1] < q[1] for p, q in zip(pairs, pairs[1:])))
            self.assertEqual(len(pairs), longest_common(a, b))


class Figures(unittest.TestCase):
    def test_by_hand(self):
        reference = [("a", 0.0, 1.0, "A"), ("b", 1.0, 2.0, "A"), ("c", 2.0, 3.0, "B")]
        hypothesis = [("a", 0.1, 1.0, "X"), ("x", 1.0, 1.5, "X"), ("b", 1.5, 2.0, "X"), ("c", 1.9, 3.0, "X")]
        f = wordtimes.score(reference, hypothesis)
        self.assertEqual((f["words"], f["found"], f["paired"]), (3, 4, 3))
        self.assertAlmostEqual(f["start"]["p50"], 0.1)
        self.assertAlmostEqual(f["start"]["p100"], 0.5)
        self.assertAlmostEqual(f["start"]["bias"], (0.1 + 0.5 - 0.1) / 3)
        self.assertAlmostEqual(f["end"]["p100"], 0)
        self.assertAlmostEqual(f["precision"], 2 / 4)
        self.assertAlmostEqual(f["recall"], 2 / 3)
        self.assertAlmostEqual(f["f1"], 4 / 7)
        self.assertAlmostEqual(f["iou"], (0.9 + 0.5 + 1 / 1.1) / 3)
        self.assertAlmostEqual(f["speaker"], 2 / 3)

    def test_nothing_in_common(self):
        f = wordtimes.score([("a", 0, 1, None)], [("b", 0, 1, None)])
        self.assertEqual((f["start"], f["f1"], f["iou"], f["speaker"]), (None, 0, 0, None))

    def test_percentiles_are_interpolated(self):
        self.assertAlmostEqual(wordtimes.percentile([0, 1, 2, 3], 50), 1.5)
        self.assertAlmostEqual(wordtimes.percentile([0, 1, 2, 3], 90), 2.7)
        self.assertEqual(wordtimes.percentile([4], 99), 4)


def transcript(shift):
    words = [{"word": " Hello,", "start": 0.5 + shift, "end": 1 + shift}, {"word": " you", "start": 1, "end": 2}]
    return json.dumps({"text": "Hello, you", "segments": [{"start": 0, "end": 2, "text": "Hello, you", "words": words}]})


class Files(ToolCase):
    tool = "wordtimes"

    def test_output_and_limit(self):
        reference, late = self.file("r.json", transcript(0)), self.file("h.json", transcript(0.1))
        status, out, err = self.run_tool(reference, late, "--max-median", "50.1")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("start error: median 50 ms", out)
        self.assertEqual(self.run_tool(reference, late, "--max-median", "49.9")[0], 1)
        self.assertAlmostEqual(json.loads(self.run_tool(reference, late, "--json")[1])["start"]["p100"], 0.1)
        self.assertEqual(json.loads(self.run_tool(reference, late, "--json", "--tolerance", "0.05")[1])["f1"], 0.5)

    def test_unreadable_files_are_explained(self):
        good = self.file("r.json", transcript(0))
        bad = ["{", "[]", '{"segments": [{}]}', '{"segments": [{"words": [{"word": "a", "start": "0", "end": 1}]}]}',
               '{"segments": [{"words": [{"word": "a", "start": 0, "end": NaN}]}]}']
        for n, text in enumerate(bad):
            path = self.file("%d.json" % n, text)
            status, out, err = self.run_tool(good, path)
            self.assertEqual((status, out), (2, ""))
            self.assertIn(path, err)
            self.assertEqual(err.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
