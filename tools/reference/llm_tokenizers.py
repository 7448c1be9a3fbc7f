#!/usr/bin/env python3
"""Compares our tokenizers with Hugging Face's tokenizers and with SentencePiece on many texts.

    venv/bin/pip install tokenizers sentencepiece protobuf gguf
    ninja -C build/release llm_encode
    venv/bin/python tools/reference/llm_tokenizers.py build/release/tests/llm_encode [N]

Trains a vocabulary for each family's way to cut texts, on sentences in many languages, encodes N texts (10,000:
sentences, mixtures of them, random characters and fuzzed bytes) with both and compares every token; prints a line a
tokenizer and ends with 1 where one differs. With the vocabularies of ../shared/data, these too. With `--samples`
writes tests/data/expected/llm_tokenizers.json, small vocabularies with a few dozen texts each.
"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.path.join(HERE, "../../../shared/data/models/ggml-vocab")

SENTENCES = [
    "The meeting begins at nine o'clock, and we'll talk about the budget for next year.",
    "I don't think they've read it; she'd said that it's 3,141.59 dollars (or 2,700 euros)!",
    "WE'LL SEE WHAT'S THERE: don'T, I'M, you'Re, they'LL, He'D, it'\u017f",
    "Die Sitzung beginnt um neun Uhr, und wir sprechen \u00fcber das n\u00e4chste Jahr. Gr\u00f6\u00dfe, Stra\u00dfe, \u00c4rger.",
    "La r\u00e9union commence \u00e0 neuf heures; c'est d\u00e9j\u00e0 l'\u00e9t\u00e9, n'est-ce pas ?",
    "\u00bfQu\u00e9 hora es? La reuni\u00f3n empieza a las nueve. \u00a1Ma\u00f1ana ser\u00e1 otro d\u00eda!",
    "A reuni\u00e3o come\u00e7a \u00e0s nove horas, e n\u00f3s falaremos do or\u00e7amento. N\u00e3o \u00e9?",
    "\u0417\u0430\u0441\u0435\u0434\u0430\u043d\u0438\u0435 \u043d\u0430\u0447\u0438\u043d\u0430\u0435\u0442\u0441\u044f \u0432 \u0434\u0435\u0432\u044f\u0442\u044c \u0447\u0430\u0441\u043e\u0432, \u0438 \u043c\u044b \u043f\u043e\u0433\u043e\u0432\u043e\u0440\u0438\u043c \u043e \u0431\u044e\u0434\u0436\u0435\u0442\u0435.",
    "\u0397 \u03c3\u03c5\u03bd\u03b5\u03b4\u03c1\u03af\u03b1\u03c3\u03b7 \u03b1\u03c1\u03c7\u03af\u03b6\u03b5\u03b9 \u03c3\u03c4\u03b9\u03c2 \u03b5\u03bd\u03bd\u03ad\u03b1.",
    "\u4f1a\u8bae\u4e5d\u70b9\u5f00\u59cb\uff0c\u6211\u4eec\u8ba8\u8bba\u660e\u5e74\u7684\u9884\u7b97\u3002\u4f60\u597d\uff01",
    "\u4f1a\u8b70\u306f\u4e5d\u6642\u306b\u59cb\u307e\u308a\u307e\u3059\u3002\u6765\u5e74\u306e\u4e88\u7b97\u306b\u3064\u3044\u3066\u8a71\u3057\u307e\u3059\u3002\u30ac\u30ae\u30b0",
    "\ud68c\uc758\ub294 \uc544\ud649 \uc2dc\uc5d0 \uc2dc\uc791\ud569\ub2c8\ub2e4. \ub0b4\ub144 \uc608\uc0b0\uc744 \ub17c\uc758\ud569\ub2c8\ub2e4.",
    "\u0627\u0644\u0627\u062c\u062a\u0645\u0627\u0639 \u064a\u0628\u062f\u0623 \u0641\u064a \u0627\u0644\u062a\u0627\u0633\u0639\u0629 \u0648\u0633\u0646\u062a\u062d\u062f\u062b \u0639\u0646 \u0627\u0644\u0645\u064a\u0632\u0627\u0646\u064a\u0629\u061b \u0661\u0662\u0663",
    "\u05d4\u05e4\u05d2\u05d9\u05e9\u05d4 \u05de\u05ea\u05d7\u05d9\u05dc\u05d4 \u05d1\u05ea\u05e9\u05e2.",
    "\u092c\u0948\u0920\u0915 \u0928\u094c \u092c\u091c\u0947 \u0936\u0941\u0930\u0942 \u0939\u094b\u0924\u0940 \u0939\u0948\u0964 \u0967\u0968\u0969",
    "\u0e01\u0e32\u0e23\u0e1b\u0e23\u0e30\u0e0a\u0e38\u0e21\u0e40\u0e23\u0e34\u0e48\u0e21\u0e40\u0e27\u0e25\u0e32\u0e40\u0e01\u0e49\u0e32\u0e42\u0e21\u0e07",
    "Cu\u1ed9c h\u1ecdp b\u1eaft \u0111\u1ea7u l\u00fac ch\u00edn gi\u1edd. Th\u01b0 vi\u1ec7n",
    "Toplant\u0131 saat dokuzda ba\u015fl\u0131yor; \u0130stanbul'da \u0131\u015f\u0131k.",
    "def f(x):\n    if x > 3:\n\t\treturn {'a': [1, 22, 333, 4444]}\n\n\nprint(f(10))   # done\r\n",
    "  leading,   several    blanks   \n \n\n  and lines\t\ttabs \u00a0\u3000\u2003wide   ",
    "Smile \U0001F600\U0001F44D\U0001F3FD family \U0001F468\u200d\U0001F469\u200d\U0001F467 flags \U0001F1E9\U0001F1EA \u2764\ufe0f \u00bd \u2460 \u2167",
    "Combining: e\u0301 a\u030a o\u0308\u0304 \u1e69 s\u0323\u0307 \u1100\u1161\u11a8 \u0958 \ufb01",
]

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
SPECIALS = ["<|begin|>", "<|im_start|>", "<|im_end|>"]


def texts(n, seed=1):
    """Sentences, cut and mixed, random characters, and bytes that are often no UTF-8."""
    r = random.Random(seed)
    words = [w for s in SENTENCES for w in s.split(" ")]
    out = [b""] + [s.encode() for s in SENTENCES]
    while len(out) < n:
        kind = r.randrange(6)
        if kind == 0:
            s = r.choice([" ", "", "  ", "\n", "\t"]).join(r.choice(words) for _ in range(r.randrange(1, 30)))
        elif kind == 1:
            a, b = r.choice(SENTENCES), r.choice(SENTENCES)
            s = a[r.randrange(len(a)):] + b[:r.randrange(len(b))]
        elif kind == 2:
            s = "".join(chr(r.choice([r.randrange(32, 127), r.randrange(0xa0, 0x600), r.randrange(0x600, 0xd7ff),
                                      r.randrange(0xe000, 0x10000), r.randrange(0x10000, 0x20000), 0x301, 0x20]))
                        for _ in range(r.randrange(1, 40)))
        elif kind == 3:
            s = "".join(r.choice([" ", "\n", "\r\n", "a", "1", "'", "!", "\u00e9", "\u4f1a", "'s", "'LL", "\u00a0", "12",
                                  "\u2581", "<|im_end|>", "<|im_", "\u0301", "\u1160", "\u0661"])
                        for _ in range(r.randrange(1, 40)))
        else:
            base = bytearray(r.choice(SENTENCES).encode())
            for _ in range(r.randrange(1, 12)):
                base[r.randrange(len(base))] = r.randrange(256)
            out.append(bytes(base))
            continue
        out.append(s.encode())
    return out[:n]


def corpus():
    r = random.Random(7)
    words = [w for s in SENTENCES for w in s.split(" ")]
    return SENTENCES + [" ".join(r.choice(words) for _ in range(12)) for _ in range(1500)]


# ---- Hugging Face --------------------------------------------------------------------------------------------

def byte_level(pre, size, normalizer=None, ignore_merges=False):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    t.pre_tokenizer = pre
    if normalizer:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, show_progress=False,
                                                        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    t.add_tokens([AddedToken("<tool>", special=False, normalized=False, lstrip=True, rstrip=True)])
    begin = t.token_to_id(SPECIALS[0])
    t.post_processor = processors.TemplateProcessing(single=f"{SPECIALS[0]} $A", special_tokens=[(SPECIALS[0], begin)])
    return t


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def families(size):
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    yield "gpt2", byte_level(gpt2, size)
    yield "gpt2-prefix", byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), size)
    yield "llama3", byte_level(split(LLAMA3), size, ignore_merges=True)
    yield "qwen2", byte_level(split(QWEN2), size, normalizers.NFC())
    yield "smollm", byte_level(digits, size)


def merges_of(pieces):
    """Every way to make a piece of two, the best piece first, as transformers extracts them."""
    rank = {p: i for i, p in enumerate(pieces)}
    found = []
    for piece in pieces:
        local = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in rank and piece[i:] in rank]
        found += sorted(local, key=lambda x: (rank[x[0]], rank[x[1]]))
    return found


def llama_of(sp, metaspace):
    """The SentencePiece model as tokenizer.json has it."""
    pieces = [sp.id_to_piece(i) for i in range(sp.get_piece_size())]
    normal = [p for i, p in enumerate(pieces) if not sp.is_control(i) and not sp.is_byte(i) and not sp.is_unknown(i)]
    t = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, merges_of(normal), unk_token="<unk>",
                             byte_fallback=True, fuse_unk=True))
    if metaspace:
        t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="first", split=False)
    else:
        t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in ["<unk>", "<s>", "</s>"]])
    return t


def unigram_of(sp):
    pieces = [(sp.id_to_piece(i), sp.get_score(i)) for i in range(sp.get_piece_size())]
    t = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always", split=True)
    t.decoder = decoders.Metaspace()
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in ["<unk>", "<s>", "</s>"]])
    return t


# ---- SentencePiece -------------------------------------------------------------------------------------------

def train_spm(kind, size, folder, rule="identity", rules=None):
    """`rule`: one of SentencePiece's, with extra blanks taken out but for "identity"; `rules`: a file of own ones."""
    prefix = os.path.join(folder, f"{kind}-{rule}")
    how = {"normalization_rule_tsv": rules} if rules else {"normalization_rule_name": rule}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_prefix=prefix, model_type=kind, vocab_size=size, byte_fallback=True,
        remove_extra_whitespaces=rule != "identity", minloglevel=2, character_coverage=0.98, hard_vocab_limit=False, **how)
    return sentencepiece.SentencePieceProcessor(model_file=prefix + ".model")


def own_rules(folder):
    """A few rules, so that the table is small: longest first, to nothing, to blanks, to more characters."""
    rules = [("e\u0301", "\u00e9"), ("\ufb01", "fi"), ("\u2460", "1"), ("\u00bd", " 1\u20442"), ("\u3000", " "),
             ("\u00a0", " "), ("\t", " "), ("\n", " "), ("\r\n", " "), ("\u200d", ""), ("\ufe0f", ""), ("\u4f1a\u8bae", "\u4f1a"),
             ("\u0130", "i\u0307"), ("\U0001F600", ":-)"), ("\uff0c", ","), ("a\u030a", "\u00e5"), ("'S", "'s")]
    path = os.path.join(folder, "rules.tsv")
    with open(path, "w") as f:
        for old, new in rules:
            f.write("\t".join(" ".join(f"{ord(c):X}" for c in s) for s in (old, new)) + "\n")
    return path


def write_gguf(sp, kind, path):
    m = model_pb2.ModelProto.FromString(sp.serialized_model_proto())
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model({"bpe": "llama", "unigram": "t5"}[kind])
    n = sp.get_piece_size()
    w.add_token_list([sp.id_to_piece(i) for i in range(n)])
    w.add_token_scores([sp.get_score(i) for i in range(n)])
    w.add_token_types([2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1
                       for i in range(n)])
    w.add_bos_token_id(sp.bos_id())
    w.add_eos_token_id(sp.eos_id())
    w.add_unk_token_id(sp.unk_id())
    w.add_add_space_prefix(True)
    if m.normalizer_spec.precompiled_charsmap:
        w.add_precompiled_charsmap(m.normalizer_spec.precompiled_charsmap)
        w.add_remove_extra_whitespaces(m.normalizer_spec.remove_extra_whitespaces)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def spm_of_gguf(path):
    """SentencePiece's own model of the tokens in a GGUF file."""
    fields = gguf.GGUFReader(path).fields
    tokens, scores, types = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "scores", "token_type"))
    m = model_pb2.ModelProto()
    for token, score, kind in zip(tokens, scores, types):
        m.pieces.add(piece=token, score=score, type=kind)
    m.trainer_spec.model_type = model_pb2.TrainerSpec.BPE
    m.trainer_spec.byte_fallback = True
    m.normalizer_spec.name = "identity"
    m.normalizer_spec.add_dummy_prefix = True
    m.normalizer_spec.remove_extra_whitespaces = False
    m.normalizer_spec.escape_whitespaces = True
    return sentencepiece.SentencePieceProcessor(model_proto=m.SerializeToString())


def gpt2_of_gguf(path):
    fields = gguf.GGUFReader(path).fields
    tokens, merges = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "merges"))
    t = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    t.decoder = decoders.ByteLevel()
    return t


# ---- Comparing -----------------------------------------------------------------------------------------------

def ours(program, path, all_texts, flags):
    data = b"".join(struct.pack("<I", len(t)) + t for t in all_texts)
    out = subprocess.run([program, path, str(flags)], input=data, stdout=subprocess.PIPE, check=True).stdout
    at, result = 0, []
    for _ in all_texts:
        n, = struct.unpack_from("<I", out, at)
        tokens = list(struct.unpack_from(f"<{n}i", out, at + 4))
        at += 4 + 4 * n
        n, = struct.unpack_from("<I", out, at)
        result.append((tokens, out[at + 4:at + 4 + n]))
        at += 4 + n
    return result


def compare(name, program, path, all_texts, reference, flags):
    """`reference` takes a str; what is no UTF-8 it gets as U+FFFD."""
    bad, round_trips = 0, 0
    for raw, (tokens, back) in zip(all_texts, ours(program, path, all_texts, flags)):
        text = raw.decode(errors="replace")
        want = reference(text)
        if tokens != want:
            bad += 1
            if bad <= 3:
                print(f"    {name}: {text!r}: {tokens} instead of {want}")
        round_trips += back.decode() == text
    print(f"{name:14} {len(all_texts)} texts, {bad} differ; {round_trips} come back as they were")
    return bad


def save(tokenizer, folder):
    os.makedirs(folder, exist_ok=True)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))


def all_tokenizers(folder, size):
    """(name, what we read, what to compare with, flags of ours)"""
    for name, t in families(size):
        save(t, os.path.join(folder, name))
        yield name, os.path.join(folder, name), lambda s, t=t: t.encode(s).ids, 3
    bpe, unigram = train_spm("bpe", size, folder), train_spm("unigram", size, folder)
    for kind, sp in (("bpe", bpe), ("unigram", unigram)):
        write_gguf(sp, kind, os.path.join(folder, kind + ".gguf"))
        yield "spm-" + kind, os.path.join(folder, kind + ".gguf"), lambda s, sp=sp: sp.encode(s), 0
    for kind, rule in (("bpe", "nmt_nfkc"), ("unigram", "nmt_nfkc"), ("unigram", "nfkc_cf"), ("unigram", "own")):
        sp = train_spm(kind, size, folder, rule, own_rules(folder) if rule == "own" else None)
        path = os.path.join(folder, f"{kind}-{rule}.gguf")
        write_gguf(sp, kind, path)
        yield f"{kind}-{rule}", path, lambda s, sp=sp: sp.encode(s), 0
    for name, t in (("llama2", llama_of(bpe, False)), ("mistral", llama_of(bpe, True)), ("unigram", unigram_of(unigram))):
        save(t, os.path.join(folder, name))
        yield name, os.path.join(folder, name), lambda s, t=t: t.encode(s).ids, 3


def shared_tokenizers():
    gpt2, llama = (os.path.join(SHARED, f"ggml-vocab-{n}.gguf") for n in ("gpt-2", "llama-spm"))
    if not os.path.exists(gpt2):
        print("skipped: the vocabularies of shared/data are not there")
        return
    t, sp = gpt2_of_gguf(gpt2), spm_of_gguf(llama)
    yield "gpt-2", gpt2, lambda s: t.encode(s).ids, 2
    yield "llama-spm", llama, lambda s: sp.encode(s), 0


def write_samples(folder):
    out = []
    samples = texts(60, 5)
    for name, path, reference, flags in all_tokenizers(folder, 560):
        if path.endswith(".gguf") and name != "unigram-own":
            continue
        one = {"name": name, "flags": flags, "samples": [[t.hex(), reference(t.decode(errors="replace"))] for t in samples]}
        if path.endswith(".gguf"):
            with open(path, "rb") as f:
                one["gguf"] = f.read().hex()
        else:
            with open(os.path.join(path, "tokenizer.json")) as f:
                one["tokenizer"] = json.load(f)
        out.append(one)
    with open(os.path.join(HERE, "../../tests/data/expected/llm_tokenizers.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(x, separators=(",", ":")) for x in out) + "\n]\n")


def main():
    arguments = [a for a in sys.argv[1:] if not a.startswith("--")]
    with tempfile.TemporaryDirectory() as folder:
        if "--samples" in sys.argv:
            write_samples(folder)
            return
        program, n = os.path.abspath(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 10000
        all_texts, bad = texts(n), 0
        for name, path, reference, flags in [*all_tokenizers(folder, 3000), *shared_tokenizers()]:
            bad += compare(name, program, path, all_texts, reference, flags)
        sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
