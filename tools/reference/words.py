#!/usr/bin/env python3
"""Writes tests/data/expected/words.json: word times of openai-whisper with the toy model.

    python3 tools/reference/words.py
"""
import cases

OFF = {"compression_ratio_threshold": 1e9, "logprob_threshold": -1e9, "no_speech_threshold": 1e9}
WORDS = {"max_new_tokens": 60, "temperature": [0], "beam_size": 1, "word_timestamps": True, **OFF}
INPUTS = cases.twenty_inputs()[::2] + [
    [{"wav": "meeting"}, {"silence": 7.3}, {"wav": "command"}, {"seed": 5, "seconds": 31.4}]]
MODES = {
    "words": {**WORDS, "language": "en"},
    "unspaced": {**WORDS, "language": "zh", "condition_on_previous_text": False},
    "no timestamps": {**WORDS, "language": "de", "without_timestamps": True, "suppress_tokens": list(range(524, 2025))},
    "silence skipped": {**WORDS, "language": "en", "hallucination_silence_threshold": 0.4},
    "own punctuation": {**WORDS, "language": "en", "beam_size": 3, "prepend_punctuations": "a b e i",
                        "append_punctuations": "#%5)!$"},
}

if __name__ == "__main__":
    cases.write("words.json", INPUTS, MODES)
