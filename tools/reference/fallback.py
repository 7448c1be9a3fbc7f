#!/usr/bin/env python3
"""Writes tests/data/expected/fallback.json: temperatures that openai-whisper tries and keeps, its silences, and its
samples, with Gumbel noise of our generator.

    python3 tools/reference/fallback.py
"""
import cases

TRY = {"max_new_tokens": 32, "language": "en", "condition_on_previous_text": False}
MODES = {
    "as it comes": {**TRY},
    "greedy, one sample": {**TRY, "beam_size": 1, "best_of": 1, "seed": 7},
    "unlikely": {**TRY, "logprob_threshold": -0.88, "best_of": 3, "seed": 123456789012},
    "repetitive": {**TRY, "logprob_threshold": -2.0, "compression_ratio_threshold": 0.95, "seed": 1},
    "silences": {**TRY, "logprob_threshold": -1.02, "no_speech_threshold": 0.5, "language": "de",
                 "initial_prompt": "The budget of the project: 22 euros.", "carry_initial_prompt": True},
    "no fallback": {**TRY, "temperature": [0.7], "best_of": 4, "length_penalty": 0.3},
}

if __name__ == "__main__":
    cases.write("fallback.json", cases.twenty_inputs()[3:15], MODES)
