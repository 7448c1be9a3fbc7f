"""tools/train: what of it runs without PyTorch, the cards of the models that come along, and smoke runs where there is PyTorch."""
import glob
import json
import os
import random
import re
import subprocess
import sys
import unittest

from toolcase import ROOT, ToolCase

MODELS = sorted(glob.glob(os.path.join(ROOT, "plugins", "*", "models", "**", "config.json"), recursive=True))
PYTHON = os.environ.get("SLUICE_TRAIN_PYTHON", sys.executable)  # one with what tools/train/requirements.txt lists
MOST_BYTES = 24 * 1000 * 1000

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tools", "train"))
sys.path.insert(0, os.path.join(ROOT, "tools"))
from material import domain, english, minutes, variants  # noqa: E402
from talklib import voices  # noqa: E402


def can(*modules):
    return subprocess.run([PYTHON, "-c", "import " + ", ".join(modules)], stderr=subprocess.DEVNULL).returncode == 0


class Command(ToolCase):
    tool = "train/train"

    def test_the_models_are_listed(self):
        status, out, _ = self.run_tool("--list")
        self.assertEqual((status, out.split()),
                         (0, ["scribe-synth", "speaker-synth/embedding", "speaker-synth/segmentation", "vad-synth", "whisper-synth"]))

    def test_a_model_and_a_folder_have_to_be_said(self):
        for arguments in ([], ["vad-synth"], ["no-such-model", "-o", "x"]):
            self.assertEqual(self.run_tool(*arguments)[0], 2)

    @unittest.skipIf(can("torch") and PYTHON == sys.executable, "skipped: PyTorch is installed")
    def test_missing_pytorch_is_said(self):
        status, _, error = self.run_tool("vad-synth", "-o", os.path.join(self.folder, "x"))
        self.assertEqual(status, 2)
        self.assertIn("pip install -r tools/train/requirements.txt", error)

    @unittest.skipUnless(can("torch", "numpy", "tokenizers"), "skipped: no PyTorch; SLUICE_TRAIN_PYTHON can name a Python that has it")
    @unittest.skipUnless(os.environ.get("SLUICE_TRAIN_SMOKE"), "skipped: takes minutes; SLUICE_TRAIN_SMOKE=1 runs it")
    def test_smoke(self):
        cache = os.environ.get("SLUICE_TRAIN_CACHE", self.folder)
        for model in self.run_tool("--list")[1].split():
            done = subprocess.run([PYTHON, os.path.join(ROOT, "tools/train/train"), model, "--smoke", "--cache", cache,
                                   "-o", os.path.join(self.folder, model)], stdout=subprocess.PIPE, universal_newlines=True)
            print(done.stdout.splitlines()[-1])
            self.assertEqual(done.returncode, 0, model)

    @unittest.skipUnless(can("torch", "numpy"), "skipped: no PyTorch; SLUICE_TRAIN_PYTHON can name a Python that has it")
    def test_workers_take_the_mean_of_their_gradients(self):
        done = subprocess.run([PYTHON, "-B", "-c", TWO_WORKERS % os.path.join(ROOT, "tools", "train")], stdout=subprocess.PIPE,
                              universal_newlines=True)
        self.assertEqual(done.stdout.split(), ["3.0", "1.5"])


TWO_WORKERS = """
import os, sys, tempfile, types
sys.path.insert(0, %r)
import torch
from training import together
meeting = os.path.join(tempfile.mkdtemp(), "meeting")
other = os.fork()
rank = 1 if other == 0 else 0
together.join(types.SimpleNamespace(rank=rank, workers=2), meeting)
gradient = torch.tensor([2.0 + 2 * rank])
together.mean([gradient], 2)
seconds = together.mean_of(1.0 + rank, 2)
if other == 0:
    os._exit(0)
os.waitpid(other, 0)
print(float(gradient), seconds)
"""


class Festival(unittest.TestCase):
    @unittest.skipUnless(can("numpy") and PYTHON == sys.executable, "skipped: no numpy")
    def test_marks_are_no_words(self):
        from material import festival
        self.assertEqual(festival.span([0.2, 0.5]), (0.2, 0.5))
        self.assertEqual(festival.span([0.2, 0.5, 0.5, 0.9, 0.0, 0.0]), (0.2, 0.9))
        self.assertIsNone(festival.span([0.0, 0.0]))


class Minutes(unittest.TestCase):
    """Texts and what is to be made of them fit each other."""

    def meetings(self):
        return [minutes.meeting(random.Random(seed)) for seed in range(60)]

    def test_facts_are_in_the_transcript(self):
        kinds = set()
        for turns in self.meetings():
            text, facts = minutes.transcript(turns), minutes.facts_of(turns)
            speakers = {who for who, _ in turns}
            for item in facts["action_items"]:
                self.assertIn(item["what"], text)
                self.assertTrue(item["who"] is None or item["who"] in speakers or item["who"].lower() in text.lower())
                kinds.add(item["who"] is None)
            for decision in facts["decisions"]:
                self.assertIn(decision.lower(), text.lower())
            self.assertEqual(set(facts["names"]), {w for w in re.findall(r"\w+", " ".join(
                f.text for _, some in turns for f in some)) if w in minutes.NAMES})
        self.assertEqual(kinds, {True, False})

    def test_other_sentences_hold_no_facts(self):
        r = random.Random(1)
        for _ in range(300):
            self.assertNotRegex(minutes.plain(r).text, r" will |was canceled|has been approved|[Rr]emind me")

    def test_bare_text_has_the_same_words(self):
        r = random.Random(2)
        for _ in range(300):
            text = minutes.paragraph(r)
            self.assertLessEqual(len(text), 600)
            for other in (minutes.bare(text), minutes.roughened(r, text)):
                self.assertEqual(re.sub(r"[.,?]", "", other.lower()), re.sub(r"[.,?]", "", text.lower()))

    def test_the_same_seed_gives_the_same_meeting(self):
        texts = [minutes.transcript(minutes.meeting(random.Random(7))) for _ in range(2)]
        self.assertEqual(*texts)


class English(unittest.TestCase):
    def test_texts_can_be_written_with_the_tokens(self):
        r = random.Random(3)
        for make in [english.text, domain.sentence] * 500:
            self.assertRegex(make(r), r"^[A-Z][A-Za-z' ,]*([.,?] ?[A-Za-z' ,]*)*[.?]$")


class Variants(ToolCase):
    """Made-up voices of espeak-ng, which is where they are looked for."""

    def test_a_voice_that_was_made_up_says_the_same_words_otherwise(self):
        try:
            data = variants.Data(self.folder)
            speaker = voices.Espeak(data.path)
        except (OSError, voices.Missing) as error:
            self.skipTest("skipped: %s" % error)
        text, said = "The report is ready.", []
        for seed in (1, 2):
            data.add("own%d" % seed, variants.variant(random.Random(seed)))
        for name in ("", "+own1", "+own2", "+own1"):
            samples, times = speaker.say("en-us" + name, 100, 50, text)
            self.assertEqual(len(times), len(text.split()))
            self.assertGreater(max(samples), 1000)
            said.append(samples)
        apart = lambda a, b: sum(abs(x - y) for x, y in zip(a, b)) / len(a)  # espeak-ng says nothing twice in the same way
        for a, b in ((0, 1), (0, 2), (1, 2)):
            self.assertGreater(apart(said[a], said[b]), 2 * apart(said[1], said[3]))


SAY = """
import hashlib, sys
sys.path.insert(0, %r)
sys.dont_write_bytecode = True
from talklib import voices
said = voices.Synthesisers()
for voice in ("espeak:en-us+f3", "flite:slt"):
    samples, times = said.say(voice, 100, 0, "The report is ready.")
    print(voice, hashlib.sha256(samples).hexdigest(), times)
"""
WITH_FESTIVAL = """
(voice_kal_diphone)
(utt.save.wave (utt.synth (Utterance Text "The report is ready.")) "%s" 'riff)
"""
HIDE = """set -e
for folder in /usr/share/festival "$1"; do mount -t tmpfs none "$folder"; done
mount --bind /dev/null /etc/ld.so.cache
for file in $(command -v festival) "$2"/libflite* "$2"/libespeak* "$2"/libest*; do mount --bind /dev/null "$file"; done
shift 2
exec "$@"
"""


class Carry(ToolCase):
    """Synthesisers that were packed speak where there are none."""
    tool = "train/carry"

    def spoken(self, name, *before):
        program, sound = os.path.join(self.folder, "program.scm"), os.path.join(self.folder, name + ".wav")
        with open(program, "w", encoding="ascii") as file:
            file.write(WITH_FESTIVAL % sound)
        done = subprocess.run([*before, "sh", "-c", '"$1" -c "$2" && festival -b "$3"', "-", sys.executable,
                               SAY % os.path.join(ROOT, "tools"), program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        with open(sound, "rb") as file:
            return done.stdout.decode(), file.read()

    def test_they_speak_where_there_are_none(self):
        try:
            data, library = variants.installed(), os.path.dirname(os.path.realpath(self.where("libflite.so.1")))
        except (OSError, StopIteration):
            self.skipTest("skipped: espeak-ng or flite is not installed")
        if not os.path.exists("/usr/share/festival/voices/english/kal_diphone"):
            self.skipTest("skipped: Festival is not installed")
        if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("skipped: nothing can be hidden here, as unshare is not permitted")
        packed = os.path.join(self.folder, "synthesisers.tar.gz")
        self.assertEqual(self.run_tool(packed)[0], 0)
        subprocess.run(["tar", "-xf", packed, "-C", self.folder], check=True)
        hidden = ["unshare", "-m", "sh", "-c", HIDE, "-", data, library]
        self.assertNotEqual(subprocess.run([*hidden, "festival", "-b", "(print 1)"], stderr=subprocess.DEVNULL).returncode, 0)
        self.assertEqual(self.spoken("there", *hidden, os.path.join(self.folder, "synthesisers", "with")), self.spoken("here"))

    @staticmethod
    def where(library):
        known = subprocess.run(["/sbin/ldconfig", "-p"], stdout=subprocess.PIPE, universal_newlines=True).stdout
        return next(line.split()[-1] for line in known.splitlines() if line.split()[:1] == [library])


class Cards(unittest.TestCase):
    def test_all_models_together_are_small(self):
        total = sum(os.path.getsize(path) for config in MODELS for path in glob.glob(os.path.join(os.path.dirname(config), "*")))
        print("%d models, %.1f MB" % (len(MODELS), total / 1e6))
        self.assertTrue(MODELS)
        self.assertLess(total, MOST_BYTES)

    def test_cards_say_what_programs_are_told(self):
        for config in MODELS:
            folder = os.path.dirname(config)
            with open(os.path.join(folder, "card.json"), encoding="utf-8") as file:
                card = json.load(file)
            with open(os.path.join(folder, "README.md"), encoding="utf-8") as file:
                text = file.read()
            self.assertEqual(card["licence"], "MIT")
            self.assertTrue(card["languages"] and card["figures"], folder)
            for figure in card["figures"].values():
                self.assertIn(figure.split()[0], text, "%s: the card for people has no %s" % (folder, figure))


unittest.main()
