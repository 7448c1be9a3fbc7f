"""tools/der: rates beside pyannote.metrics and md-eval, files, exit status."""
import itertools
import json
import os
import random
import unittest

from toolcase import ROOT, ToolCase, load_tool

EXPECTED = os.path.join(ROOT, "tests", "data", "expected", "der.json")
SHARED = os.path.join(ROOT, "..", "shared", "data")

der = load_tool("der")


class Rates(unittest.TestCase):
    def test_random_turns_score_as_in_pyannote_metrics(self):
        with open(EXPECTED, encoding="utf-8") as file:
            cases = json.load(file)
        self.assertGreaterEqual(len(cases), 40)
        for n, case in enumerate(cases):
            with self.subTest(case=n):
                figures = der.score([tuple(t) for t in case["reference"]], [tuple(t) for t in case["hypothesis"]],
                                    case["uem"], case["collar"], case["skip_overlap"])
                self.assertAlmostEqual(figures["der"] / 100, case["der"], delta=1e-6)
                self.assertAlmostEqual(figures["jer"] / 100, case["jer"], delta=1e-6)

    def test_a_real_pair_scores_as_with_md_eval(self):
        expectations = os.path.join(SHARED, "expected", "der_expectations.json")
        if not os.path.exists(expectations):
            self.skipTest("needs ../shared/data")
        with open(expectations, encoding="utf-8") as file:
            expected = json.load(file)
        reference, hypothesis = (der.read_recordings(os.path.join(SHARED, path)) for path in expected["pair"])
        (_, r, h), = der.pair_recordings(reference, hypothesis)
        figures = der.score(r, h, None, 2 * expected["collar_s"], expected["ignore_overlap"])
        self.assertAlmostEqual(figures["der"], expected["der_percent"], delta=0.02)  # md-eval rounds times

    def test_by_hand(self):
        reference = [(0, 10, "a"), (10, 20, "b")]
        figures = der.score(reference, [(0, 9, "x"), (9, 21, "y")])
        self.assertAlmostEqual(figures["confusion"], 1)
        self.assertAlmostEqual(figures["false_alarm"], 1)
        self.assertAlmostEqual(figures["missed"], 0)
        self.assertAlmostEqual(figures["der"], 10)
        self.assertAlmostEqual(figures["jer"], 100 * ((1 - 9 / 10) + (1 - 10 / 12)) / 2)
        self.assertEqual(figures["pairs"], {"x": "a", "y": "b"})

    def test_extremes(self):
        self.assertEqual(der.score([], [])["der"], 0)
        self.assertEqual(der.score([], [(0, 1, "x")])["der"], 100)
        self.assertEqual(der.score([(0, 1, "a")], [])["der"], 100)
        self.assertEqual(der.score([(0, 1, "a")], [])["jer"], 100)


class Assignment(unittest.TestCase):
    def test_no_other_one_is_better(self):
        rng = random.Random(3)
        for _ in range(200):
            rows, columns = rng.randrange(1, 5), rng.randrange(1, 5)
            weights = [[rng.randrange(5) for _ in range(columns)] for _ in range(rows)]
            chosen = der.assignment(weights)
            got = [c for c in chosen if c is not None]
            self.assertEqual(len(got), min(rows, columns))
            self.assertEqual(len(set(got)), len(got))
            best = max(sum(weights[r][c] for r, c in zip(order, range(columns)) if r < rows)
                       for order in itertools.permutations(range(max(rows, columns)), columns))
            self.assertEqual(sum(weights[r][c] for r, c in enumerate(chosen) if c is not None), best)


RTTM = """;; a comment
SPKR-INFO one 1 <NA> <NA> <NA> unknown a <NA> <NA>
SPEAKER one 1 0.0 10.0 <NA> <NA> a <NA> <NA>
SPEAKER two 1 0.0 5.0 <NA> <NA> b <NA> <NA>
"""
TURNS = json.dumps({"turns": [{"start": 0, "end": 8, "speaker": "X"}, {"start": 6, "end": 10, "speaker": "Y"}],
                    "exclusive": [{"start": 0, "end": 8, "speaker": "X"}]})


class Files(ToolCase):
    tool = "der"

    def test_recordings_are_matched_by_name(self):
        hypothesis = self.file("h.rttm", "SPEAKER two 1 0 5 <NA> <NA> z <NA> <NA>\n")
        status, out, err = self.run_tool(self.file("r.rttm", RTTM), hypothesis, "--json")
        figures = json.loads(out)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(figures["recordings"]["one"]["der"], 100)
        self.assertEqual(figures["recordings"]["two"]["der"], 0)
        self.assertAlmostEqual(figures["der"], 100 * 10 / 15)

    def test_turns_and_their_exclusive_track(self):
        reference = self.file("r.rttm", "SPEAKER one 1 0 10 <NA> <NA> a <NA> <NA>\n")
        hypothesis = self.file("h.json", TURNS)
        both = json.loads(self.run_tool(reference, hypothesis, "--json")[1])
        alone = json.loads(self.run_tool(reference, hypothesis, "--json", "--exclusive")[1])
        self.assertAlmostEqual(both["false_alarm"], 2)
        self.assertAlmostEqual(alone["false_alarm"], 0)
        self.assertAlmostEqual(alone["missed"], 2)

    def test_what_is_scored(self):
        reference = self.file("r.rttm", RTTM)
        hypothesis = self.file("h.rttm", "SPEAKER one 1 0 5 <NA> <NA> z <NA> <NA>\n")
        uem = self.file("m.uem", "one 1 0.0 5.0\n")
        self.assertEqual(json.loads(self.run_tool(reference, hypothesis, "--uem", uem, "--json")[1])["der"], 0)

    def test_output_and_limit(self):
        reference = self.file("r.rttm", RTTM)
        status, out, _ = self.run_tool(reference, reference, "--max", "0")
        self.assertEqual(status, 0)
        self.assertRegex(out, r"(?m)^all +0\.00 .* 2, found 2$")
        self.assertEqual(self.run_tool(reference, self.file("h.rttm", ""), "--max", "99")[0], 1)

    def test_unreadable_files_are_explained(self):
        good = self.file("r.rttm", RTTM)
        for path in (self.file("a.rttm", "SPEAKER one 1 x 1\n"), self.file("a.json", "{"), self.file("b.json", "[]"),
                     self.file("c.rttm", "SPEAKER one 1 0 nan <NA> <NA> a <NA> <NA>"), os.path.join(self.folder, "no")):
            status, out, err = self.run_tool(good, path)
            self.assertEqual((status, out), (2, ""))
            self.assertIn(path, err)
            self.assertEqual(err.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
