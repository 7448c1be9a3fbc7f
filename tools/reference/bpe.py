#!/usr/bin/env python3
"""Writes tests/data/expected/bpe.json: texts and their tokens, by tiktoken with both vocabularies of Whisper.

    python3 tools/reference/bpe.py
"""
import json
import random

import whisper.tokenizer

import toy

TEXTS = [
    "Hello, world! It's 12345 o'clock -- isn't it?  we'll   see\n\n  ok\t\tx", "Größe über Ångström naïve façade",
    "今日はいい天気ですね。東京へ行きます。", "Привет, как дела? 123", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก",
    "안녕하세요 세계", "🙂🙃 emoji 👨‍👩‍👧‍👦", "  leading and trailing  ", "'s 's't 're 've 'm 'll 'd 'S 'LL",
    "a\u00a0b\u3000c\u2028d \u2003 e", "½ ² Ⅷ ١٢٣ 12½", "\r\n\r\n x", "", "\"quotes\" (parens) [x] {y} <z> #@$%^&*",
    "a" * 500, "ab" * 300, " " * 50, "\x01\x7f", "<|endoftext|><|en|>", "粵語唔該晒", "ភាសាខ្មែរ", "ქართული ენა",
]


def main():
    rng = random.Random(7)
    encodings = {name: whisper.tokenizer.get_encoding(name) for name in ("gpt2", "multilingual")}
    texts = TEXTS + [encodings["multilingual"].decode([rng.randrange(50000) for _ in range(12)]) for _ in range(20)]
    texts = [t for t in texts if "\0" not in t]
    out = [{"text": t, **{name: e.encode(t, disallowed_special=()) for name, e in encodings.items()}} for t in texts]
    lines = ",\n".join(json.dumps(o, separators=(",", ":")) for o in out)
    (toy.ROOT / "tests/data/expected/bpe.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
