"""Writes tests/data/expected/der.json: random turns, and their rates by pyannote.metrics.

    pip install pyannote.metrics==4.2.0; python3 tools/reference/der.py
"""
import json
import os
import random
import warnings

from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "data", "expected", "der.json")
N_CASES = 40


def annotation(turns):
    result = Annotation()
    for i, (start, end, speaker) in enumerate(turns):
        result[Segment(start, end), i] = speaker
    return result


def random_turns(rng, prefix, most):
    """Up to `most` turns that may overlap, also of one speaker; times to 1/1000 s."""
    n_speakers = rng.choice((2, 4, 7))
    turns = []
    for _ in range(rng.randrange(most)):
        start = round(rng.uniform(0, 60), 3)
        turns.append((start, round(start + rng.uniform(0.05, 8), 3), prefix + str(rng.randrange(n_speakers))))
    return turns


def make_case(rng):
    case = {
        "reference": random_turns(rng, "r", 25), "hypothesis": random_turns(rng, "h", 25),
        "collar": rng.choice((0, 0, 0.5, 0.1)), "skip_overlap": rng.random() < 0.4, "uem": None,
    }
    if rng.random() < 0.4:
        case["uem"] = [(round(rng.uniform(0, 20), 3), round(rng.uniform(25, 40), 3)), (41, 70)]
    uem = Timeline([Segment(*span) for span in case["uem"]]) if case["uem"] else None
    for key, metric in (("der", DiarizationErrorRate), ("jer", JaccardErrorRate)):
        measure = metric(collar=case["collar"], skip_overlap=case["skip_overlap"])
        case[key] = measure(annotation(case["reference"]), annotation(case["hypothesis"]), uem=uem)
    return case


def main():
    warnings.simplefilter("ignore")
    rng = random.Random(7)
    with open(OUT, "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(make_case(rng)) for _ in range(N_CASES)) + "\n]\n")


if __name__ == "__main__":
    main()
