"""speaker-synth beside the classic method: 50 conversations of 2 to 4 voices that nothing was trained on.

tools/conversations makes them, tools/der scores them: no collar, overlap counted. --tune prints the error at several
thresholds over other conversations, of voices from training: with those THRESHOLD in models/embedding.py was chosen.
"""
import os
import statistics
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

from measures import Failed, percent, read_json, sluice
from training.folder import Card, table

TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
COUNT, SEED, TUNE_COUNT, TUNE_SEED = 50, 20262, 16, 20263

PIPELINE = """
sluice: 1
name: who
inputs: { audio: { type: file/1 } }
params: { method: { default: classic }, folder: { default: "" }, threshold: { default: 0 } }
stages:
  decode: { use: audio/decode, in: { file: inputs.audio } }
  speech: { use: audio/vad, in: { audio: decode.audio }, with: { speech_pad_ms: 60, min_silence_duration_ms: 200 } }
  who:
    use: diarize/speakers
    in: { audio: decode.audio, regions: speech.regions }
    with: { method: "${params.method}", threshold: "${params.threshold}", %s }
outputs:
  rttm: { use: diarize/rttm, in: { turns: who.turns } }
"""

SEGMENTATION = """
Who of up to three voices speaks in each frame of five seconds (PyanNet with classes for sets of speakers; its published shape,
but smaller), trained from nothing on synthetic conversations. One half of the model for `diarize/speakers`; the other is
[the embedding](../embedding/README.md).

It knows the voices of synthesisers, and two at once at most. It has never heard people in a room.
"""

EMBEDDING = """
What a voice sounds like, as a vector of 64 values (a residual network like WeSpeaker's, but small), trained from nothing to
tell the voices of synthesisers apart. One half of the model for `diarize/speakers`; the other is
[the segmentation](../segmentation/README.md).

Voices of people may come out more alike, or less, than those that it knows: say how many speakers there are, or take
published models, where it matters.
"""


def load_der():
    sys.dont_write_bytecode = True
    loader = SourceFileLoader("der", os.path.join(TOOLS, "der"))
    module = module_from_spec(spec_from_loader("der", loader))
    loader.exec_module(module)
    return module


def conversations(folder, count, seed, voices):
    """Paths of WAV files, made where they are missing."""
    if len([f for f in os.listdir(folder) if f.endswith(".txt")] if os.path.isdir(folder) else []) < count:
        command = [sys.executable, os.path.join(TOOLS, "conversations"), folder, "--count", str(count), "--seed", str(seed),
                   "--voices", voices]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            raise Failed("tools/conversations failed")
    return sorted(os.path.join(folder, f) for f in os.listdir(folder) if f.endswith(".wav"))


def score(options, files, method, threshold=0):
    """[(error, reference speakers, found)] for each file"""
    models = ""
    if method == "neural":
        base = os.path.abspath(options.folder)
        models = "segmentation: %s/segmentation, embedding: %s/embedding" % (base, base)
    held, out = sluice(options, PIPELINE % models, files, "--set", "method=" + method, "--set", "threshold=%g" % threshold)
    der, scores = load_der(), []
    with held:
        for path in files:
            name = os.path.splitext(os.path.basename(path))[0]
            turns = der.read_rttm(os.path.join(out, name + ".rttm"))
            (reference,) = der.read_rttm(path[:-4] + ".rttm").values()
            scores.append(der.score(reference, turns.get(name, [])))
    return scores


def of_people(options):
    """A table of recordings of people; nothing without them."""
    if not options.recordings:
        return ""
    files = sorted(os.path.join(options.recordings, f) for f in os.listdir(options.recordings)
                   if f.endswith(".wav") and os.path.exists(os.path.join(options.recordings, f[:-4] + ".rttm")))
    both = zip(files, score(options, files, "neural"), score(options, files, "classic"))
    rows = [[os.path.basename(f)[:-4], "%.1f %%" % a["der"], "%.1f %%" % b["der"], a["speakers"], a["speakers_found"],
             b["speakers_found"]] for f, a, b in both]
    return "\n" + table(["recording", "speaker-synth", "classic", "speakers", "found", "found by classic"], rows) + """
Excerpts of 30 s with people, which nothing was trained on; above 100 % the reference has seconds of speech only.
"""


def row(name, scores):
    speech = sum(s["total"] for s in scores)
    share = lambda key: percent(sum(s[key] for s in scores) / speech)
    right = sum(s["speakers"] == s["speakers_found"] for s in scores)
    total = sum(s["missed"] + s["false_alarm"] + s["confusion"] for s in scores) / speech
    return [name, percent(total), "%.1f %%" % statistics.mean(s["der"] for s in scores), share("missed"), share("false_alarm"),
            share("confusion"), "%d of %d" % (right, len(scores))]


HEAD = ["", "DER of all", "mean DER", "missed", "false alarm", "confusion", "number of speakers right"]


def tune(options):
    files = conversations(os.path.join(options.cache, "measure", "tune"), TUNE_COUNT, TUNE_SEED, "training")
    rows = [row("%.2f" % t, score(options, files, "neural", t)) for t in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)]
    print(table(["threshold", *HEAD[1:]], rows))


def measure(options):
    if options.tune:
        tune(options)
        return
    files = conversations(os.path.join(options.cache, "measure", "talks"), COUNT, SEED, "held-out")
    rows = [row("speaker-synth", score(options, files, "neural")), row("classic", score(options, files, "classic"))]
    figures = table(HEAD, rows) + """
%d conversations of tools/conversations (seed %d) of 2 to 4 voices that are in no training material, a tenth of the turns begin
over another; no collar, overlap scored; speech for the classic method from `audio/vad`. All through `sluice run`. The voices
are of one synthesiser and sentences of the grammar of training.
""" % (len(files), SEED) + of_people(options)
    print(figures)
    for part, about, size in (("segmentation", SEGMENTATION, "model_type pyannet"), ("embedding", EMBEDDING, "model_type resnet")):
        folder = os.path.join(options.folder, part)
        card = Card("speaker-synth/" + part, about, ["any"])
        card.trained(read_json(folder, "training.json"))
        card.facts["size"] = "%d bytes, F16" % os.path.getsize(os.path.join(folder, "model.safetensors"))
        card.add("Diarization error of both halves", figures)
        card.figures = {"DER": rows[0][1], "DER of the classic method": rows[1][1]}
        card.write(folder)
