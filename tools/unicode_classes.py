#!/usr/bin/env python3
"""Writes plugins/num/unicode_classes.inc: the ranges of letters (general category L*) and numbers (N*).

    python3 tools/unicode_classes.py > plugins/num/unicode_classes.inc

The facts are those of the Unicode version that PyPI's unicodedata2 knows (16.0, as the tokenizers of Hugging Face have
it), or else this Python; the file names it.
"""
import sys

try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

KINDS = {"L": "NUM_LETTER", "N": "NUM_NUMBER"}


def ranges():
    start, kind = 0, None
    for c in range(sys.maxunicode + 2):
        here = KINDS.get(unicodedata.category(chr(c))[0]) if c <= sys.maxunicode else None
        if here != kind:
            if kind:
                yield start, c - 1, kind
            start, kind = c, here


def main():
    print(f"/* Made by tools/unicode_classes.py from Unicode {unicodedata.unidata_version}. */")
    for first, last, kind in ranges():
        print(f"{{0x{first:x}, 0x{last:x}, {kind}}},")


if __name__ == "__main__":
    main()
