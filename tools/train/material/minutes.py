"""Conversations as text, and what is to be made of them: punctuation, facts, a summary.

Sentences come from talklib's grammar; those with a meaning for the minutes are built here, so that who is to do what is known.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
from talklib.sentences import RULES, draw, sentence  # noqa: E402

NAMES = RULES["name"].split("|")
SPEAKERS = [["A", "B", "C", "D"], ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02", "SPEAKER_03"],
            ["Speaker 1", "Speaker 2", "Speaker 3", "Speaker 4"]]
DECIDED = ("has been approved", "was canceled")


def capital(text):
    return text[0].upper() + text[1:]


class Fact:
    """What a sentence means: an action item (what, who or None), a decision (text), or neither."""

    def __init__(self, text, what=None, who=None, decision=None):
        self.text, self.what, self.who, self.decision = capital(text), what, who, decision


def promise(r, speaker):
    task, when = draw(r, "task"), draw(r, "when")
    full, person, name = "%s %s" % (task, when), draw(r, "person"), draw(r, "name")
    return r.choice([
        Fact("%s will %s." % (person, full), full, person),
        Fact("I will %s." % full, full, speaker),
        Fact("%s, can you %s?" % (name, full), full, name),
        Fact("we need to %s." % full, full),
        Fact("could you please %s?" % task, task),
        Fact("do not forget to %s." % task, task),
        Fact("remind me to %s." % full, full, speaker),
    ])


def decision(r):
    made = r.choice(["%s %s" % (draw(r, "topic"), r.choice(DECIDED)),
                     "the deadline for project %s is %s" % (draw(r, "project"), draw(r, "date")),
                     "the meeting starts at %s" % draw(r, "clock")])
    return Fact(made + ".", decision=made)


def plain(r):
    """A sentence that is neither: those rules of the grammar are drawn again."""
    while True:
        text = sentence(r)
        if not re.search(r"\bwill\b|\bneed to\b|can you|please|forget|Remind|deadline|meeting starts|should|"
                         + "|".join(DECIDED), text):
            return Fact(text)


def meeting(r, least=5, most=12):
    """[(speaker, [Fact])], turns of a conversation"""
    cast = r.choice(SPEAKERS + [r.sample(NAMES, 4)])[:r.randint(2, 4)]
    turns, last = [], None
    for _ in range(r.randint(least, most)):
        last = r.choice([s for s in cast if s != last])
        facts = []
        for _ in range(r.choice((1, 1, 2))):
            kind = r.random()
            facts.append(promise(r, last) if kind < 0.3 else decision(r) if kind < 0.42 else plain(r))
        turns.append((last, facts))
    return turns


def transcript(turns):
    """As llm/summarize and llm/extract show one to a model."""
    return "".join("%s: %s\n" % (who, " ".join(f.text for f in facts)) for who, facts in turns)


def facts_of(turns):
    """As llm/extract's own schema has them."""
    facts = [f for _, some in turns for f in some]
    names = []
    for f in facts:
        names += [w for w in re.findall(r"\w+", f.text) if w in NAMES and w not in names]
    return {"action_items": [{"what": f.what, "who": f.who} for f in facts if f.what], "names": names,
            "decisions": [capital(f.decision) for f in facts if f.decision]}


def summary(turns):
    """What was decided and who is to do what; what else was talked about where there is neither."""
    facts = [f for _, some in turns for f in some]
    parts = [capital(f.decision) + "." for f in facts if f.decision]
    parts += ["%s will %s." % (capital(f.who), f.what) if f.who else "To do: %s." % f.what for f in facts if f.what]
    return " ".join(parts[:6]) if parts else "Nothing was decided."


def bare(text):
    """As a recogniser without punctuation would write it."""
    return re.sub(r"[.,?!]", "", text).lower()


def roughened(r, text):
    """Some marks and capitals lost."""
    text = re.sub(r"[.,?]", lambda m: "" if r.random() < 0.6 else m.group(), text)
    return " ".join(w.lower() if r.random() < 0.6 else w for w in text.split())


def paragraph(r, most=560):
    """Sentences of one speaker, up to so many characters"""
    text = ""
    for _ in range(r.randint(1, 12)):
        one = r.choice([lambda: sentence(r), lambda: promise(r, "A").text, lambda: decision(r).text])()
        if len(text) + len(one) > most:
            break
        text += " " + one
    return text.strip()
