"""What tools/wer prints for people: lines of figures, and aligned words with what differs marked.

    so it [-goes-]{+go+} on [-and-] on     a word of the reference changed, one left out
"""
import shutil
import textwrap

RED, GREEN, OFF = "\033[31m", "\033[32m", "\033[0m"
CONTEXT = 8  # equal words shown on each side of a difference


def line(figures):
    text = ("wer %(wer).2f %% (%(errors)d errors in %(words)d words: %(substitutions)d substitutions, "
            "%(deletions)d deletions, %(insertions)d insertions)" % figures)
    return text + "; cer %(cer).2f %%" % figures if "cer" in figures else text


def equal_run(words, first, last):
    """Equal words, without the middle of long runs; `first`, `last`: nothing precedes, nothing follows."""
    before, behind = 0 if first else CONTEXT, 0 if last else CONTEXT
    left_out = len(words) - before - behind
    if left_out < CONTEXT:
        return words
    return words[:before] + ["... (%d)" % left_out] + words[len(words) - behind:]


def marked(reference, hypothesis):
    return ("[-%s-]" % reference if reference is not None else "") + \
        ("{+%s+}" % hypothesis if hypothesis is not None else "")


def pieces(pairs):
    """Words and marks, in order."""
    out, run, first = [], [], True
    for reference, hypothesis in pairs:
        if reference == hypothesis:
            run.append(reference)
            continue
        out += equal_run(run, first, False) + [marked(reference, hypothesis)]
        run, first = [], False
    return out + equal_run(run, first, True)


def aligned(pairs, colour):
    """The text of a comparison, wrapped to the terminal."""
    width = max(shutil.get_terminal_size((100, 24)).columns, 20)
    text = textwrap.fill(" ".join(pieces(pairs)), width - 1, break_long_words=False, break_on_hyphens=False)
    if not colour:
        return text
    for mark, start, end in (("[-", RED, "-]"), ("{+", GREEN, "+}")):
        text = text.replace(mark, start + mark).replace(end, end + OFF)
    return text
