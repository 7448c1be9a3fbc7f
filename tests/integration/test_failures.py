"""What happens when stages fail, crash, hang or lie: retries, optional stages, timeouts, one sentence each."""
from harness import *

ONE_TRY = "retry: { attempts: 1 }"


class Failures(Case):
    def run_stages(self, stages, outputs="", status=0, files=()):
        pipeline = self.pipeline(stages, outputs, head="inputs: { file: { type: file/1 } }\n" if files else "")
        return self.sluice("run", pipeline, *files, "-o", "out", *fixtures(), status=status)

    def test_killed_worker_is_retried(self):
        """kill -9 of a worker, a direct child of sluice, in the middle of its stage."""
        pipeline = self.pipeline("  slow: { use: fixture/sleepy, with: { duration: 1s } }\n")
        process = self.start("run", pipeline, "-o", "out", "--json", *fixtures())
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and event["attempt"] == 1:
                worker = workers_of(process.pid)
                self.assertEqual(len(worker), 1)
                os.kill(worker[0], signal.SIGKILL)
                break
        self.finish(process)
        first, second = self.attempts("slow")
        self.assertEqual((first["class"], second["class"]), ("crash", "ok"))
        self.assertIn("killed by signal 9", first["message"])
        text = self.sluice("show", "last").stdout
        self.assertRegex(text, r"attempt 1 +crash")
        self.assertRegex(text, r"attempt 2 +ok")

    def test_crash_says_signal_and_last_line(self):
        for how, words in (("segv", "killed by signal 11 (Segmentation fault)"), ("abort", "killed by signal 6 (Aborted)"),
                           ("exit0", "exited with status 0 before the job was done"),
                           ("exit3", "exited with status 3 before the job was done"), ("kill", "killed by signal 9")):
            with self.subTest(how=how):
                done = self.run_stages(f"  bad: {{ use: fixture/crash, with: {{ when: process, how: {how} }}, {ONE_TRY} }}\n",
                                       status=1)
                self.assertIn(f"test: bad failed: its process {'was ' if 'killed' in words else ''}{words}", done.stderr)

    def test_crash_once_succeeds_in_a_fresh_process(self):
        once = self.path("once")
        self.run_stages(f"  bad: {{ use: fixture/crash, with: {{ when: process, how: segv, once: {once} }} }}\n")
        self.assertEqual([a["class"] for a in self.attempts("bad")], ["crash", "ok"])

    def test_crash_in_create_and_destroy(self):
        done = self.run_stages(f"  bad: {{ use: fixture/crash, with: {{ when: create, how: segv }}, {ONE_TRY} }}\n", status=1)
        self.assertIn("Segmentation fault", done.stderr)
        self.run_stages(f"  bad: {{ use: fixture/crash, with: {{ when: destroy, how: segv }}, {ONE_TRY} }}\n")
        with open(os.path.join(self.sluice_folder(), "log")) as log:
            self.assertIn("after its work was done, its process was killed by signal 11", log.read())

    def sluice_folder(self):
        return os.path.join(self.state, "runs", self.show()["id"])

    def test_flaky_is_retried_by_class(self):
        for status, attempts, code in (("transient", 3, 0), ("internal", 3, 0), ("resource", 3, 0), ("input", 1, 1),
                                       ("unsupported", 1, 1)):
            with self.subTest(status=status):
                state = self.path(f"calls-{status}")
                self.run_stages(f"  f: {{ use: fixture/flaky, with: {{ status: {status}, fails: 2, state: {state} }},"
                                f" retry: {{ attempts: 3, backoff: 10ms }} }}\n", status=code)
                self.assertEqual(len(self.attempts("f")), attempts)

    def test_backoff_is_waited_for(self):
        state = self.path("calls")
        began = time.monotonic()
        self.run_stages(f"  f: {{ use: fixture/flaky, with: {{ status: transient, fails: 2, state: {state} }},"
                        f" retry: {{ attempts: 3, backoff: 400ms }} }}\n")
        self.assertGreater(time.monotonic() - began, 0.2 + 0.4)

    def test_optional_stage_leaves_its_output_out(self):
        state = self.path("calls")
        done = self.run_stages(
            "  hello: { use: fixture/hello }\n"
            f"  extra: {{ use: fixture/flaky, with: {{ status: input, fails: 9, state: {state} }}, optional: true }}\n"
            "  after: { use: fixture/upper, in: { text: extra.text } }\n",
            "  txt: { use: fixture/upper, in: { text: hello.text } }\n  more: { use: fixture/upper, in: { text: after.text } }\n")
        self.assertEqual(os.listdir(self.path("out")), ["test.txt"])
        self.assertIn("test: extra: left out: ", done.stderr)
        states = {s["name"]: s["state"] for s in self.show()["items"][0]["stages"]}
        self.assertEqual(states, {"hello": "done", "extra": "absent", "after": "skipped", "txt": "done", "more": "skipped"})

    def test_timeouts(self):
        for timeout, stage, word in (("idle: 300ms", "fixture/silent, with: { duration: 60s }", "timeout.idle"),
                                     ("total: 300ms", "fixture/sleepy, with: { duration: 60s }", "timeout.total"),
                                     ("start: 300ms", "fixture/sleepy, with: { starting: 60s }", "timeout.start")):
            with self.subTest(timeout=timeout):
                began = time.monotonic()
                done = self.run_stages(f"  slow: {{ use: {stage}, timeout: {{ {timeout} }}, {ONE_TRY} }}\n", status=1)
                self.assertIn(word, done.stderr)
                self.assertLess(time.monotonic() - began, 30)
                self.assertEqual(self.attempts("slow")[0]["class"], "timeout")

    def test_deaf_worker_is_killed(self):
        began = time.monotonic()
        self.run_stages(f"  deaf: {{ use: fixture/sleepy, with: {{ duration: 60s, deaf: true }}, timeout: {{ total: 300ms }},"
                        f" {ONE_TRY} }}\n", status=1)
        self.assertLess(time.monotonic() - began, 20)

    def test_lies_about_outputs(self):
        for use, words in (("fixture/no_commit", "output"), ("fixture/garbage", "not valid JSON")):
            with self.subTest(use=use):
                done = self.run_stages(f"  liar: {{ use: {use}, {ONE_TRY} }}\n", status=1)
                self.assertIn(words, done.stderr)
                self.assertEqual(self.attempts("liar")[0]["class"], "internal")

    def test_grandchildren_die_with_their_worker(self):
        for mode in ("pidns", "keeper"):
            for then in ("exit", "crash"):
                with self.subTest(mode=mode, then=then):
                    lock = self.path(f"lock-{mode}-{then}")
                    pipeline = self.pipeline(f"  g: {{ use: fixture/grandchild, with: {{ lock: {lock}, then: {then} }},"
                                             f" {ONE_TRY} }}\n")
                    self.sluice("run", pipeline, *fixtures(), status=None, env={"SLUICE_CONTAINMENT": mode})
                    self.assertTrue(os.path.exists(lock))
                    wait_until(lambda: self.unlocked(lock), 10, "grandchild gone")

    def unlocked(self, path):
        return subprocess.run(["flock", "-n", path, "true"]).returncode == 0

    def test_prints_go_to_the_log(self):
        self.run_stages("  p: { use: fixture/printer }\n")
        self.assertIn("==> test/p attempt 1 (ok) <==", self.sluice("logs", "last", "p").stdout)
        self.assertGreater(len(self.sluice("logs", "last", "p").stdout.splitlines()), 1)

    def test_worker_is_missing(self):
        """A core without its worker program says so instead of hanging."""
        os.makedirs(self.path("prefix/bin"))
        shutil.copy(SLUICE, self.path("prefix/bin/sluice"))
        pipeline = self.pipeline("  h: { use: fixture/hello }\n")
        done = subprocess.run([self.path("prefix/bin/sluice"), "run", pipeline, *fixtures()], env=self.env, timeout=LIMIT,
                              capture_output=True, text=True, cwd=self.folder)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("sluice-worker", done.stderr)


main()
