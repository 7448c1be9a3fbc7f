#!/usr/bin/env python3
"""Compares tools/werlib's normalisers and alignments with openai-whisper's and jiwer's over made strings, and writes
tests/data/expected/normaliser.json: a few of them with what the reference makes of them.

    python3 tools/reference/normaliser.py [STRINGS]           (needs openai-whisper and jiwer; seconds)

The comparison uses the reference's own table of spellings; the stored values are made without it.
"""
import json
import pathlib
import random
import sys

import jiwer
from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from werlib import align, english, numbers  # noqa: E402
from werlib.basic import BasicNormaliser  # noqa: E402

STORED = 150
NUMBERS = sorted(numbers.SAYS_DIGITS)
OTHERS = (
    "a half|and a half|the|cat|colour|realised|mr.|Mrs|St. John|dr|prof.|jr|can't|won't|Let's|y'all|i'ma|gonna|ma'am|"
    "he's been|she'd gone|they'd done|it's got|it 's|don't|they're|we've|I'm|'tis|O'Neil|one's|uh|um|hmm|mhm|"
    "$20|€3.50|£5|$0.07|$1.00|$2 and ¢7|¢5|and ¢7|1|1s|10|2020|3.14|0|0.5|00|100|007|20th|5 th|1960 s|a1b2|5kg|50%|%|"
    "$|-5|+3|U.S.A.|e.g.|...|..|1,000|1,000,000|(aside)|(|)|[noise]|[|<b>|café|naïve|œuvre|Straße|Łódź|Ødegård|½|²|٣|"
    "\u2014|twenty-one|10:30|http://x.y/z|!|?|,|per cent|ninth|nineth|seconds|zeroth|\n|\t|\u00a0|e\u0301|日本語|ไทย|"
    "हिन्दी|😀").split("|")


def made(rng):
    """A string: words that numbers are made of, odd words, or any characters."""
    if rng.random() < 0.05:
        return "".join(chr(rng.choice((rng.randrange(32, 127), rng.randrange(32, 0x300), rng.randrange(32, 0xd800))))
                       for _ in range(rng.randrange(30)))
    words = [rng.choice(NUMBERS if rng.random() < 0.6 else OTHERS) for _ in range(rng.randrange(1, 10))]
    text = (" " if rng.random() < 0.8 else rng.choice(("", "-", "  "))).join(words)
    return text.title() if rng.random() < 0.1 else text


def compare_texts(n):
    reference, basic = EnglishTextNormalizer(), BasicTextNormalizer()
    ours, ours_basic = english.EnglishNormaliser(reference.standardize_spellings.mapping), BasicNormaliser()
    rng = random.Random(1)
    for _ in range(n):
        text = made(rng)
        for theirs, own in ((reference, ours), (basic, ours_basic)):
            if theirs(text) != own(text):
                sys.exit("%r: %r, ours %r" % (text, theirs(text), own(text)))
    print("%d strings equal, English and basic" % n)


def compare_alignments(n):
    rng = random.Random(2)
    for _ in range(n):
        letters = "abcdefghijklmnopqrst"[:rng.choice((2, 3, 5, 20))]
        reference, hypothesis = ([rng.choice(letters) for _ in range(rng.randrange(1, 60))] for _ in range(2))
        got = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
        if align.count(align.align(reference, hypothesis)) != (got.substitutions, got.deletions, got.insertions):
            sys.exit("%s / %s differ" % (reference, hypothesis))
    print("%d alignments equal" % n)


def store():
    reference, basic, rng = EnglishTextNormalizer(), BasicTextNormalizer(), random.Random(3)
    reference.standardize_spellings.mapping = {}
    texts = [made(rng) for _ in range(STORED)]
    values = {"english": [[t, reference(t)] for t in texts], "basic": [[t, basic(t)] for t in texts[:STORED // 3]]}
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":")).replace("],[", "],\n[")
    (ROOT / "tests/data/expected/normaliser.json").write_text(text + "\n")


if __name__ == "__main__":
    compare_texts(int(sys.argv[1]) if len(sys.argv) > 1 else 20000)
    compare_alignments(1000)
    store()
