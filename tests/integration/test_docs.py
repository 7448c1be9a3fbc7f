"""What the pages of docs/ and README.md show: pipelines are right, commands and their options exist."""
import glob

from harness import *

PAGES = [os.path.join(SOURCE, "README.md"), *sorted(glob.glob(os.path.join(SOURCE, "docs/*.md")))]

# What pieces of pipelines take from; a piece that has a stage of one of these names takes its place.
AROUND = {
    "decode": "{ use: audio/decode, in: { file: inputs.audio } }",
    "speech": "{ use: audio/vad, in: { audio: decode.audio } }",
    "asr": "{ use: whisper/transcribe, in: { audio: decode.audio } }",
    "text": "{ use: whisper/transcribe, in: { audio: decode.audio } }",
    "who": "{ use: diarize/speakers, in: { audio: decode.audio, regions: speech.regions } }",
    "merge": "{ use: diarize/assign, in: { transcript: asr.transcript, turns: who.turns } }",
}


def fenced(page, info):
    """The fenced blocks of a page whose fence says just that."""
    with open(page, encoding="utf-8") as f:
        return re.findall(rf"^```{info}\n(.*?)^```$", f.read(), re.M | re.S)


def indented(page):
    """The indented blocks of a page, outside of fences."""
    with open(page, encoding="utf-8") as f:
        text = re.sub(r"^```.*?^```$", "", f.read(), flags=re.M | re.S)
    return re.findall(r"(?<=\n\n)((?: {4}.*\n)+)", text)


def dedented(block):
    lines = [line for line in block.splitlines() if line.strip()]
    depth = min(len(line) - len(line.lstrip()) for line in lines)
    return [line[depth:] for line in lines]


def stages_of(block):
    """The lines of a piece of a pipeline as they stand below `stages:`, and the names of its stages; None: it is none."""
    lines = dedented(block)
    if lines[0] == "stages:":
        lines = dedented("\n".join(lines[1:]))
    if not any("use: " in line for line in lines):
        return None
    return ["  " + line for line in lines], re.findall(r"^([a-z]\w*):", "\n".join(lines), re.M)


class Pages(Case):
    def check(self, text, where):
        path = self.write("p.yaml", text)
        done = self.sluice("check", *fixtures(path), status=None, env={"CHAT_KEY": "x"})
        self.assertEqual(done.returncode, 0, f"{where}:\n{text}\n{done.stderr}")

    def test_pipelines(self):
        blocks = [(page, block) for page in PAGES for block in fenced(page, "yaml pipeline")]
        self.assertGreater(len(blocks), 5)
        for page, block in blocks:
            with self.subTest(page=os.path.basename(page)):
                self.check(block, page)

    def test_pieces_of_pipelines(self):
        n = 0
        for page in PAGES:
            for piece in filter(None, map(stages_of, fenced(page, "yaml") + indented(page))):
                n += 1
                lines, names = piece
                around = [f"  {name}: {AROUND[name]}" for name in AROUND if name not in names]
                text = "\n".join(["sluice: 1", "inputs: { audio: { type: file/1 } }", "stages:", *around, *lines, ""])
                with self.subTest(page=os.path.basename(page), stages=names):
                    self.check(text, page)
        self.assertGreater(n, 8)

    def options(self, command):
        """Options of a command, of both halves of a command that has two."""
        words = self.sluice(*command, "--help=words").stdout
        return {line.split("\t")[0] for line in words.splitlines()}

    def test_commands(self):
        """Every command line that begins with sluice is a command, and each of its options one of it."""
        commands = set(re.findall(r"^  (\w+) ", self.sluice("help").stdout, re.M))
        letters = {"-o", "-j", "-n", "-q"}
        known, n = {}, 0
        for page in PAGES:
            with open(page, encoding="utf-8") as f:
                text = f.read().replace("\\\n", " ")
            shown = re.findall(r"^(?: {4})?(?:build/release/bin/)?(sluice [a-z].*)$", text, re.M) + re.findall(r"`(sluice [a-z][^`]*)`", text)
            for line in (part.strip() for whole in shown for part in re.split(r"[;#]", whole)):
                words = line.split()
                if len(words) < 2 or words[0] != "sluice" or not re.fullmatch(r"[a-z]+", words[1]):
                    continue
                n += 1
                with self.subTest(page=os.path.basename(page), line=line):
                    self.assertIn(words[1], commands)
                    if words[1] not in known:
                        known[words[1]] = self.options([words[1]])
                    for option in re.findall(r"(?<=[\s\[])(--?[a-z][a-z-]*)", line):
                        if not (words[1] == "stage" and "--wrap" in line and option == "--args"):
                            self.assertTrue(option in known[words[1]] or option in letters, option)
        self.assertGreater(n, 60)


main()
