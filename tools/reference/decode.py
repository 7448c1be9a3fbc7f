#!/usr/bin/env python3
"""Writes tests/data/expected/decode.json: what openai-whisper makes of 20 inputs in every mode of decoding.

    python3 tools/reference/decode.py            (needs openai-whisper from PyPI; some minutes)
"""
import cases

OFF = {"compression_ratio_threshold": 1e9, "logprob_threshold": -1e9, "no_speech_threshold": 1e9}
GREEDY = {"temperature": [0], "beam_size": 1, "max_new_tokens": 48, **OFF}
BEAM = {**GREEDY, "beam_size": 5}
PROMPT = {"initial_prompt": "The budget of the project: 22 euros.", "prefix": "Next week", "language": "de"}
MODES = {
    "greedy": {**GREEDY, "language": "en"},
    "greedy without timestamps": {**GREEDY, "without_timestamps": True, "language": "es", "task": "translate"},
    "greedy with prompts": {**GREEDY, **PROMPT},
    "beam": {**BEAM, "language": "en"},
    "beam without timestamps": {**BEAM, "without_timestamps": True, "language": "en"},
    "beam with prompts": {**BEAM, **PROMPT, "patience": 1.6, "length_penalty": 0.6},
}


if __name__ == "__main__":
    cases.write("decode.json", cases.twenty_inputs(), MODES)
