"""Whisper's basic normaliser, for any language, and what it shares with the English one.

Text loses its case, whatever stands in brackets, and all signs: characters of Unicode's categories M, S and P become
spaces. The English one also takes diacritics off letters. Results equal those of openai-whisper's normalisers, to the
character; tools/reference/normaliser.py compares them.
"""
import re
import unicodedata

ASIDES = (re.compile(r"[<\[][^>\]]*[>\]]"), re.compile(r"\([^)]+?\)"))
BLANKS = re.compile(r"\s+")

# Letters that Unicode does not take apart into a letter and a mark.
PLAIN_LETTERS = dict(zip("œŒøØæÆßẞđĐðÐþÞłŁ", "oe OE o O ae AE ss SS d D d D th th l L".split()))


class Signs(dict):
    """A table for str.translate() that fills itself: marks and signs to spaces, other characters as they are."""

    def __init__(self, kept="", plain=False):
        super().__init__((ord(c), c) for c in kept)
        self.plain = plain

    def __missing__(self, code):
        c = chr(code)
        category = unicodedata.category(c)
        if self.plain and c in PLAIN_LETTERS:
            self[code] = PLAIN_LETTERS[c]
        elif self.plain and category == "Mn":
            self[code] = ""
        else:
            self[code] = " " if category[0] in "MSP" else c
        return self[code]


def without_asides(text):
    """Lower case; what stands in brackets is left out."""
    text = text.lower()
    for aside in ASIDES:
        text = aside.sub("", text)
    return text


def single_blanks(text):
    return BLANKS.sub(" ", text)


class BasicNormaliser:
    """A callable from text to text."""

    def __init__(self):
        self.signs = Signs()

    def __call__(self, text):
        text = unicodedata.normalize("NFKC", without_asides(text))
        return single_blanks(text.translate(self.signs).lower())
