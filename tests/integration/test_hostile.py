"""Stages that attack, and what is left of them: one class and one sentence each, nothing left behind, nobody else harmed."""
import struct

from harness import *

CRASH, INTERNAL, TIMEOUT = "crash", "internal", "timeout"
IDLE = "timeout: { idle: 300ms }"

# (stage, timeouts, class, words of the message). Every one runs beside a stage that must not notice.
TABLE = [
    ("fixture/crash, with: { how: segv }", "", CRASH, "its process was killed by signal 11 (Segmentation fault)"),
    ("fixture/crash, with: { how: abort }", "", CRASH, "its process was killed by signal 6 (Aborted)"),
    ("fixture/crash, with: { how: exit0 }", "", CRASH, "its process exited with status 0 before the job was done"),
    ("fixture/crash, with: { how: kill }", "", CRASH, "its process was killed by signal 9 (Killed)"),
    ("fixture/crash, with: { how: segv, when: create }", "", CRASH, "its process was killed by signal 11"),
    ("fixture/sleepy, with: { starting: 60s }", "timeout: { start: 300ms }", TIMEOUT, "not ready after 300 ms (timeout.start)"),
    ("fixture/hostile, with: { how: silent }", IDLE, TIMEOUT, "no progress for 300 ms (timeout.idle)"),
    ("fixture/hostile, with: { how: deaf }", IDLE, TIMEOUT, "no progress for 300 ms (timeout.idle)"),
    ("fixture/hostile, with: { how: stop_self }", IDLE, TIMEOUT, "no progress for 300 ms (timeout.idle)"),
    ("fixture/hostile, with: { how: end_main }", IDLE, TIMEOUT, "no progress for 300 ms (timeout.idle)"),
    ("fixture/hostile, with: { how: exit_thread }", "", CRASH, "its process exited with status 0 before the job was done"),
    ("fixture/hostile, with: { how: close_fds }", "", CRASH, "before the job was done"),
    ("fixture/hostile, with: { how: beyond }", "", INTERNAL, 'output "text": committed with more bytes than it was grown to'),
    ("fixture/hostile, with: { how: deep_scratch }", "", "ok", None),
    ("fixture/hostile, with: { how: hang_destroy }", "", "ok", None),
    ("fixture/hostile, with: { how: rude }", "", "input", "rude  [31m words  ?? on two lines"),
    ("fixture/no_commit", "", INTERNAL, 'output "text" was not committed'),
    ("fixture/garbage", "", INTERNAL, 'output "transcript": not valid JSON'),
    ("fixture/overgrow", "", "resource", 'output "text" cannot grow'),
    ("fixture/intruder, with: { how: junk }", "", INTERNAL, "its worker broke the protocol: not a message: wrong header"),
    ("fixture/intruder, with: { how: large }", "", INTERNAL, "its worker broke the protocol: a message is longer than 65536 bytes"),
    ("fixture/intruder, with: { how: order }", "", INTERNAL, "its worker broke the protocol: a frame of type 4 is not one"),
    ("fixture/intruder, with: { how: counts }", "", INTERNAL, "its worker broke the protocol: not a message: too many fields"),
    ("fixture/intruder, with: { how: foreign_job }", "", "ok", None),
    ("fixture/intruder, with: { how: foreign_port }", "", INTERNAL, 'output "nowhere" was committed, but the stage has none'),
    ("fixture/intruder, with: { how: done }", "", INTERNAL, 'did not commit its output "text"'),
    ("fixture/intruder, with: { how: done_twice }", "", "ok", None),
    ("fixture/intruder, with: { how: ready }", "", "ok", None),
    ("fixture/intruder, with: { how: refused }", "", INTERNAL, "[31m"),
    ("fixture/intruder, with: { how: exit }", "", "ok", None),
    ("fixture/intruder, with: { how: fds }", "", "ok", None),
    ("fixture/intruder, with: { how: shut }", "", CRASH, "its process closed its connection to sluice"),
    ("fixture/flood, with: { what: print, amount: 200000000 }", "", "ok", None),
    ("fixture/flood, with: { what: log, amount: 50000 }", "", "ok", None),
    ("fixture/flood, with: { what: progress, amount: 50000 }", "", "ok", None),
    ("fixture/flood, with: { what: part, amount: 20000 }", "", "ok", None),
    ("fixture/flood, with: { what: metric, amount: 5000 }", "", "ok", None),
    ("fixture/leak", "", "ok", None),
    ("fixture/printer", "", "ok", None),
    ("fixture/misuse", "", "ok", None),
    ("fixture/misuse, with: { end: odd }", "", INTERNAL, "the stage returned status 77, which does not exist"),
    ("fixture/misuse, with: { end: cancelled }", "", INTERNAL, "stopped as if cancelled, but was not asked to"),
    ("fixture/misuse, with: { end: forgotten }", "", INTERNAL, 'output "text" was not committed'),
    ("fixture/misuse, with: { end: twice }", "", INTERNAL, 'output "text": committed twice'),
]

# What ends differently where the worker's init can be reached by its signals.
KILL_INIT = {"pidns": ("ok", None), "keeper": (CRASH, "its process was killed by signal 9 (Killed)")}


class Hostile(Case):
    def setUp(self):
        super().setUp()
        self.env["TMPDIR"] = self.path("tmp")
        os.makedirs(self.path("tmp"))

    def attack(self, stage, timeouts="", env=None):
        """Runs the stage beside a good one; returns its attempt, after looking for what is left of it."""
        shutil.rmtree(self.path("out"), ignore_errors=True)
        pipeline = self.pipeline(f"  bad: {{ use: {stage}, retry: {{ attempts: 1, then: ignore }}{', ' if timeouts else ''}"
                                 f"{timeouts} }}\n  good: {{ use: fixture/hello }}\n",
                                 "  txt: { use: fixture/upper, in: { text: good.text } }\n")
        done = self.sluice("run", pipeline, "-o", "out", *fixtures(), env=env)
        self.assertEqual(self.read("out", "test.txt"), "HELLO, WORLD!\n")
        self.assertEqual(self.left_overs(), [])
        self.assertEqual(os.listdir(self.path("tmp")), [])
        self.assertEqual(shared_memory(), [])
        self.check_words(done.stderr)
        attempts = self.attempts("bad")
        self.assertEqual(len(attempts), 1)
        return attempts[0]

    def check_words(self, text):
        """Nothing that a terminal would obey."""
        self.assertEqual([c for c in text if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)], [])

    def test_each_has_a_class_and_a_sentence(self):
        for stage, timeouts, cls, words in TABLE:
            with self.subTest(stage=stage):
                attempt = self.attack(stage, timeouts)
                self.assertEqual(attempt["class"], cls, attempt.get("message"))
                if words:
                    self.assertIn(words, attempt["message"])
                    self.assertNotIn("\n", attempt["message"])
                else:
                    self.assertNotIn("message", attempt)

    def test_init_is_attacked(self):
        for mode, (cls, words) in KILL_INIT.items():
            with self.subTest(mode=mode):
                attempt = self.attack("fixture/hostile, with: { how: kill_init }", env={"SLUICE_CONTAINMENT": mode})
                self.assertEqual(attempt["class"], cls, attempt.get("message"))
                self.assertIn(words or "", attempt.get("message", ""))

    def test_stopped_init_is_killed_in_the_end(self):
        attempt = self.attack("fixture/hostile, with: { how: stop_init }", env={"SLUICE_CONTAINMENT": "keeper"})
        self.assertEqual(attempt["class"], "ok")

    def test_who_kills_its_keeper_does_not_escape(self):
        lock = self.path("lock")
        for mode in ("keeper", "pidns"):
            with self.subTest(mode=mode):
                attempt = self.attack(f"fixture/hostile, with: {{ how: escape, lock: {lock} }}", IDLE,
                                      env={"SLUICE_CONTAINMENT": mode})
                self.assertEqual(attempt["class"], CRASH if mode == "keeper" else TIMEOUT)
                wait_until(lambda: subprocess.run(["flock", "-n", lock, "true"]).returncode == 0, 2, "child gone")

    def test_process_that_is_always_another_one_is_caught(self):
        for mode in ("pidns", "keeper"):
            with self.subTest(mode=mode):
                lock = self.path(f"lock-{mode}")
                attempt = self.attack(f"fixture/hostile, with: {{ how: rabbit, lock: {lock} }}", env={"SLUICE_CONTAINMENT": mode})
                self.assertEqual(attempt["class"], "ok")
                self.assertEqual(subprocess.run(["flock", "-n", lock, "true"]).returncode, 0)

    def test_numbers_of_an_intruder_are_not_believed(self):
        attempt = self.attack("fixture/intruder, with: { how: exit }")
        self.assertLess(attempt["cpu_s"], 60)
        self.assertLess(attempt["peak_bytes"], 1 << 40)

    def test_print_flood_is_cut(self):
        attempt = self.attack("fixture/flood, with: { what: print, amount: 200000000 }")
        path = os.path.join(self.run_folder(), attempt["log"])
        self.assertLess(os.path.getsize(path), 17 << 20)
        with open(path, "rb") as f:
            text = f.read()
        self.assertIn(b"[sluice left out ", text)
        self.assertTrue(text.rstrip().endswith(b"the last line"))

    def test_log_flood_is_cut(self):
        self.attack("fixture/flood, with: { what: log, amount: 50000 }")
        with open(os.path.join(self.run_folder(), "log")) as f:
            self.assertLess(len(f.readlines()), 1100)

    def test_misuse_finds_the_host_as_promised(self):
        attempt = self.attack("fixture/misuse")
        with open(os.path.join(self.run_folder(), attempt["log"]), errors="replace") as f:
            log = f.read()
        self.assertNotIn(" answered ", log)
        self.assertIn("called finish() for a job that has ended", log)

    def test_changed_artifacts_are_noticed(self):
        for how, words in (("truncate", "is 0 bytes long, not 20 as committed"), ("change", "was changed after it was committed")):
            with self.subTest(how=how):
                pipeline = self.pipeline(f"  bad: {{ use: fixture/hostile, with: {{ how: {how} }} }}\n"
                                         "  r: { use: fixture/reader, in: { text: bad.text } }\n",
                                         "  txt: { use: fixture/upper, in: { text: r.text } }\n")
                done = self.sluice("run", pipeline, "-o", "out", *fixtures(), status=1)
                self.assertIn('test: r failed: its input "text" ', done.stderr)
                self.assertIn(words, done.stderr)
                self.assertFalse(os.path.exists(self.path("out")))

    def test_eight_jobs_of_which_one_fails_and_one_is_cancelled(self):
        files = [self.write(f"f{i:03}.txt", "x") for i in range(8)]
        pipeline = self.pipeline("  s: { use: fixture/sleepy, with: { duration: 50ms } }\n"
                                 "  h: { use: fixture/hostile, with: { only: f005 }, in: { text: s.text } }\n"
                                 "  b: { use: fixture/batcher8, with: { steps: 200, fail_item: f002 } }\n",
                                 head="inputs: { file: { type: file/1 } }\n")
        self.sluice("run", pipeline, *files, "-o", "out", "--jobs", "9", *fixtures(), status=1)
        items = self.show()["items"]
        self.assertEqual([i["state"] for i in items], ["ok", "ok", "failed", "ok", "ok", "failed", "ok", "ok"])
        batch = [i["stages"][2]["attempts"] for i in items]
        self.assertEqual(len({a["pid"] for attempts in batch for a in attempts}), 1, "one process for all")
        self.assertEqual(batch[2][0]["class"], "input")
        self.assertEqual((batch[5][0]["class"], batch[5][0]["message"]), ("cancelled", "another stage of this item failed"))
        self.assertEqual(self.left_overs(), [])

    @unittest.skipIf(SANITIZED, "skipped: a sanitizer has memory of its own")
    def test_leaking_worker_is_replaced_at_its_limit(self):
        """What a worker kept of earlier jobs is not the fault of the one that it breaks under."""
        files = [self.write(f"f{i:03}.txt", "x") for i in range(12)]
        pipeline = self.pipeline("  l: { use: fixture/leak, with: { memory: 64MiB }, resources: { memory: 320MiB },"
                                 " retry: { attempts: 3, backoff: 10ms } }\n", head="inputs: { file: { type: file/1 } }\n")
        self.sluice("run", pipeline, *files, "-o", "out", *fixtures())
        pids = {a["pid"] for i in self.show()["items"] for a in i["stages"][0]["attempts"]}
        self.assertGreater(len(pids), 1)

    def test_error_comes_within_a_second_of_the_exit(self):
        for how in ("exit0", "kill"):
            with self.subTest(how=how):
                pipeline = self.pipeline(f"  bad: {{ use: fixture/crash, with: {{ how: {how} }}, retry: {{ attempts: 1 }} }}\n")
                process = self.start("run", pipeline, "--json", *fixtures())
                began = None
                for line in process.stdout:
                    event = json.loads(line)
                    if event["event"] == "task_ready":
                        began = time.monotonic()
                    if event["event"] == "task_end":
                        self.assertLess(time.monotonic() - began, 5 if SANITIZED else 1)
                        self.assertEqual(workers_of(process.pid), [], "no zombie")
                self.finish(process, 1)


class Storms(Case):
    def run_many(self, stage, n=30, more=""):
        files = [self.write(f"f{i:03}.txt", "x") for i in range(n)]
        pipeline = self.pipeline(f"  bad: {{ use: {stage}{more} }}\n", head="inputs: { file: { type: file/1 } }\n")
        self.sluice("run", pipeline, *files, *fixtures(), status=1)
        return [i["stages"][0] for i in self.show()["items"]]

    def test_stage_that_never_starts_is_given_up(self):
        stages = self.run_many("fixture/crash, with: { when: create, how: segv }")
        tried = [s for s in stages if s["attempts"]]
        self.assertLess(len(tried), 6 + os.cpu_count())
        self.assertLessEqual(sum(len(s["attempts"]) for s in tried), 3 * (5 + os.cpu_count()))
        for s in stages:
            self.assertEqual((s["state"], s["class"]), ("failed", "crash"))
        self.assertRegex(stages[-1]["message"], r"^not tried: the stage failed to start \d+ times in a row, the last time: its "
                                                r"process was killed by signal 11")

    def test_stage_that_crashes_at_work_is_tried_for_every_item(self):
        stages = self.run_many("fixture/crash, with: { how: segv }", 12, ", retry: { attempts: 1 }")
        self.assertEqual({len(s["attempts"]) for s in stages}, {1})

    def test_transient_starts_are_no_storm(self):
        state = self.path("calls")
        stages = self.run_many(f"fixture/flaky, with: {{ when: create, status: transient, fails: 1000, state: {state} }}", 8,
                               ", retry: { attempts: 2, backoff: 10ms }")
        self.assertEqual({len(s["attempts"]) for s in stages}, {2})


class Killed(Case):
    def test_kill_of_the_core_ends_every_descendant(self):
        """With a grandchild that ignores signals and called setsid, in both mechanisms."""
        for mode in ("pidns", "keeper"):
            with self.subTest(mode=mode):
                lock = self.path(f"lock-{mode}")
                pipeline = self.pipeline(f"  g: {{ use: fixture/grandchild, with: {{ lock: {lock}, then: wait }} }}\n")
                process = self.start("run", pipeline, "--json", *fixtures(), env={"SLUICE_CONTAINMENT": mode})
                for line in process.stdout:
                    if json.loads(line)["event"] == "progress":
                        break
                self.assertGreaterEqual(len(processes_with(self.state)), 4)
                process.kill()
                process.communicate()
                began = time.monotonic()
                wait_until(lambda: not processes_with(self.state), 2, "every descendant gone")
                print(f"    {mode}: gone after {(time.monotonic() - began) * 1000:.0f} ms", file=sys.stderr)


    def test_children_that_came_along_are_left_alone(self):
        """A shell that started something and then became sluice: its child is none of a worker's."""
        pipeline = self.pipeline("  bad: { use: fixture/hostile, with: { how: kill_init }, retry: { attempts: 1 } }\n")
        words = " ".join([SLUICE, "run", pipeline, *fixtures()])
        with open(self.path("out.txt"), "w") as out:
            subprocess.run(["bash", "-c", f"sleep 60 & echo $!; exec {words}"], cwd=self.folder, timeout=LIMIT, stdout=out,
                           env=dict(self.env, SLUICE_CONTAINMENT="keeper"), stdin=subprocess.DEVNULL, stderr=out)
        sleeper = int(self.read("out.txt").split()[0])
        os.kill(sleeper, 0)
        os.kill(sleeper, signal.SIGKILL)


def needed_libraries(path):
    """The names in DT_NEEDED of a 64-bit little-endian ELF file."""
    with open(path, "rb") as f:
        data = f.read()
    offset, size, count = struct.unpack_from("<Q", data, 0x20)[0], *struct.unpack_from("<HH", data, 0x36)
    headers = [struct.unpack_from("<IIQQQQQQ", data, offset + i * size) for i in range(count)]
    loads = [(h[3], h[5], h[2]) for h in headers if h[0] == 1]  # address, size, offset in the file
    start, length = next((h[2], h[5]) for h in headers if h[0] == 2)
    entries = [struct.unpack_from("<qQ", data, at) for at in range(start, start + length, 16)]
    table = next(value for tag, value in entries if tag == 5)  # DT_STRTAB
    strings = next(table - address + at for address, size, at in loads if address <= table < address + size)
    return [data[strings + value:data.index(b"\0", strings + value)].decode() for tag, value in entries if tag == 1]


FORBIDDEN = re.compile(r"libcuda|libcudart|libcublas|libcudnn|libltdl|libav|libswresample")


class Mapped(Case):
    def test_the_core_is_linked_with_neither_cuda_nor_libltdl(self):
        core, worker = needed_libraries(SLUICE), needed_libraries(WORKER)
        self.assertIn("libc.so.6", core)
        self.assertEqual([n for n in core if FORBIDDEN.search(n)], [])
        self.assertTrue([n for n in worker if n.startswith("libltdl")], "the worker is who loads plugins")

    def test_the_core_maps_neither_cuda_nor_libltdl(self):
        pipeline = self.pipeline("  s: { use: fixture/sleepy, with: { duration: 60s } }\n")
        process = self.start("run", pipeline, "--json", *fixtures())
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        with open(f"/proc/{process.pid}/maps") as f:
            mapped = {line.split()[5] for line in f if len(line.split()) > 5}
        process.send_signal(signal.SIGINT)
        self.finish(process, 130)
        names = {os.path.basename(m) for m in mapped}
        self.assertIn("sluice", names)
        self.assertEqual([n for n in names if FORBIDDEN.search(n)], [])
        self.assertEqual([m for m in mapped if "/plugins/" in m], [])


main()
