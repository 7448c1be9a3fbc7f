#!/usr/bin/env python3
"""Writes tests/data/expected/english.json: the toy model as an English-only one, whose prompts hold no language.

    python3 tools/reference/english.py
"""
import cases

MODES = {
    "greedy": {"temperature": [0], "beam_size": 1, "max_new_tokens": 40, "logprob_threshold": -1e9},
    "beams with prompts": {"temperature": [0], "max_new_tokens": 40, "logprob_threshold": -1e9,
                           "initial_prompt": "Names: Nina, Kevin.", "prefix": "So"},
}

if __name__ == "__main__":
    cases.write("english.json", cases.twenty_inputs()[::3], MODES, multilingual=False)
