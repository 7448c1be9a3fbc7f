"""sluice models: downloads from a hub on the loopback interface, faults included; listing, paths, verification."""
import json
import os
import signal
import subprocess
import time
import unittest

from harness import CONFIGS, DATA, LIMIT, SLUICE, SOURCE, Case, wait_until
from hub import COMMIT, Hub, model_files

MODEL = os.path.join(SOURCE, "plugins/whisper/models/whisper-synth")
WEIGHTS = "model.safetensors"


class Models(Case):
    def setUp(self):
        super().setUp()
        self.models = self.path("models")
        self.hub = Hub("openai/whisper-tiny", model_files(MODEL))
        self.env.update(SLUICE_MODELS=self.models, HF_ENDPOINT=self.hub.url, no_proxy="*")
        self.env.pop("HF_TOKEN", None)

    def tearDown(self):
        self.hub.close()
        super().tearDown()

    def get(self, *args, status=0, env=None):
        return self.sluice("models", "get", *args, status=status, env=env)

    def content(self, *names):
        with open(os.path.join(self.models, *names), "rb") as f:
            return f.read()

    def assert_complete(self, name="tiny"):
        manifest = json.loads(self.content(name, "sluice-model.json"))
        self.assertEqual(manifest["commit"], self.hub.commit)
        self.assertIn(WEIGHTS, [f["name"] for f in manifest["files"]])
        for f in manifest["files"]:
            self.assertEqual(self.content(name, f["name"]), self.hub.files[f["name"]])
        self.assertNotIn("README.md", os.listdir(os.path.join(self.models, name)), "only what is needed")
        parent = os.path.dirname(os.path.join(self.models, name))
        self.assertEqual([n for n in os.listdir(parent) if n.startswith(".")], [], "nothing temporary is left")

    def test_get_and_run(self):
        done = self.get("tiny")
        self.assert_complete()
        path = os.path.join(self.models, "tiny")
        self.assertEqual(done.stdout, path + "\n")
        self.assertNotIn("\r", done.stderr, "plain lines where there is no terminal")
        self.assertIn(f"{WEIGHTS}: 6.", done.stderr)
        self.assertEqual(self.sluice("models", "path", "tiny").stdout, path + "\n")
        self.assertRegex(self.sluice("models", "verify", "tiny").stdout, r"(?m)^ok +model\.safetensors$")
        known = [json.loads(line) for line in self.sluice("models", "list", "--json").stdout.splitlines()]
        self.assertEqual([m for m in known if m["name"] == "tiny"][0]["path"], path)
        self.assertTrue([m for m in known if m["name"] == "turbo"][0]["repo"].startswith("openai/"))
        self.assertIn("installed already", self.get("tiny").stderr)

        wav = os.path.join(DATA, "command.wav")
        for name in ("tiny", "embedded", path):
            self.sluice("run", os.path.join(CONFIGS, "transcribe.yaml"), wav, "-o", self.path("out"), "--set", f"model={name}")
            text = self.read("out", "command.txt")
            self.assertTrue(text.strip())

    def test_cards(self):
        """What comes along says its licence, languages and figures; a card that is odd harms nobody."""
        for name, card in (("good", '{"licence": "X", "languages": ["en", "de"], "figures": {"error": "1 %"}}'),
                           ("odd", '{"licence": 1, "languages": [1, {}], "figures": {"a": [], "b\\u001b[2J": "2"}}'),
                           ("list", "[1]"), ("cut", '{"licence"')):
            self.write(f"models/{name}/config.json", "{}")
            self.write(f"models/{name}/card.json", card)
        listed = self.sluice("models", "list").stdout
        self.assertIn("\n      X; en, de; error 1 %\n", listed)
        self.assertIn("\n      MIT; en; WER", listed)
        self.assertNotIn("\x1b", listed)
        entries = {m["name"]: m for m in map(json.loads, self.sluice("models", "list", "--json").stdout.splitlines())}
        self.assertEqual(entries["embedded"]["card"]["licence"], "MIT")
        self.assertEqual(entries["good"]["card"]["languages"], ["en", "de"])
        self.assertNotIn("card", entries["cut"])

    def test_names_without_a_model(self):
        wav = os.path.join(DATA, "command.wav")
        done = self.sluice("run", os.path.join(CONFIGS, "transcribe.yaml"), wav, "-o", self.path("out"), "--set",
                           "model=tiny", status=1)
        self.assertIn("sluice models get tiny", done.stderr)
        self.assertEqual(self.hub.requests, [], "a pipeline downloads nothing")
        self.assertIn("did you mean \"turbo\"", self.get("turbp", status=2).stderr)
        self.assertIn("downloads it", self.sluice("models", "path", "base", status=1).stderr)
        self.assertIn("no sluice-model.json", self.sluice("models", "verify", "embedded", status=1).stderr)
        for wrong in (["get"], ["gte", "tiny"], ["get", "tiny", "base"], ["get", "../x/y"], ["get", "a/b/c"],
                      ["get", "tiny", "--revision", "a?b"], ["get", "tiny", "--name", ".x"]):
            self.sluice("models", *wrong, status=2)

    def test_owner_and_repo(self):
        self.hub.repo = "someone/whisper-x.y"
        done = self.get("someone/whisper-x.y", "--revision", "refs/pr/1", "--endpoint", self.hub.url + "/",
                        env={"HF_ENDPOINT": "http://127.0.0.1:9"})
        self.assertTrue(done.stdout.endswith("models/someone/whisper-x.y\n"))
        self.assert_complete("someone/whisper-x.y")
        self.assertIn("refs%2Fpr%2F1?blobs=true", self.hub.requests[0][0])
        self.sluice("models", "verify", "someone/whisper-x.y")
        self.assertIn("someone/whisper-x.y", self.sluice("models", "list").stdout)

    def test_a_cut_connection_continues(self):
        self.hub.faults[WEIGHTS] = ["cut:3000000", "status:503", "cut:1000000"]
        done = self.get("tiny")
        self.assert_complete()
        self.assertEqual(done.stderr.count("trying again"), 3)
        begins = [int(r[6:-1]) if r else 0 for r in self.hub.ranges(WEIGHTS)]
        self.assertEqual(begins[0], 0)
        self.assertGreater(begins[1], 0)
        self.assertEqual(begins[1], begins[2])
        self.assertGreater(begins[3], begins[2])

    def test_a_server_that_has_no_ranges(self):
        self.hub.faults[WEIGHTS] = ["cut:3000000", "whole"]
        self.get("tiny")
        self.assert_complete()

    def test_interrupted_and_continued(self):
        self.hub.chunk_wait = 0.05
        process = subprocess.Popen([SLUICE, "models", "get", "tiny"], cwd=self.folder, env=self.env, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        part = os.path.join(self.models, ".tiny.part", WEIGHTS + ".part")
        wait_until(lambda: os.path.exists(part) and os.path.getsize(part) > 500000, LIMIT, "half a download")
        self.assertIn("another", self.get("tiny", status=1).stderr)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
        self.assertEqual((process.returncode, out), (130, ""))
        self.assertIn("the same command continues", err)
        self.assertEqual(os.listdir(self.models), [".tiny.part"], "no half model")
        self.assertEqual(self.sluice("models", "path", "tiny", status=1).stdout, "")
        size = os.path.getsize(part)
        self.hub.chunk_wait, self.hub.requests = 0, []
        self.assertIn("continuing at", self.get("tiny").stderr)
        self.assert_complete()
        self.assertEqual(self.hub.ranges(WEIGHTS), [f"bytes={size}-"])
        self.assertEqual(len(self.hub.requests), 3, "the listing, the redirect and the rest of one file")

    def test_wrong_checksum(self):
        self.hub.faults[WEIGHTS] = ["corrupt"]
        done = self.get("tiny", status=1)
        self.assertRegex(done.stderr, r"model\.safetensors: its checksum is [0-9a-f]{64} where [0-9a-f]{64} is published")
        self.assertFalse(os.path.exists(os.path.join(self.models, "tiny")))
        self.get("tiny")
        self.assert_complete()
        self.hub.commit = "f" * 40
        self.hub.faults["config.json"] = ["corrupt"]
        self.assertRegex(self.get("tiny", status=1).stderr, r"config\.json: its checksum is [0-9a-f]{40} where")
        self.assertEqual(json.loads(self.content("tiny", "sluice-model.json"))["commit"], COMMIT, "the old one stays")
        self.get("tiny")
        self.assert_complete()

    def test_a_new_commit_begins_anew(self):
        self.hub.faults[WEIGHTS] = ["cut:3000000"] + ["status:500"] * 9
        self.assertIn("status 500", self.get("tiny", status=1).stderr)
        self.hub.commit, self.hub.faults, self.hub.requests = "e" * 40, {}, []
        self.get("tiny")
        self.assert_complete()
        self.assertEqual(self.hub.ranges(WEIGHTS), [None])

    def test_refusals(self):
        self.assertIn("no such model, revision or file (404)", self.get("base", status=1).stderr)
        self.assertIn("404", self.get("tiny", "--revision", "no-such-branch", status=1).stderr)
        self.hub.api_status = [401]
        self.assertIn("HF_TOKEN", self.get("tiny", status=1).stderr)
        self.hub.files.pop("added_tokens.json")
        self.assertIn("tokenizer", self.get("tiny", status=1).stderr)
        self.hub.files.pop(WEIGHTS)
        self.hub.files["added_tokens.json"] = b"{}"
        self.assertIn("a format that Sluice does not read", self.get("tiny", status=1).stderr)
        self.hub.files.pop("config.json")
        self.assertIn("has no config.json", self.get("tiny", status=1).stderr)
        self.assertIn("not an http or https URL", self.get("tiny", "--endpoint", "ftp://x", status=2).stderr)
        self.assertIn("trying again", self.get("tiny", "--endpoint", "http://127.0.0.1:9", status=1).stderr)

    def test_a_listing_that_passes_by(self):
        self.hub.api_status = [503, 429]
        self.get("tiny")
        self.assert_complete()

    def test_a_stalled_server(self):
        self.hub.faults[WEIGHTS] = ["stall"]
        begin = time.monotonic()
        done = self.get("tiny", "--timeout", "6")
        self.assertLess(time.monotonic() - begin, 40)
        self.assertIn("trying again", done.stderr)
        self.assert_complete()

    def test_one_file_of_whisper_cpp(self):
        self.hub.files["ggml-tiny-q5_1.bin"] = bytes(range(256)) * 1000
        self.hub.repo = "ggerganov/whisper.cpp"
        self.get("tiny-q5_1")
        names = sorted(os.listdir(os.path.join(self.models, "tiny-q5_1")))
        self.assertEqual(names, ["ggml-tiny-q5_1.bin", "sluice-model.json"])
        self.sluice("models", "verify", "tiny-q5_1")
        self.assertIn("tiny-q5_1", self.sluice("models", "list").stdout.split("known")[0])
        done = self.get("ggerganov/whisper.cpp", "--file", "ggml-tiny-q5_1.bin", "--name", "mine")
        self.assertTrue(done.stdout.endswith("models/mine\n"))
        self.assertIn("has no file x.bin", self.get("ggerganov/whisper.cpp", "--file", "x.bin", status=1).stderr)
        self.get("ggerganov/whisper.cpp", "--file", "../x.bin", status=2)
        self.get("ggerganov/whisper.cpp", "--file", "config.json", status=2)
        done = self.sluice("run", os.path.join(CONFIGS, "transcribe.yaml"), os.path.join(DATA, "command.wav"), "-o",
                           self.path("out"), "--set", "model=tiny-q5_1", status=1)
        self.assertIn("ggml-tiny-q5_1.bin is not a model file of whisper.cpp", done.stderr)

    def test_shards(self):
        data = self.hub.files.pop(WEIGHTS)
        self.hub.files["model-00001-of-00002.safetensors"] = data[:1000]
        self.hub.files["model-00002-of-00002.safetensors"] = data[1000:]
        self.hub.files["model-00002-of-00002.safetensors.bak"] = b"x"
        self.hub.files["../model-00001-of-00001.safetensors"] = b"x"
        self.hub.files["model.safetensors.index.json"] = b"{}"
        self.get("tiny")
        names = sorted(os.listdir(os.path.join(self.models, "tiny")))
        self.assertIn("model-00001-of-00002.safetensors", names)
        self.assertIn("model.safetensors.index.json", names)
        self.assertEqual([n for n in names if "bak" in n or "00001-of-00001" in n], [])

    def test_tokenizer_in_one_file(self):
        self.hub.files.pop("vocab.json")
        self.hub.files["tokenizer.json"] = b"{}"
        self.get("tiny")
        self.assertIn("tokenizer.json", os.listdir(os.path.join(self.models, "tiny")))

    def test_a_listing_without_sizes(self):
        self.hub.bare_listing = True
        done = self.get("tiny")
        self.assert_complete()
        self.assertIn("config.json: no checksum is published", done.stderr)
        self.assertNotIn(f"{WEIGHTS}: no checksum", done.stderr)
        self.sluice("models", "verify", "tiny")

    def test_the_token_stays_with_the_endpoint(self):
        self.hub.other_host = True
        self.get("tiny", env={"HF_TOKEN": "hf_secret"})
        self.assert_complete()
        tokens = {path.split("/")[1]: token for path, _, token in self.hub.requests}
        self.assertEqual(tokens["api"], "Bearer hf_secret")
        self.assertEqual(tokens["openai"], "Bearer hf_secret")
        self.assertIsNone(tokens["cdn"])

    def test_sizes_that_are_not_true(self):
        self.hub.claimed[WEIGHTS] = 10**17
        self.assertRegex(self.get("tiny", status=1).stderr, r"needs [0-9.]+ PiB more|needs [0-9.]+ \S+ more on the disk")
        self.hub.claimed[WEIGHTS] = 5000000
        self.assertIn("more than the 5000000 bytes", self.get("tiny", status=1).stderr)
        self.hub.claimed[WEIGHTS] = 7000000
        self.assertIn("of 7000000 bytes", self.get("tiny", status=1).stderr)

    def test_the_bar_on_a_terminal(self):
        self.hub.chunk_wait = 0.01
        master, slave = os.openpty()
        process = subprocess.Popen([SLUICE, "models", "get", "tiny"], cwd=self.folder, env=self.env,
                                   stdout=subprocess.DEVNULL, stderr=slave)
        os.close(slave)
        text = b""
        try:
            while chunk := os.read(master, 4096):
                text += chunk
        except OSError:
            pass
        os.close(master)
        self.assertEqual(process.wait(LIMIT), 0)
        self.assertRegex(text, rb"\r\x1b\[K\[#+\.+\] [0-9.]+ MiB of 6\.[0-9] MiB  [0-9.]+ MiB/s")
        self.assert_complete()

    def test_verify_finds_damage(self):
        self.get("tiny")
        path = os.path.join(self.models, "tiny", WEIGHTS)
        with open(path, "r+b") as f:
            f.seek(5000000)
            f.write(b"!!")
        os.unlink(os.path.join(self.models, "tiny", "vocab.json"))
        done = self.sluice("models", "verify", "tiny", status=1)
        self.assertRegex(done.stdout, r"(?m)^differs +model\.safetensors$")
        self.assertRegex(done.stdout, r"(?m)^missing +vocab\.json$")
        self.assertRegex(done.stdout, r"(?m)^ok +config\.json$")
        self.assertIn("2 of", done.stderr)

    def test_somebody_elses_folder_is_left_alone(self):
        self.write("models/tiny/config.json", "{}")
        self.assertIn("was not downloaded by Sluice", self.get("tiny", status=1).stderr)
        self.get("tiny", "--name", "mine")
        self.assert_complete("mine")
        self.assertEqual(self.content("tiny", "config.json"), b"{}")


if __name__ == "__main__":
    unittest.main()
