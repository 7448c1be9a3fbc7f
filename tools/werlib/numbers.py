"""Numbers in English words as digits, the way Whisper's normaliser writes them.

    twenty twenty one -> 2021          two point five million dollars -> $2500000
    one oh one        -> 101           thirty third -> 33rd           double o seven -> 007

A reader goes through the words once. It holds the number it is in (`value`): an int while words still add up
("forty" + "two"), a string of digits once they only follow each other ("nineteen" "ninety nine"), and a sign that the
next thing written gets (`prefix`). The rules, odd ones too, are openai-whisper's; tools/reference/normaliser.py
compares results.
"""
import re
from fractions import Fraction

LONGEST = 4000  # digits; Python makes no text of more than 4300
DIGITS = re.compile(r"\d+(\.\d+)?")
ZEROS = frozenset(("o", "oh", "zero"))
ONES = {name: value for value, name in enumerate(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen".split(), 1)}
TENS = {name: 10 * value for value, name in enumerate(
    "twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
MULTIPLIERS = {"hundred": 100}
MULTIPLIERS.update((name, 1000 ** power) for power, name in enumerate(
    "thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion decillion"
    .split(), 1))
ODD_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
                "twelve": "twelfth"}  # "ninth" is none: the reference has "nineth"
SIGNS = {"minus": "-", "negative": "-", "plus": "+", "positive": "+"}
CURRENCIES = {"pound": "£", "euro": "€", "dollar": "$", "cent": "¢"}
CURRENCIES.update([(name + "s", sign) for name, sign in CURRENCIES.items()])
PREFIXES = frozenset("-+£€$¢")
REPEATS = {"double": 2, "triple": 3}


def endings():
    """{word: (number, ending)}: plurals and ordinals of the small numbers, then those of the multipliers."""
    small, large = {"zeroth": (0, "th")}, {}
    for name, value in ONES.items():
        ordinal = ODD_ORDINALS.get(name, name + "th")
        small["sixes" if name == "six" else name + "s"] = value, "s"
        small[ordinal] = value, {1: "st", 2: "nd", 3: "rd"}.get(value, "th")
    for name, value in TENS.items():
        small[name[:-1] + "ies"] = value, "s"
        small[name[:-1] + "ieth"] = value, "th"
    for name, value in MULTIPLIERS.items():
        large[name + "s"] = value, "s"
        large[name + "th"] = value, "th"
    return small, large


SMALL_ENDING, LARGE_ENDING = endings()
DECIMALS = ZEROS | set(ONES) | set(TENS)
SAYS_DIGITS = frozenset().union(DECIMALS, MULTIPLIERS, SMALL_ENDING, LARGE_ENDING, SIGNS, CURRENCIES, REPEATS,
                                ("per", "percent", "and", "point"))


def fraction(value):
    """The number that a value stands for; None where digits and points make none, or one too long to be one."""
    try:
        return Fraction(value) if len(value) <= LONGEST else None
    except ValueError:
        return None


def is_digits(word):
    return word is not None and DIGITS.fullmatch(word) is not None


class Reader:
    """One pass over the words of a text; written() gives the result."""

    def __init__(self, words):
        self.words = words
        self.prefix = None
        self.value = None
        self.out = []

    def put(self, text):
        """Writes a word or number; what was being read is over."""
        self.out.append((self.prefix or "") + str(text))
        self.prefix = self.value = None

    def finish_number(self):
        if self.value is not None:
            self.put(self.value)

    def digits_so_far(self):
        """0 as an int has not been said in digits yet: it vanishes."""
        return str(self.value or "")

    def written(self):
        before, skip = None, False
        for word, after in zip(self.words, self.words[1:] + [None]):
            skip = not skip and self.take(before, word, after)
            before = word
        self.finish_number()
        return self.out

    # ---- One word; True where it takes the next one with it ----

    def take(self, before, word, after):
        bare = word[1:] if word[0] in PREFIXES else word
        if is_digits(bare):
            return self.take_digits(word, bare)
        if word not in SAYS_DIGITS:
            self.finish_number()
            self.put(word)
        elif word in ZEROS:
            self.value = self.digits_so_far() + "0"
        elif word in ONES or word in TENS:
            self.value = self.joined(before, ONES.get(word) or TENS[word])
        elif word in SMALL_ENDING:
            number, ending = SMALL_ENDING[word]
            self.put("%s%s" % (self.joined(before, number), ending))
        elif word in MULTIPLIERS:
            self.value = self.multiplied(MULTIPLIERS[word])
        elif word in LARGE_ENDING:
            number, ending = LARGE_ENDING[word]
            self.put("%s%s" % (self.multiplied(number), ending))
        else:
            return self.take_special(before, word, after)
        return False

    def take_digits(self, word, bare):
        if isinstance(self.value, str) and self.value.endswith("."):
            self.value += word
            return False
        self.finish_number()
        if word != bare:
            self.prefix = word[0]
        number = fraction(bare)
        self.value = number.numerator if number is not None and number.denominator == 1 else bare
        return False

    def joined(self, before, number):
        """The value with a number below 100 behind it: added where there is room for it, else as further digits."""
        value = self.value
        if value is None:
            return number
        if isinstance(value, str) or (number < 20 and before in ONES):
            if before in TENS and number < 10:
                value = value[:-1]  # "twenty" "one" behind other digits
            return "%s%d" % (value, number)
        room = 10 if number < 10 else 100
        return value + number if value % room == 0 else "%d%d" % (value, number)

    def multiplied(self, multiplier):
        """The value times a hundred and more; of an int, what is below the last thousand."""
        if self.value is None:
            return multiplier
        if isinstance(self.value, int):
            return self.value // 1000 * 1000 + self.value % 1000 * multiplier
        number = fraction(self.value)
        if number is not None and (number * multiplier).denominator == 1:
            return (number * multiplier).numerator
        self.put(self.value)
        return multiplier

    # ---- Words that are numbers only beside numbers ----

    def take_special(self, before, word, after):
        number_follows = after in SAYS_DIGITS or is_digits(after)
        if word in CURRENCIES and self.value is not None:
            self.prefix = CURRENCIES[word]
            self.put(self.value)
        elif word in ("per", "percent") and self.value is not None:
            return self.take_percent(word, after)
        elif word in SIGNS and number_follows:
            self.finish_number()
            self.prefix = SIGNS[word]
        elif word in REPEATS and (after in ONES or after in ZEROS):
            self.value = self.digits_so_far() + str(ONES.get(after, 0)) * REPEATS[word]
            return True
        elif word == "point" and number_follows:
            if after in DECIMALS or is_digits(after):
                self.value = self.digits_so_far() + "."
        elif word != "and" or not number_follows or before not in MULTIPLIERS:
            self.finish_number()
            self.put(word)
        return False

    def take_percent(self, word, after):
        if word == "percent" or after == "cent":
            self.put("%s%%" % self.value)
            return word == "per"
        self.finish_number()
        self.put(word)
        return False


HALF = re.compile(r"\band\s+a\s+half\b")
LETTER_BESIDE_DIGIT = re.compile(r"(?<=[a-z])(?=[0-9])|(?<=[0-9])(?=[a-z])")
ENDING_APART = re.compile(r"(?<=[0-9])\s+(?=(?:st|nd|rd|th|s)\b)")
AND_CENTS = re.compile(r"([€£$][0-9]+) (?:and )?¢([0-9]{1,2})\b")
ONLY_CENTS = re.compile(r"[€£$]0.([0-9]{1,2})\b")  # any character for the point, as the reference has it
A_ONE = re.compile(r"\b1(?=s?\b)")


def halves_as_points(text):
    """"two and a half" is two point five; what stands alone before the phrase and is blank goes with it."""
    *pieces, last = HALF.split(text)
    parts = []
    for piece in pieces:
        if piece.strip():
            a_number = piece.split()[-1] in DECIMALS or piece.split()[-1] in MULTIPLIERS
            parts += [piece, "point five" if a_number else "and a half"]
    return " ".join(parts + [last] if last.strip() else parts)


def numbers_as_digits(text):
    """Lower-case text with its numbers in digits, words apart by one blank; 1 alone stays the word "one"."""
    text = LETTER_BESIDE_DIGIT.sub(" ", halves_as_points(text))
    text = " ".join(Reader(ENDING_APART.sub("", text).split()).written())
    text = AND_CENTS.sub(lambda m: "%s.%02d" % (m.group(1), int(m.group(2))), text)
    text = ONLY_CENTS.sub(lambda m: "¢%d" % int(m.group(1)), text)
    return A_ONE.sub("one", text)
