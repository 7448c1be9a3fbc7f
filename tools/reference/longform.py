#!/usr/bin/env python3
"""Writes tests/data/expected/longform.json: openai-whisper on sounds of several windows.

    python3 tools/reference/longform.py
"""
import cases

INPUTS = [
    [{"wav": "meeting"}, {"silence": 7.3}, {"wav": "command"}, {"seed": 5, "seconds": 31.4}, {"wav": "meeting"}],
    [{"seed": 3, "seconds": 47.05}, {"wav": "noise-only"}, {"wav": "meeting", "from": 10}],
]
OFF = {"compression_ratio_threshold": 1e9, "logprob_threshold": -1e9, "no_speech_threshold": 1e9}
LONG = {"max_new_tokens": 60, "temperature": [0], "beam_size": 1, **OFF}
MODES = {
    "greedy": {**LONG, "language": "en"},
    "beams, detected language": {**LONG, "beam_size": 5},
    "previous text off": {**LONG, "language": "zh", "condition_on_previous_text": False,
                          "initial_prompt": "A glossary"},
    "carried prompt": {**LONG, "language": "en", "carry_initial_prompt": True,
                       "initial_prompt": "A glossary of names: Nina, Kevin, Robert and the project Lantern. " * 12},
    "fallback resets the prompt": {"max_new_tokens": 60, "language": "es", "seed": 9, "beam_size": 2, "best_of": 2,
                                   "temperature": [0, 0.4, 0.8], "logprob_threshold": -0.95},
    "clips": {**LONG, "language": "en", "clip_timestamps": [1.5, 21.005, 33, 60.2, 62]},
    "late start": {**LONG, "language": "en", "max_initial_timestamp": 10, "suppress_tokens": [342, 301, 4],
                   "suppress_blank": False},
    "translated": {**LONG, "language": "de", "task": "translate", "without_timestamps": True},
}

if __name__ == "__main__":
    cases.write("longform.json", INPUTS, MODES)
