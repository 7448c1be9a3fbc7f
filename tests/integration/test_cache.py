"""Results of earlier runs: what is reused, what is not and why, and that neither damage nor another process can make it
anything but the same bytes."""
import tempfile

from harness import *

HEAD = "inputs: { text: { type: text/1 } }\nparams: { delay: { default: 0ms } }\n"
STAGES = """\
  up:   { use: fixture/upper, in: { text: inputs.text } }
  read: { use: fixture/upper, in: { text: up.text } }
"""
OUTPUTS = "  txt: { use: recommended/redact, in: { text: read.text }, with: { min_length: 20 } }\n"


class Cache(Case):
    def setUp(self):
        super().setUp()
        del self.env["SLUICE_CACHE_SIZE"]
        self.write("a.txt", "first text\n")

    def run_it(self, stages=STAGES, outputs=OUTPUTS, *options, files=("a.txt",), env=None, status=0):
        pipeline = self.pipeline(stages, outputs, HEAD)
        return self.sluice("run", pipeline, *files, "-o", "out", *options, *fixtures(), env=env, status=status)

    def reused(self, run="last", item=0):
        """Names of the stages whose result is one of an earlier run."""
        return {s["name"] for s in self.show(run)["items"][item]["stages"] if "reused" in s}

    def misses(self, run="last", item=0):
        return {s["name"]: s["attempts"][0]["miss"] for s in self.show(run)["items"][item]["stages"]
                if s["attempts"] and "miss" in s["attempts"][0]}

    ALL = {"up", "read", "txt"}

    def test_same_run_again_is_reused(self):
        self.run_it()
        self.assertEqual(self.reused(), set())
        self.assertEqual(set(self.misses().values()), {"not done before"})
        expected = self.read("out", "a.txt")
        shutil.rmtree(self.path("out"))
        done = self.run_it()
        self.assertEqual(self.reused(), self.ALL)
        self.assertEqual(self.read("out", "a.txt"), expected)
        self.assertIn("reused", done.stderr)
        self.assertEqual(self.left_overs(), [])
        self.assertEqual(self.show()["state"], "ok")
        self.sluice("report", "last")

    def test_switched_off(self):
        self.run_it()
        self.run_it(STAGES, OUTPUTS, "--no-cache")
        self.assertEqual((self.reused(), self.misses()), (set(), {}))
        self.run_it(STAGES, OUTPUTS, env={"SLUICE_CACHE_SIZE": "0"})
        self.assertEqual((self.reused(), self.misses()), (set(), {}))
        self.run_it(STAGES.replace("inputs.text }", "inputs.text }, cache: false"))
        self.assertEqual(self.reused(), {"read", "txt"})

    def test_attempts_resources_and_timeouts_do_not_matter(self):
        self.run_it()
        self.run_it(STAGES.replace("inputs.text }", "inputs.text }, resources: { memory: 3GiB, cpus: 1 }, timeout: 30s, "
                                                    "retry: { attempts: 7 }, optional: true, keep: batch"))
        self.assertEqual(self.reused(), self.ALL)

    def test_changed_input_is_told(self):
        self.run_it()
        self.write("a.txt", "second text\n")
        done = self.run_it()
        self.assertEqual(self.reused(), set())
        self.assertEqual(self.misses()["up"], "input text is another one")
        self.assertIn("up: no earlier result was used: input text is another one", done.stderr)
        self.assertIn("no earlier result: input text is another one", self.sluice("show", "last").stdout)
        self.write("a.txt", "first text\n")
        self.run_it()
        self.assertEqual(self.reused(), self.ALL)

    def test_same_content_under_another_name(self):
        self.run_it()
        self.write("sub/b.txt", "first text\n")
        self.run_it(files=["sub/b.txt"])
        self.assertEqual(self.reused(), self.ALL)

    def test_changed_parameter_is_told_and_what_comes_before_is_reused(self):
        stages = STAGES + "  red: { use: recommended/redact, in: { text: read.text }, with: { mask: \"${params.who}\" } }\n"
        outputs = "  txt: { use: fixture/upper, in: { text: red.text } }\n"

        def run(who):
            pipeline = self.pipeline(stages, outputs, HEAD.replace("delay", "who"))
            self.sluice("run", pipeline, "a.txt", "-o", "out", "--set", f"who={who}", *fixtures())
        run("X")
        run("Y")
        self.assertEqual(self.reused() & {"up", "read"}, {"up", "read"})
        self.assertEqual(self.misses()["red"], 'parameter mask was "X", is "Y"')

    def test_result_of_a_retry_is_kept(self):
        stages = "  up: { use: fixture/flaky, in: { text: inputs.text }, cache: true, retry: { backoff: 1ms }, " \
                 "with: { fails: 1, state: /nonexistent } }\n".replace("/nonexistent", self.path("state-of-flaky"))
        self.run_it(stages, "  txt: { use: fixture/upper, in: { text: up.text } }\n")
        self.assertEqual([a["class"] for a in self.attempts("up")], ["transient", "ok"])
        # The file that the parameter names counts by its content, and the stage changes it: as it was before.
        os.unlink(self.path("state-of-flaky"))
        self.run_it(stages, "  txt: { use: fixture/upper, in: { text: up.text } }\n")
        self.assertEqual(self.reused(), {"up", "txt"})

    def test_stages_that_are_not_deterministic_take_part_only_if_told(self):
        stages = "  up: { use: exec/command, in: { text: inputs.text }, with: { argv: [sh, -c, 'date +%N >\"$1\"', sh, " \
                 "\"${out.text}\"], outputs: { text: text/1 } } CACHE }\n"
        for told, reused in (("", set()), (", cache: true", {"up", "txt"})):
            for _ in range(2):
                self.run_it(stages.replace(" CACHE", told), "  txt: { use: fixture/upper, in: { text: up.text } }\n")
            self.assertEqual(self.reused(), reused)

    def test_file_that_a_parameter_names_counts_by_its_content(self):
        names = self.write("names.txt", "one")
        stages = "  up: { use: exec/command, in: { text: inputs.text }, cache: true, with: { argv: [cp, " \
                 f"{names}, \"${{out.text}}\"], outputs: {{ text: text/1 }} }} }}\n"
        outputs = "  txt: { use: fixture/upper, in: { text: up.text } }\n"
        self.run_it(stages, outputs)
        self.run_it(stages, outputs)
        self.assertEqual(self.reused(), {"up", "txt"})
        self.write("names.txt", "two")
        self.run_it(stages, outputs)
        self.assertEqual(self.misses()["up"], f"the content of {names} is another one")
        self.assertEqual(self.read("out", "a.txt"), "TWO")

    def test_rebuilt_plugin_is_told(self):
        plugins = self.path("plugins")
        shutil.copytree(FIXTURES, plugins)
        self.sluice("run", self.pipeline(STAGES, OUTPUTS, HEAD), "a.txt", "-o", "out", "--plugins", plugins)
        path = os.path.join(plugins, "fixture.so")
        with open(path, "rb") as f:
            data = bytearray(f.read())
        note = data.index(b"GNU\0", data.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"))
        data[note + 4] ^= 1  # the first byte of its build id
        os.unlink(path)
        self.write("plugins/fixture.so", bytes(data))
        self.sluice("run", self.path("p.yaml"), "a.txt", "-o", "out", "--plugins", plugins)
        self.assertEqual(set(self.misses().values()), {"its plugin was rebuilt"})

    def damaged(self, change):
        """Changes what is kept of the first stage; the run must notice and make it again."""
        self.run_it()
        entry = next(e for e in self.entries() if e["stage"] == "up")
        change(os.path.join(self.env["SLUICE_CACHE"], "results", entry["key"][:2], entry["key"]))
        done = self.run_it()
        self.assertEqual(self.read("out", "a.txt"), "FIRST TEXT\n")
        return self.misses().get("up"), done

    def entries(self):
        return [json.loads(line) for line in self.sluice("cache", "ls", "--json").stdout.splitlines()]

    def test_damaged_output(self):
        def change(path):
            with open(path + ".text", "r+b") as f:
                f.write(b"?")
        self.assertIn("its kept result cannot be used", self.damaged(change)[0])
        self.run_it()
        self.assertEqual(self.reused(), self.ALL)

    def test_shorter_output(self):
        self.assertIn("its kept result cannot be used", self.damaged(lambda path: os.truncate(path + ".text", 3))[0])

    def test_lost_output(self):
        self.assertIn("its kept result cannot be used", self.damaged(lambda path: os.unlink(path + ".text"))[0])

    def test_damaged_entry(self):
        def change(path):
            with open(path, "r+b") as f:
                f.seek(30)
                f.write(b"????")
        self.assertEqual(self.damaged(change)[0], "its kept result was removed")

    def test_entry_that_is_cut(self):
        self.assertEqual(self.damaged(lambda path: os.truncate(path, 0))[0], "its kept result was removed")

    def test_large_result_on_another_file_system(self):
        """Hashed and copied in slices, both ways."""
        other = tempfile.mkdtemp(prefix="other-disk-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.addCleanup(shutil.rmtree, other, True)
        self.env["SLUICE_CACHE"] = other
        stages = "  up: { use: fixture/upper, in: { text: inputs.text } }\n"
        self.write("a.txt", "0123456789abcdef" * 300_000)
        for _ in range(2):
            self.run_it(stages, "  txt: { use: fixture/upper, in: { text: up.text } }\n")
        self.assertEqual(self.reused(), {"up", "txt"})
        self.assertEqual(self.read("out", "a.txt"), "0123456789ABCDEF" * 300_000)
        self.assertEqual(self.left_overs(), [])

    def test_model_is_hashed_once(self):
        """A file over a megabyte is remembered by size, times and inode; the same again, changed, is another."""
        model = self.write("model.bin", b"m" * 2_000_000)
        os.utime(model, (1, 1))
        time.sleep(2.5)  # one that changed just now is not remembered
        stages = "  up: { use: exec/command, in: { text: inputs.text }, cache: true, with: { argv: [cp, \"${in.text}\", " \
                 f"\"${{out.text}}\"], outputs: {{ text: text/1 }}, env: {{ MODEL: {model} }} }} }}\n"
        outputs = "  txt: { use: fixture/upper, in: { text: up.text } }\n"
        self.run_it(stages, outputs)
        with open(os.path.join(self.env["SLUICE_CACHE"], "digests")) as f:
            self.assertEqual(f.read().count("model.bin"), 1)
        self.run_it(stages, outputs)
        self.assertEqual(self.reused(), {"up", "txt"})
        with open(model, "r+b") as f:
            f.seek(1_000_000)
            f.write(b"M")
        self.run_it(stages, outputs)
        self.assertIn("model.bin is another one", self.misses()["up"])

    def test_models_that_are_folders(self):
        """Parameters that name models stand for what is in the folder."""
        outputs = "  txt: { use: fixture/upper, in: { text: up.text } }\n"
        for name in ("model", "segmentation", "embedding", "plda"):
            config = self.write(f"{name}/config.json", "{}")
            stages = "  up: { use: exec/command, in: { text: inputs.text }, cache: true, with: { argv: [cp, \"${in.text}\", " \
                     f"\"${{out.text}}\"], outputs: {{ text: text/1 }}, env: {{ {name}: {os.path.dirname(config)} }} }} }}\n"
            self.run_it(stages, outputs)
            self.run_it(stages, outputs)
            self.assertEqual(self.reused(), {"up", "txt"}, name)
            self.write(f"{name}/config.json", "{ }")
            self.run_it(stages, outputs)
            self.assertNotIn("up", self.reused(), name)

    def test_ls_and_prune(self):
        for i in range(4):
            self.write(f"f{i}.txt", f"text {i}\n" * 1000)
        self.run_it(files=[f"f{i}.txt" for i in range(4)])
        entries = self.entries()
        self.assertEqual(len(entries), 12)
        self.assertIn("fixture/upper", self.sluice("cache", "ls").stdout)
        self.assertIn("12 results", self.sluice("cache", "ls").stderr)
        self.assertIn("removed 0", self.sluice("cache", "prune").stdout)
        self.assertIn("removed 0", self.sluice("cache", "prune", "--max-age", "1h").stdout)
        total = sum(e["bytes"] for e in entries)
        left = json.loads(self.sluice("cache", "prune", "--max-size", str(total // 2), "--json").stdout)
        self.assertLessEqual(left["left_bytes"], total // 2)
        self.assertGreater(left["left"], 0)
        self.assertEqual(len(self.entries()), left["left"])
        self.sluice("cache", "prune", "--max-age", "0s")
        self.assertEqual(self.entries(), [])
        files = [n for _, _, names in os.walk(os.path.join(self.env["SLUICE_CACHE"], "results")) for n in names]
        self.assertEqual([n for n in files if n != "pruned"], [])
        self.run_it(files=["f0.txt"])
        self.assertEqual(self.misses()["up"], "not done before")
        for wrong in (["--max-size", "much"], ["--max-age", "old"]):
            self.assertIn("expected", self.sluice("cache", "prune", *wrong, status=2).stderr)
        self.sluice("cache", status=2)

    def test_cache_stays_within_its_size(self):
        self.env["SLUICE_CACHE_SIZE"] = "100k"
        for i in range(30):
            self.write(f"f{i}.txt", f"text {i}\n" * 2000)
        self.run_it(files=[f"f{i}.txt" for i in range(30)])
        self.assertLessEqual(sum(e["bytes"] for e in self.entries()), 100 << 10)

    def test_two_runs_at_once_share(self):
        pipeline = self.pipeline(STAGES, OUTPUTS, HEAD)
        for i in range(20):
            self.write(f"f{i}.txt", f"text {i}\n")
        files = [f"f{i}.txt" for i in range(20)]
        runs = [self.start("run", pipeline, *files, "-o", f"out{k}", *fixtures()) for k in range(3)]
        pruner = self.start("cache", "prune", "--max-size", "1k")
        for process in [*runs, pruner]:
            self.finish(process)
        for k in range(3):
            for i in range(20):
                self.assertEqual(self.read(f"out{k}", f"f{i}.txt"), f"TEXT {i}\n")

    def test_resumed_run_takes_from_the_cache(self):
        stages = STAGES + "  s: { use: fixture/sleepy, in: { text: read.text }, with: { duration: 400ms } }\n"
        self.run_it()
        process = self.start("run", self.pipeline(stages, OUTPUTS, HEAD), "a.txt", "-o", "out", "--json", *fixtures())
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        process.kill()
        process.communicate()
        os.unlink(os.path.join(self.run_folder(), "items/a/up.text.txt"))
        self.sluice("resume", "last")
        self.assertEqual(self.show()["state"], "ok")
        self.assertEqual(self.read("out", "a.txt"), "FIRST TEXT\n")

    def test_one_stage_by_hand_and_rehearsals_take_no_part(self):
        for _ in range(2):
            self.sluice("stage", "fixture/upper", "--in", "text=a.txt", "-o", "out", *fixtures())
            self.assertEqual((self.reused(), self.misses()), (set(), {}))
        self.run_it(STAGES, OUTPUTS, "--inject", "up:crash@1")
        self.assertEqual(self.entries(), [])

    def test_mistake_in_the_pipeline(self):
        done = self.run_it(STAGES.replace("inputs.text }", "inputs.text }, cache: often"), status=2)
        self.assertIn("cache: expected true or false", done.stderr)


main()
