"""Shortest edit sequences between two sequences of words or characters.

The bit-parallel method of Myers (1999) as Hyyrö (2003) gives it, with Python's integers as bit vectors: a column of
the table of distances is two integers, in which bit r says whether the distance grows (`up`) or shrinks (`down`) from
r to r + 1 items of the reference. Columns are kept at every STEP items of the hypothesis; on the way back, those
between are made again, so 60,000 characters beside 60,000 take seconds and megabytes.

Among shortest sequences the one is taken that, from the end, deletes as soon as it can and inserts as late as it has
to: as rapidfuzz does, and with it jiwer, so that counts agree with theirs (where theirs cuts sequences beyond a
thousand items into pieces, another of the shortest may come out; the number of errors is the same).
"""
STEP = 256


class Columns:
    """Columns of the table, by the number of items of the hypothesis, to be asked for from the last one down."""

    def __init__(self, reference, hypothesis):
        self.hypothesis = hypothesis
        self.all = (1 << len(reference)) - 1
        self.places = {}
        for row, item in enumerate(reference):
            self.places[item] = self.places.get(item, 0) | 1 << row
        self.kept = [(self.all, 0)]
        self.first, self.block = -1, []
        for start in range(0, len(hypothesis), STEP):
            self.kept.append(self.run(start)[-1])

    def run(self, start):
        """The columns start + 1, start + 2 ..., at most STEP of them; `start` is a multiple of STEP."""
        columns, (up, down) = [], self.kept[start // STEP]
        for item in self.hypothesis[start:start + STEP]:
            same = self.places.get(item, 0)
            diagonal = (((same & up) + up) ^ up) | same | down  # no dearer than the neighbour up and left
            right = (down | (self.all & ~(diagonal | up))) << 1 | 1
            left = (diagonal & up) << 1
            up = (left | ~(diagonal | right)) & self.all
            down = right & diagonal & self.all
            columns.append((up, down))
        return columns

    def __getitem__(self, column):
        if column == 0:
            return self.kept[0]
        start = (column - 1) // STEP * STEP
        if start != self.first:
            self.first, self.block = start, self.run(start)
        return self.block[column - 1 - start]


def common(a, b):
    """How many items both begin with."""
    n = 0
    while n < len(a) and n < len(b) and a[n] == b[n]:
        n += 1
    return n


def middle(reference, hypothesis):
    """Pairs between sequences that neither begin nor end alike, last first."""
    columns = Columns(reference, hypothesis)
    row, column = len(reference), len(hypothesis)
    while row and column:
        if columns[column][0] >> (row - 1) & 1:
            row -= 1
            yield reference[row], None
        elif column > 1 and columns[column - 1][1] >> (row - 1) & 1:
            column -= 1
            yield None, hypothesis[column]
        else:
            row, column = row - 1, column - 1
            yield reference[row], hypothesis[column]
    for r in reversed(reference[:row]):
        yield r, None
    for h in reversed(hypothesis[:column]):
        yield None, h


def align(reference, hypothesis):
    """[(item of reference or None, item of hypothesis or None)] of a shortest edit sequence."""
    before = common(reference, hypothesis)
    reference_rest, hypothesis_rest = reference[before:], hypothesis[before:]
    behind = common(reference_rest[::-1], hypothesis_rest[::-1])
    end = len(reference) - behind
    pairs = list(middle(reference[before:end], hypothesis[before:len(hypothesis) - behind]))
    same = [(item, item) for item in reference[:before]]
    return same + pairs[::-1] + [(item, item) for item in reference[end:]]


def count(pairs):
    """(substitutions, deletions, insertions)"""
    deletions = sum(h is None for _, h in pairs)
    insertions = sum(r is None for r, _ in pairs)
    return sum(r != h for r, h in pairs) - deletions - insertions, deletions, insertions
