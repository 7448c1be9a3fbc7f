#!/usr/bin/env python3
"""Writes plugins/num/unicode_nfc.inc: canonical decompositions, compositions and combining classes.

    python3 tools/unicode_nfc.py > plugins/num/unicode_nfc.inc

The facts are those of the Unicode version that PyPI's unicodedata2 knows (16.0, as the tokenizers of Hugging Face have
it), or else this Python; the file names it. Hangul
syllables follow a rule and are left out.

The NFC of Hugging Face's tokenizers is of Unicode 9: marks that are younger, which no vocabulary was trained with, are
characters like any other there. With PyPI's tokenizers installed they are left out here too, so that texts are cut
alike; without it the tables are those of the version above.
"""
import sys

try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

try:
    from tokenizers import normalizers
    REFERENCE = normalizers.NFC()
except ImportError:
    REFERENCE = None

HANGUL = range(0xAC00, 0xAC00 + 11172)


def is_younger(c):
    """Whether the reference does not know what c does beside marks."""
    tries = [chr(c), chr(c) + "\u0301\u0323", "a\u0301" + chr(c), "a" + chr(c) + "\u0301"]
    return REFERENCE is not None and not 0xD800 <= c < 0xE000 and any(
        REFERENCE.normalize_str(t) != unicodedata.normalize("NFC", t) for t in tries)


YOUNGER = {c for c in range(sys.maxunicode + 1) if is_younger(c)}


def combining(c):
    return 0 if c in YOUNGER else unicodedata.combining(chr(c))


def expand(c):
    if c in YOUNGER:
        return [c]
    parts = unicodedata.decomposition(chr(c))
    if not parts or parts.startswith("<"):
        return [c]
    return [x for part in parts.split() for x in expand(int(part, 16))]


def classes():
    start, before = 0, 0
    for c in range(sys.maxunicode + 2):
        here = combining(c) if c <= sys.maxunicode else 0
        if here != before:
            if before:
                yield start, c - 1, before
            start, before = c, here


def main():
    print(f"/* Made by tools/unicode_nfc.py from Unicode {unicodedata.unidata_version}. */")
    print("static const struct decomposition decompositions[] = {")
    for c in range(sys.maxunicode + 1):
        full = expand(c)
        if c not in HANGUL and full != [c]:
            print(f"{{0x{c:x}, {{{', '.join(hex(x) for x in full)}}}}},")
    print("};\nstatic const struct composition compositions[] = {")
    pairs = []
    for c in range(sys.maxunicode + 1):
        parts = unicodedata.decomposition(chr(c)).split()
        if c not in HANGUL and c not in YOUNGER and len(parts) == 2 and not parts[0].startswith("<"):
            if unicodedata.normalize("NFC", chr(c)) == chr(c):
                pairs.append((int(parts[0], 16), int(parts[1], 16), c))
    for first, second, c in sorted(pairs):
        print(f"{{0x{first:x}, 0x{second:x}, 0x{c:x}}},")
    print("};\nstatic const struct num_char_range combining[] = {")
    for first, last, value in classes():
        print(f"{{0x{first:x}, 0x{last:x}, {value}}},")
    print("};")


if __name__ == "__main__":
    main()
