"""Runs that are cut off and resumed: at every record of the journal, by SIGKILL at any moment, with artifacts, inputs and
the journal's end damaged meanwhile. What counts is that the outputs are those of a run that nobody disturbed."""
import random

from harness import *

HEAD = "inputs: { text: { type: text/1 } }\n"
STAGES = """\
  up:    { use: fixture/upper, in: { text: inputs.text } }
  flaky: { use: fixture/flaky, in: { text: up.text }, with: { fails: 1, state: "${env.FLAKY}" },
           retry: { backoff: 10ms } }
  maybe: { use: fixture/flaky, in: { text: up.text }, optional: true, with: { fails: 99, state: "${env.FLAKY}-2" },
           retry: { attempts: 1 } }
  read:  { use: fixture/reader, in: { text: flaky.text }, with: { delay: 10ms } }
"""
OUTPUTS = """\
  txt:  { use: fixture/upper, in: { text: read.text } }
  copy: { use: fixture/reader, in: { text: up.text }, with: { delay: 0ms } }
"""


class Resume(Case):
    def setUp(self):
        super().setUp()
        self.env["FLAKY"] = self.path("flaky")
        self.out = self.path("out")

    def begin(self, n, stages=STAGES, outputs=OUTPUTS, options=()):
        """Arguments of a run over n files."""
        files = [self.write(f"in/{i}.txt", f"file {i}, line {i * 7}\n" * (i + 1)) for i in range(n)]
        return ["run", self.pipeline(stages, outputs, HEAD), *files, "-o", "out", *options, *fixtures()]

    def undisturbed(self, args):
        """The outputs of the run, in a folder that is then removed, with its state."""
        self.sluice(*args)
        expected = tree(self.out)
        shutil.rmtree(self.out)
        return expected

    def clear(self):
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.rmtree(self.out, ignore_errors=True)
        for name in ("flaky", "flaky-2"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))

    def journal(self):
        with open(os.path.join(self.run_folder(), "journal"), "rb") as f:
            return f.read().splitlines(keepends=True)

    def cut(self, text):
        with open(os.path.join(self.run_folder(), "journal"), "wb") as f:
            f.write(text)

    def last(self):
        return sorted(os.listdir(self.path("state", "runs")))[-1]

    def resumed(self, expected, status=0):
        done = self.sluice("resume", "last", "--quiet", status=status)
        self.assertEqual(tree(self.out), expected)
        self.assertEqual(self.left_overs(), [])
        self.assertEqual(self.show()["state"], "ok")
        return done

    def test_cut_at_every_record(self):
        args = self.begin(2, options=["--keep-artifacts"])
        expected = self.undisturbed(args)
        self.assertEqual(len(expected), 4)
        records = self.journal()
        shutil.copytree(self.state, self.path("kept"))
        step = 3 if SANITIZED else 1
        for n in range(1, len(records) + 1, step):
            self.clear()
            shutil.copytree(self.path("kept"), self.state)
            torn = records[n][:n % len(records[n])] if n < len(records) else b""
            self.cut(b"".join(records[:n]) + torn)
            if n == len(records):
                self.assertIn("nothing to do", self.sluice("resume", "last").stderr)
                continue
            with self.subTest(records=n, of=len(records), last=records[n - 1][:80]):
                for name in ("flaky", "flaky-2"):
                    self.write(name, "xx")
                done = self.sluice("resume", "last", "--quiet")
                found = tree(self.out)
                finished = {i["name"] for i in self.items_settled(records[:n])}
                self.assertEqual({k: v for k, v in expected.items() if k.split(".")[0] not in finished}, found)
                self.assertEqual(self.show()["state"], "ok", done.stderr)
                self.assertEqual([i["state"] for i in self.show()["items"]], ["ok"] * 2)
        print(f"    resumed after each of {len(records)} records", file=sys.stderr)

    @staticmethod
    def items_settled(records):
        """Items whose outputs were written before the cut: they are not written again."""
        decoded = [json.loads(r[17:]) for r in records]
        return [{"name": r["item"]} for r in decoded if r["type"] == "item"]

    def kill_after(self, args, n_records):
        """Starts the run and kills its core once the journal has n records; returns whether it was alive."""
        process = self.start(*args, "--json")
        runs = self.path("state", "runs")
        while process.poll() is None:
            found = os.listdir(runs) if os.path.isdir(runs) else []
            try:
                with open(os.path.join(runs, found[0], "journal"), "rb") as f:
                    if f.read().count(b"\n") >= n_records:
                        break
            except (OSError, IndexError):
                pass
        process.kill()
        process.communicate()
        return process.returncode == -signal.SIGKILL

    def test_core_killed_while_it_works(self):
        args = self.begin(3)
        expected = self.undisturbed(args)
        n_records = len(self.journal())
        n_killed = 0
        for n in random.Random(7).sample(range(1, n_records), 4 if SANITIZED else 10):
            self.clear()
            alive = self.kill_after(args, n)
            n_killed += alive
            with self.subTest(records=n):
                if alive:
                    self.assertIn(self.show()["state"], ("died", "ok"))
                self.resumed(expected)
        self.assertGreater(n_killed, 3)

    def test_finished_run_is_left_alone(self):
        args = self.begin(1)
        self.sluice(*args)
        journal, before = self.journal(), tree(self.out)
        done = self.sluice("resume", "last")
        self.assertIn("nothing to do", done.stderr)
        self.assertEqual((self.journal(), tree(self.out)), (journal, before))

    def test_live_run_refuses_a_second_core(self):
        args = self.begin(1, "  s: { use: fixture/sleepy, in: { text: inputs.text }, with: { duration: 60s } }\n", "")
        process = self.start(*args, "--json")
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        done = self.sluice("resume", "last", status=1)
        self.assertIn(f"process {process.pid};", done.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT)

    def test_cancelled_run_goes_on(self):
        stages = "  up: { use: fixture/upper, in: { text: inputs.text } }\n" \
                 "  s:  { use: fixture/sleepy, in: { text: up.text }, with: { duration: \"${env.LONG}\" } }\n"
        args = self.begin(2, stages, "  txt: { use: fixture/reader, in: { text: up.text } }\n")
        self.env["LONG"] = "60s"
        process = self.start(*args, "--json")
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT)
        self.assertEqual(self.show()["state"], "cancelled")
        self.env["LONG"] = "10ms"
        done = self.sluice("resume", "last")
        self.assertIn("its parameters are others", done.stderr)
        state = self.show()
        self.assertEqual(state["state"], "ok")
        self.assertEqual(len(state["resumed"]), 1)
        self.assertEqual(sorted(tree(self.out)), ["0.txt", "1.txt"])
        self.assertIn("resumed", self.sluice("show", "last").stdout)
        self.assertIn("ok", self.sluice("runs").stdout)
        self.sluice("report", "last")

    def test_failed_items_are_tried_again_only_when_asked(self):
        stages = "  f: { use: fixture/flaky, in: { text: inputs.text }, with: { fails: 1, state: \"${env.FLAKY}\" },\n" \
                 "       retry: { attempts: 1 } }\n"
        args = self.begin(1, stages, "  txt: { use: fixture/upper, in: { text: f.text } }\n")
        self.sluice(*args, status=1)
        self.assertIn("1 failed; nothing to do (--failed", self.sluice("resume", "last").stderr)
        self.assertEqual(tree(self.out), {})
        self.sluice("resume", "last", "--failed")
        self.assertEqual(len(tree(self.out)), 1)
        self.assertEqual([a["class"] for a in self.attempts("f")], ["transient", "ok"])
        self.assertIn("nothing to do", self.sluice("resume", "last", "--failed").stderr)

    def interrupted(self, stages, outputs):
        """A run that was killed while its last stage worked."""
        args = self.begin(1, stages, outputs)
        process = self.start(*args, "--json")
        for line in process.stdout:
            if json.loads(line)["event"] == "progress" and json.loads(line)["stage"] == "slow":
                break
        process.kill()
        process.communicate()

    SLOW = "  up:   { use: fixture/upper, in: { text: inputs.text } }\n" \
           "  slow: { use: fixture/sleepy, in: { text: up.text }, with: { duration: 500ms } }\n"
    COPY = "  txt: { use: fixture/reader, in: { text: up.text } }\n"

    def names_of_attempts(self):
        return {s["name"]: [a.get("class") for a in s["attempts"]] for s in self.show()["items"][0]["stages"]}

    def test_kept_results_are_not_made_again(self):
        self.interrupted(self.SLOW, "  txt: { use: fixture/reader, in: { text: slow.text } }\n")
        self.sluice("resume", "last")
        attempts = self.names_of_attempts()
        self.assertEqual(attempts["up"], ["ok"])
        self.assertEqual(attempts["slow"], ["lost", "ok"])

    def test_damaged_artifact_is_made_again(self):
        self.interrupted(self.SLOW, "  txt: { use: fixture/reader, in: { text: slow.text } }\n")
        with open(os.path.join(self.run_folder(), "items/0/up.text.txt"), "r+b") as f:
            f.write(b"?")
        done = self.sluice("resume", "last")
        self.assertIn("its result cannot be used, so it runs again", done.stderr)
        self.assertEqual(self.names_of_attempts()["up"], ["ok", "ok"])
        self.assertEqual(self.show()["state"], "ok")

    def test_changed_input_is_said_and_read_again(self):
        self.interrupted(self.SLOW, self.COPY)
        self.write("in/0.txt", "another text\n")
        done = self.sluice("resume", "last")
        self.assertIn("the file it reads is not as it was", done.stderr)
        self.assertEqual(tree(self.out)["0.txt"], b"ANOTHER TEXT\n")

    def test_missing_input_fails_where_it_is_needed(self):
        self.interrupted(self.SLOW, self.COPY)
        os.unlink(self.path("in/0.txt"))
        done = self.sluice("resume", "last", status=1)
        self.assertIn("in/0.txt", done.stderr)

    def test_parameters_are_those_of_the_run(self):
        stages = "  p: { use: fixture/hello, with: { name: \"${params.who}\" } }\n" \
                 "  s: { use: fixture/sleepy, in: { text: p.text }, with: { duration: 1s } }\n"
        args = self.begin(1, stages, "  txt: { use: fixture/upper, in: { text: p.text } }\n  t2: { use: fixture/upper, in: { text: inputs.text } }\n")
        with open(self.path("p.yaml"), "r+") as f:
            text = f.read().replace("stages:", "params: { who: { default: world } }\nstages:", 1)
            f.seek(0)
            f.write(text)
        process = self.start(*args, "--set", "who=Ada", "--json")
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        process.kill()
        process.communicate()
        self.write("p.yaml", "not a pipeline any more")
        done = subprocess.run([SLUICE, "resume", "last"], cwd="/", env=self.env, timeout=LIMIT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(tree(self.out)["0.txt"], b"HELLO, ADA!\n")

    def test_one_stage_by_hand(self):
        file = self.write("a.txt", "x")
        process = self.start("stage", "fixture/sleepy", "--in", f"text={file}", "--with", "duration=2s", "-o", "out", "--json",
                             *fixtures())
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        process.kill()
        process.communicate()
        self.sluice("resume", "last")
        self.assertEqual(list(tree(self.out)), ["text.txt"])

    def test_no_beginning_is_told(self):
        self.sluice(*self.begin(1))
        first = self.journal()[0]
        for left in (b"", first[:100]):
            with open(os.path.join(self.state, "runs", self.last(), "journal"), "wb") as f:
                f.write(left)
            self.assertIn("start it anew", self.sluice("resume", self.last(), status=2).stderr)

    def test_parameters_of_items_are_kept(self):
        stages = "  p: { use: fixture/hello, with: { name: \"${params.who}\" } }\n" \
                 "  s: { use: fixture/sleepy, in: { text: inputs.text }, with: { duration: 300ms } }\n"
        self.begin(2)
        manifest = self.write("m.csv", "file,who\nin/0.txt,Ada\nin/1.txt,Grace\n")
        pipeline = self.pipeline(stages, "  txt: { use: fixture/upper, in: { text: p.text, note: s.text } }\n",
                                 HEAD + "params: { who: { default: world } }\n")
        process = self.start("run", pipeline, "--manifest", manifest, "-o", "out", "-j", "1", "--json", *fixtures())
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        process.kill()
        process.communicate()
        os.unlink(manifest)
        self.sluice("resume", "last")
        self.assertEqual(tree(self.out), {"0.txt": b"HELLO, ADA!\n", "1.txt": b"HELLO, GRACE!\n"})

    def test_workers_left_behind_are_ended(self):
        """A keeper is killed along with the core, so that nobody ends the stage's process."""
        self.interrupted(self.SLOW, self.COPY)
        log = os.path.join(self.run_folder(), "items/0/slow.1.log")
        with open(log, "ab") as f:
            left = subprocess.Popen(["sleep", "300"], stdout=f, stderr=f, start_new_session=True)
        with open(log, "rb") as f:
            reader = subprocess.Popen(["sleep", "300"], stdin=f, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            done = self.sluice("resume", "last")
            self.assertRegex(done.stderr, r"ended \d+ processes")  # the run's own may be about to die
            self.assertEqual(left.wait(5), -signal.SIGKILL)
            self.assertIsNone(reader.poll())
        finally:
            reader.kill()
            reader.wait()
            left.kill()
            left.wait()


main()
