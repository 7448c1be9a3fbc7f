"""Whisper's normaliser for English: contractions and titles in full, fillers left out, numbers in digits, American
spelling. Results equal those of openai-whisper's, to the character; tools/reference/normaliser.py compares them.
"""
import re
import unicodedata

from werlib.basic import Signs, single_blanks, without_asides
from werlib.numbers import numbers_as_digits

# Replaced one after another, in this order: later ones see what earlier ones wrote.
WHOLE_WORDS = {
    "won't": "will not", "can't": "can not", "let's": "let us", "ain't": "aint", "y'all": "you all",
    "wanna": "want to", "gotta": "got to", "gonna": "going to", "i'ma": "i am going to", "imma": "i am going to",
    "woulda": "would have", "coulda": "could have", "shoulda": "should have", "ma'am": "madam",
}
TITLES = {
    "mr": "mister", "mrs": "missus", "st": "saint", "dr": "doctor", "prof": "professor", "capt": "captain",
    "gov": "governor", "ald": "alderman", "gen": "general", "sen": "senator", "rep": "representative",
    "pres": "president", "rev": "reverend", "hon": "honorable", "asst": "assistant", "assoc": "associate",
    "lt": "lieutenant", "col": "colonel", "jr": "junior", "sr": "senior", "esq": "esquire",
}
WORD_ENDS = {
    "'d been": "had been", "'s been": "has been", "'d gone": "had gone", "'s gone": "has gone", "'d done": "had done",
    "'s got": "has got", "n't": "not", "'re": "are", "'s": "is", "'d": "would", "'ll": "will", "'t": "not",
    "'ve": "have", "'m": "am",
}
REPLACED = (
    [(re.compile(r"\b%s\b" % word), text) for word, text in WHOLE_WORDS.items()] +
    [(re.compile(r"\b%s\b" % word), text + " ") for word, text in TITLES.items()] +
    [(re.compile(r"%s\b" % end), " " + text) for end, text in WORD_ENDS.items()]
)
FILLER = re.compile(r"\b(?:hmm|mm|mhm|mmm|uh|um)\b")
BLANK_APOSTROPHE = re.compile(r"\s+'")
THOUSANDS_COMMA = re.compile(r"(\d),(\d)")
FULL_STOP = re.compile(r"\.([^0-9]|$)")
LONE_SIGN = re.compile(r"[.$¢€£]([^0-9])")
LONE_PERCENT = re.compile(r"([^0-9])%")


class EnglishNormaliser:
    """A callable from text to text. `spellings`: {British: American}, or empty."""

    def __init__(self, spellings):
        self.spellings = spellings
        self.signs = Signs(kept=".%$¢€£", plain=True)

    def __call__(self, text):
        text = FILLER.sub("", without_asides(text))
        text = BLANK_APOSTROPHE.sub("'", text)
        for pattern, replacement in REPLACED:
            text = pattern.sub(replacement, text)
        text = THOUSANDS_COMMA.sub(r"\1\2", text)
        text = FULL_STOP.sub(r" \1", text)
        text = unicodedata.normalize("NFKD", text).translate(self.signs)
        words = numbers_as_digits(text).split()
        text = " ".join(self.spellings.get(word, word) for word in words)
        text = LONE_SIGN.sub(r" \1", text)
        return single_blanks(LONE_PERCENT.sub(r"\1 ", text))
