#!/usr/bin/env python3
"""Writes the two Unicode tables of plugins/llm: which characters make words, and their other case.

    python3 tools/unicode_words.py words > plugins/llm/unicode_words.inc
    python3 tools/unicode_words.py case > plugins/llm/unicode_case.inc

words: ranges of letters with their marks (LM_LETTER), of numbers (LM_NUMBER), and of characters that are written without
spaces between words, each of which counts as one (LM_IDEOGRAPH). case: runs of capitals, {first, last, step, distance to
the small letter}, simple mappings only. The facts are those of the Unicode version that this Python knows.
"""
import sys
import unicodedata

UNSPACED = ("CJK UNIFIED", "CJK COMPATIBILITY", "HIRAGANA", "KATAKANA", "THAI CHARACTER", "LAO LETTER", "LAO VOWEL",
            "KHMER LETTER", "KHMER INDEPENDENT", "MYANMAR LETTER")


def word_kind(c):
    category = unicodedata.category(chr(c))
    if category[0] == "L" and unicodedata.name(chr(c), "").startswith(UNSPACED):
        return "LM_IDEOGRAPH"
    return {"L": "LM_LETTER", "M": "LM_LETTER", "N": "LM_NUMBER"}.get(category[0])


def words():
    start, kind = 0, None
    for c in range(sys.maxunicode + 2):
        here = word_kind(c) if c <= sys.maxunicode else None
        if here != kind:
            if kind:
                print(f"{{0x{start:x}, 0x{c - 1:x}, {kind}}},")
            start, kind = c, here


def pairs():
    """Capitals whose small letter has them as its capital: a mapping that can be undone."""
    for c in range(sys.maxunicode + 1):
        low = chr(c).lower()
        if len(low) == 1 and low != chr(c) and low.upper() == chr(c):
            yield c, ord(low) - c


def case():
    runs = []
    for c, delta in pairs():
        if runs:
            first, last, step, d = runs[-1]
            if d == delta and (first == last and c - last <= 2 or c - last == step):
                runs[-1] = (first, c, c - last, d)
                continue
        runs.append((c, c, 1, delta))
    for first, last, step, delta in runs:
        print(f"{{0x{first:x}, 0x{last:x}, {step}, {delta}}},")


def main():
    print(f"/* Made by tools/unicode_words.py from Unicode {unicodedata.unidata_version}. */")
    {"words": words, "case": case}[sys.argv[1]]()


if __name__ == "__main__":
    main()
