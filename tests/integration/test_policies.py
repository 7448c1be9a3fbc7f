"""Failure policies, rehearsed with --inject: what each fault leads to, with the plugins that are shipped."""
from cards import *

HEAD = "inputs: { file: { type: file/1 } }\n"
QUICK = "retry: { backoff: 10ms }"


class Policies(Case):
    def wave(self, name="talk.wav"):
        shutil.copy(os.path.join(DATA, "command.wav"), self.path(name))
        return self.path(name)

    def decode(self, more=""):
        return f"  decode: {{ use: audio/decode, in: {{ file: inputs.file }}{', ' + more if more else ''} }}\n"

    def run_with(self, inject, stages=None, *args, status=0):
        pipeline = self.pipeline(stages or self.decode(QUICK), head=HEAD)
        return self.sluice("run", pipeline, self.wave(), "-o", "out", "--inject", inject, *args, status=status)

    def journal(self, kind):
        with open(os.path.join(self.run_folder(), "journal"), encoding="utf-8") as f:
            return [r for r in (json.loads(line[17:]) for line in f) if r["type"] == kind]

    def log(self):
        with open(os.path.join(self.run_folder(), "log"), encoding="utf-8") as f:
            return f.read()

    def test_each_fault_looks_like_what_it_stands_for(self):
        for fault, cls, words in (("crash", "crash", "killed by signal 11"), ("oom", "resource", "out of memory (injected"),
                                  ("transient", "transient", "injected"), ("garbage", "internal", 'output "audio"')):
            with self.subTest(fault=fault):
                self.run_with(f"decode:{fault}@1")
                first, second = self.attempts("decode")
                self.assertEqual((first["class"], second["class"]), (cls, "ok"))
                self.assertIn(words, first["message"])
                self.assertEqual((first["injected"], second.get("injected")), (fault, None))
                self.assertIn(f"talk/decode: attempt 1 in worker 1", self.log())
                self.assertIn(f"; injected: {fault}", self.log())

    def test_a_hang_meets_its_timeout(self):
        self.run_with("decode:hang@1", self.decode("timeout: { idle: 300ms }"))
        first, second = self.attempts("decode")
        self.assertEqual((first["class"], second["class"]), ("timeout", "ok"))

    def test_slow_is_only_slow(self):
        began = time.monotonic()
        self.run_with("decode:slow")
        self.assertGreater(time.monotonic() - began, 5)
        self.assertEqual([a["class"] for a in self.attempts("decode")], ["ok"])

    def test_without_a_number_every_attempt_is_struck(self):
        self.run_with("decode:oom", status=1)
        self.assertEqual([a["class"] for a in self.attempts("decode")], ["resource"] * 3)

    def test_jobs_of_a_shared_worker_are_struck_too(self):
        files = [self.write(f"f{i}.txt", "x") for i in range(4)]
        pipeline = self.pipeline(f"  b: {{ use: fixture/batcher, with: {{ steps: 5 }}, {QUICK} }}\n", head=HEAD)
        for fault, cls in (("transient", "transient"), ("crash", "crash")):
            self.sluice("run", pipeline, *files, "-o", "out", "--jobs", "4", "--inject", f"b:{fault}@1", *fixtures())
            for i in range(4):
                self.assertEqual({a["class"] for a in self.attempts("b", i)}, {cls, "ok"})

    def test_what_cannot_be_injected_is_told(self):
        for text, words in (("decod:crash", 'there is no stage "decod" (did you mean "decode"?)'),
                            ("decode:chrash", 'there is no fault "chrash" (did you mean "crash"?)'),
                            ("decode:crash@0", "from 1 to 100")):
            self.assertIn(words, self.run_with(text, status=2).stderr)
        self.assertIn("--inject", self.sluice("run", "--help").stdout)


    # ---- on_oom

    def test_a_smaller_batch(self):
        """A step each time, journalled, logged and told; the batch that fitted is where the next file begins."""
        stages = self.decode() + ("  speech: { use: audio/vad, in: { audio: decode.audio } }\n"
                                  "  asr: { use: whisper/transcribe, in: { audio: decode.audio, regions: speech.regions },"
                                  " with: { batch_size: 8 }, keep: { for: batch, workers: 1 }, on_oom: [shrink, cpu] }\n")
        files = [self.wave("a.wav"), self.wave("b.wav")]
        pipeline = self.pipeline(stages, head=HEAD)
        done = self.sluice("run", pipeline, *files, "-o", "out", "--jobs", "1", "--inject", "asr:oom@1,asr:oom@2")
        steps = [(r["item"], r["after_attempt"], r["step"], r["change"]) for r in self.journal("oom_step")]
        self.assertEqual(steps, [("a", 1, "shrink", "batch_size 4"), ("a", 2, "shrink", "batch_size 2"),
                                 ("b", 1, "shrink", "batch_size 1")])
        self.assertIn("on_oom: shrink to batch_size 4", self.log())
        self.assertRegex(done.stderr, r"a: asr done in .* after on_oom: shrink to batch_size 4, shrink to batch_size 2")
        self.assertEqual([a["class"] for a in self.attempts("asr", 0)], ["resource", "resource", "ok"])
        self.assertEqual([t["on_oom"] for t in self.journal("task") if t["stage"] == "asr" and t["item"] == "a"],
                         ["shrink to batch_size 4, shrink to batch_size 2"])

    def test_a_limit_that_grows(self):
        """Killed at its limit, for real: the limit doubles until the stage fits, beyond the attempts of retry."""
        self.sluice("run", self.pipeline("  e: { use: fixture/eat, with: { what: memory, amount: 150MiB },"
                                         " resources: { memory: 20MiB }, retry: { attempts: 1 }, on_oom: [grow] }\n"),
                    "-o", "out", *fixtures())
        self.assertEqual([a["class"] for a in self.attempts("e")], ["resource"] * 3 + ["ok"])
        self.assertEqual([r["change"] for r in self.journal("oom_step")],
                         [f"a limit of {n} MiB of memory" for n in ("40.0", "80.0", "160.0")])

    def test_steps_that_did_not_help_are_in_the_message(self):
        stages = self.decode() + ("  asr: { use: whisper/transcribe, in: { audio: decode.audio }, with: { batch_size: 2 },"
                                  " retry: { attempts: 1 }, on_oom: [other_gpu, shrink, cpu] }\n")
        done = self.run_with("asr:oom", stages, status=1)
        self.assertIn("out of memory (injected by --inject); on_oom: shrink to batch_size 1", done.stderr)
        self.assertEqual(len(self.attempts("asr")), 2)

    def test_other_lacks_are_not_memory(self):
        self.sluice("run", self.pipeline("  e: { use: fixture/eat, with: { what: scratch, amount: 50MiB },"
                                         " resources: { scratch: 2MiB, memory: 1GiB }, retry: { attempts: 1 }, on_oom: [grow] }\n"),
                    "-o", "out", *fixtures(), status=1)
        self.assertFalse(self.journal("oom_step"))

    # ---- quarantine

    def resume_after(self, n_retries, stages, *args, status=0):
        """Kills the core when attempts were to be tried again so often, and resumes."""
        pipeline = self.pipeline(stages, head=HEAD)
        process = self.start("run", pipeline, self.wave("a.wav"), "-o", "out", "--json", *args, *fixtures())
        for line in process.stdout:
            n_retries -= json.loads(line)["event"] == "retry"
            if n_retries == 0:
                break
        time.sleep(0.2)
        process.kill()
        process.communicate()
        return self.sluice("resume", "last", status=status)

    def test_steps_of_on_oom_outlive_the_core(self):
        self.resume_after(2, self.decode() + "  asr: { use: whisper/transcribe, in: { audio: decode.audio }, with: { batch_size: 8 },"
                          " retry: { attempts: 1 }, on_oom: [shrink] }\n", "--inject", "asr:oom@1,asr:oom@2,asr:slow@3")
        task = [t for t in self.journal("task") if t["stage"] == "asr"][-1]
        self.assertEqual((task["state"], task["on_oom"]), ("done", "shrink to batch_size 4, shrink to batch_size 2"))
        self.assertEqual([a["class"] for a in self.attempts("asr")], ["resource", "resource", "lost", "ok"])

    def test_workers_killed_are_counted_across_cores(self):
        done = self.resume_after(2, "  c: { use: fixture/crash, retry: { attempts: 9, backoff: 3s } }\n", status=1)
        self.assertIn("quarantined: it killed 3 workers in a row; report: quarantine/a/c.txt", done.stderr)
        self.assertEqual([a["class"] for a in self.attempts("c")], ["crash"] * 3)
        report = self.read(os.path.relpath(self.run_folder(), self.folder), "quarantine/a/c.txt")
        self.assertEqual([n for n in "123" if f"attempt {n}, process" in report], ["1", "2", "3"])

    def test_an_item_that_kills_its_workers_is_quarantined(self):
        files = [self.write(f"f{i}.txt", "x") for i in range(4)]
        pipeline = self.pipeline("  b: { use: fixture/hostile, with: { how: exit_thread, only: f1 }, keep: batch,"
                                 " retry: { attempts: 9, backoff: 10ms } }\n", head=HEAD)
        done = self.sluice("run", pipeline, *files, "-o", "out", "--jobs", "1", *fixtures(), status=1)
        self.assertEqual([i["state"] for i in self.show()["items"]], ["ok", "failed", "ok", "ok"])
        self.assertEqual([a["class"] for a in self.attempts("b", 1)], ["crash"] * 3)
        self.assertIn("quarantined: it killed 3 workers in a row; report: quarantine/f1/b.txt", done.stderr)
        self.assertEqual([(r["item"], r["kills"], r["report"]) for r in self.journal("quarantine")],
                         [("f1", 3, "quarantine/f1/b.txt")])
        with open(os.path.join(self.run_folder(), "quarantine/f1/b.txt"), encoding="utf-8") as f:
            report = f.read()
        for words in ("item    f1", "attempt 1, process ", "attempt 3, process ", "crash: its process", "log: logs/b.worker-"):
            self.assertIn(words, report)

    def test_quarantine_can_be_changed_and_switched_off(self):
        for quarantine, attempts in ((1, 1), (0, 5)):
            self.run_with("decode:crash", self.decode(f"retry: {{ attempts: 5, backoff: 1ms, quarantine: {quarantine} }}"), status=1)
            self.assertEqual(len(self.attempts("decode")), attempts)

    def test_failures_between_break_the_row(self):
        done = self.run_with("decode:crash,decode:transient@3",
                             self.decode("retry: { attempts: 5, backoff: 1ms }"), status=1)
        self.assertEqual([a["class"] for a in self.attempts("decode")], ["crash", "crash", "transient", "crash", "crash"])
        self.assertNotIn("quarantined", done.stderr)

    def test_an_optional_stage_is_left_out_when_it_is_quarantined(self):
        done = self.run_with("decode:crash", self.decode("optional: true, retry: { attempts: 9, backoff: 1ms }"))
        self.assertRegex(done.stderr, "talk: decode: left out: .*quarantined")


class OnCards(Cards):
    def test_another_card_a_higher_limit_the_processor(self):
        """Every step of the list, on two made-up cards of 24 GiB."""
        self.machine(card(), card("GPU-bbbb", "Fake_24"))
        faults = ",".join(f"a:oom@{n}" for n in range(1, 5))
        text = self.stage("a", 10, 10, ", retry: { attempts: 1 }, on_oom: [other_gpu, grow, cpu]", hold="10ms")
        done = self.run_it(self.pipeline(text), 1, "--inject", faults, "--keep-artifacts")
        with open(os.path.join(self.run_folder(), "journal"), encoding="utf-8") as f:
            steps = [(r["step"], r["change"]) for r in (json.loads(line[17:]) for line in f) if r["type"] == "oom_step"]
        self.assertEqual(steps, [("other_gpu", "another card"), ("grow", "a limit of 20.0 GiB of GPU memory"),
                                 ("grow", "a limit of 24.0 GiB of GPU memory"), ("cpu", "the CPU")])
        cards = re.findall(r"a: worker \d+ runs on card (\d)", self.log())
        self.assertEqual(len(cards), 4)
        self.assertNotEqual(cards[0], cards[1])
        self.assertEqual({cards[1]}, set(cards[1:]), "the first is avoided from then on")
        self.assertEqual([a["class"] for a in self.attempts("a")], ["resource"] * 4 + ["ok"])
        self.assertIn("a done in", done.stderr)
        self.assertEqual(self.taken(), [], "in the end it takes nothing of a card")


main()
