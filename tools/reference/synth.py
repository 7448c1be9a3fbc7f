#!/usr/bin/env python3
"""Writes tests/data/expected/synth.json: openai-whisper with the weights of the embedded model, its window of 10 s.

    python3 tools/reference/synth.py
"""
import cases

INPUTS = [[{"wav": "meeting"}], [{"wav": "command"}], [{"wav": "noise-only"}],
          [{"wav": "command"}, {"silence": 3}, {"wav": "meeting", "to": 13.3}, {"silence": 11}]]
ONE = {"language": "en", "condition_on_previous_text": False, "max_new_tokens": 64, "max_initial_timestamp": 1.0,
       "suppress_tokens": [519]}  # an empty list would leave the markers in
MODES = {
    "defaults": {**ONE},
    "greedy": {**ONE, "temperature": [0], "beam_size": 1},
    "words": {**ONE, "word_timestamps": True},
    "words, silence skipped": {**ONE, "word_timestamps": True, "hallucination_silence_threshold": 1.0},
    "previous text": {**ONE, "condition_on_previous_text": True, "seed": 4},
    "no timestamps": {**ONE, "without_timestamps": True},
}

if __name__ == "__main__":
    cases.write("synth.json", INPUTS, MODES, synth=True)
