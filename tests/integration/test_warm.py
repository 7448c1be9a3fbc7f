"""Warm workers: a model is loaded once a batch, memory stays that of one model, and what is spoilt is not used again."""
import threading

from harness import *

HEAD = "inputs: { text: { type: text/1 } }\n"
MIB = 1 << 20


def resident(pids):
    """Anonymous bytes of all these processes together."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status") as f:
                total += sum(int(line.split()[1]) << 10 for line in f if line.startswith("RssAnon"))
        except OSError:
            pass
    return total


class Meter(threading.Thread):
    """The most that the processes of a test held together, looked at every few milliseconds."""

    def __init__(self, state):
        super().__init__(daemon=True)
        self.state, self.peak, self.on = state, 0, True

    def run(self):
        while self.on:
            self.peak = max(self.peak, resident(p for p in processes_with(self.state)))
            time.sleep(0.02)

    def stop(self):
        self.on = False
        self.join()
        return self.peak


class Warm(Case):
    def files(self, n):
        return [self.write(f"f{i:03}.txt", f"text {i}") for i in range(n)]

    def stages(self, keep="", size="64MiB", more="", names="ab"):
        source, text = "inputs.text", ""
        for name in names:
            text += (f"  {name}: {{ use: fixture/model, in: {{ text: {source} }}, with: {{ size: {size}, {more} }}"
                     f"{f', keep: {keep}' if keep else ''} }}\n")
            source = f"{name}.text"
        return text

    def journal(self, kind):
        with open(os.path.join(self.run_folder(), "journal"), encoding="utf-8") as f:
            return [r for r in (json.loads(line[17:]) for line in f) if r["type"] == kind]

    def loads(self):
        """How many processes each stage had."""
        count = {}
        for r in self.journal("worker_end"):
            count[r["stage"]] = count.get(r["stage"], 0) + 1
        return count

    def log(self):
        with open(os.path.join(self.run_folder(), "log"), encoding="utf-8") as f:
            return f.read()

    def run_measured(self, stages, n, *args):
        pipeline = self.pipeline(stages, "  txt: { use: fixture/upper, in: { text: b.text } }\n", HEAD)
        meter = Meter(self.state)
        meter.start()
        began = time.monotonic()
        self.sluice("run", pipeline, *self.files(n), "-o", "out", *args, *fixtures())
        return time.monotonic() - began, meter.stop()

    def test_a_model_is_loaded_once_and_memory_is_that_of_one(self):
        """Twenty files, two models: a process each, and never both at once; beside it the same without keeping."""
        load = "load: 50ms"
        wall, peak = self.run_measured(self.stages(more=load), 20, "--jobs", "1")
        self.assertEqual((self.loads()["a"], self.loads()["b"]), (1, 1))
        self.assertEqual([r["tasks"] for r in self.journal("worker_end") if r["stage"] in "ab"], [20, 20])
        cold_wall, cold_peak = self.run_measured(self.stages("none", more=load), 20, "--jobs", "1")
        self.assertEqual((self.loads()["a"], self.loads()["b"]), (20, 20))
        print(f"\n20 files, two models of 64 MiB that take 0.05 s to load, --jobs 1: kept {wall:.2f} s, peak {peak / MIB:.0f} MiB;"
              f" keep: none {cold_wall:.2f} s, peak {cold_peak / MIB:.0f} MiB", file=sys.stderr)
        if not SANITIZED:
            self.assertLess(peak, (64 + 32) * MIB, "the maximum of the models, not their sum")
            self.assertGreater(peak, 64 * MIB)
            self.assertLess(abs(peak - cold_peak), 24 * MIB)
        self.assertLess(wall, cold_wall)

    def test_several_at_a_time_load_once_each(self):
        self.run_measured(self.stages(), 12, "--jobs", "2")
        loads = self.loads()
        self.assertTrue(1 <= loads["a"] <= 2 and 1 <= loads["b"] <= 2, loads)

    def test_workers_can_be_limited(self):
        self.run_measured(self.stages("{ for: batch, workers: 1 }", more="work: 20ms"), 6, "--jobs", "4")
        self.assertEqual((self.loads()["a"], self.loads()["b"]), (1, 1))

    def test_without_keeping_a_worker_ends_with_its_task(self):
        self.run_measured(self.stages("none", size="1MiB"), 3, "--jobs", "2")
        self.assertEqual({r["tasks"] for r in self.journal("worker_end")}, {1})
        self.assertFalse([r for r in self.journal("worker_end") if "let_go" in r])

    def test_uses_are_capped(self):
        self.run_measured(self.stages("{ for: batch, uses: 4 }", size="1MiB"), 10, "--jobs", "1")
        self.assertEqual([r["tasks"] for r in self.journal("worker_end") if r["stage"] == "a"], [4, 4, 2])
        self.assertEqual([r["let_go"] for r in self.journal("worker_end") if r["stage"] == "a"], ["uses", "uses", "done"])

    def test_a_worker_that_grows_is_replaced(self):
        self.run_measured(self.stages("{ for: batch, growth: 20MiB }", size="1MiB", more="leak: 8MiB"), 8, "--jobs", "1")
        ends = [r for r in self.journal("worker_end") if r["stage"] == "a"]
        self.assertEqual([(r["tasks"], r["let_go"]) for r in ends], [(4, "growth"), (4, "done")])
        self.assertRegex(self.log(), r"a: worker \d+ is let go after 4 tasks: its memory has grown by more than keep.growth")

    def test_time_to_live(self):
        """The only task that could follow comes later than the worker is willing to wait."""
        slow = ("  one: { use: fixture/sleepy, in: { text: inputs.text }, with: { duration: 10ms } }\n"
                "  m: { use: fixture/model, in: { text: one.text }, keep: 200ms }\n")
        pipeline = self.pipeline(slow.replace("10ms", "800ms"), head=HEAD)
        self.sluice("run", pipeline, *self.files(2), "-o", "out", "--jobs", "1", *fixtures())
        ends = [r for r in self.journal("worker_end") if r["stage"] == "m"]
        self.assertEqual([(r["tasks"], r["let_go"]) for r in ends], [(1, "idle"), (1, "done")])

    def test_a_spoilt_process_is_not_used_again(self):
        """Like a sticky CUDA error: the process lives and fails whatever it is given."""
        broken = self.path("broken")
        self.run_measured(self.stages(more=f"breaks: {broken}", size="1MiB"), 6, "--jobs", "1")
        ends = [r for r in self.journal("worker_end") if r["stage"] == "a"]
        self.assertEqual([(r["tasks"], r["let_go"]) for r in ends], [(1, "failed"), (6, "done")])
        self.assertEqual(sorted(a["class"] for i in range(6) for a in self.attempts("a", i)), ["internal"] + ["ok"] * 6)

    def test_a_worker_that_died_while_idle_is_replaced(self):
        slow = ("  one: { use: fixture/sleepy, in: { text: inputs.text }, with: { duration: 1s } }\n"
                "  m: { use: fixture/model, in: { text: one.text } }\n")
        process = self.start("run", self.pipeline(slow, head=HEAD), *self.files(2), "-o", "out", "--json", "--jobs", "1",
                             *fixtures())
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "task_end" and event["stage"] == "m":
                break
        for pid in workers_of(process.pid):
            with open(f"/proc/{pid}/task/{pid}/children") as f:
                held = resident([int(c) for c in f.read().split()])
            if held > 4 * MIB:
                os.kill(pid, signal.SIGKILL)
        self.finish(process)
        ends = [r for r in self.journal("worker_end") if r["stage"] == "m"]
        self.assertEqual([r["tasks"] for r in ends], [1, 1])
        self.assertEqual(ends[0].get("signal"), 9)

    def test_each_task_has_its_part_of_the_log(self):
        pipeline = self.pipeline("  p: { use: fixture/printer, with: { lines: 3 }, keep: batch }\n",
                                 head="inputs: { file: { type: file/1 } }\n")
        self.sluice("run", pipeline, *self.files(3), "-o", "out", "--jobs", "1", *fixtures())
        self.assertEqual(len({a["pid"] for i in range(3) for a in self.attempts("p", i)}), 1)
        parts = self.sluice("logs", "last", "p").stdout.split("==> ")[1:]
        self.assertEqual([p.split("/")[0] for p in parts], ["f000", "f001", "f002"])
        self.assertEqual(len({p.count("\n") for p in parts[1:]}), 1, "one task's lines each")
        with open(os.path.join(self.run_folder(), self.attempts("p")[0]["log"])) as f:
            self.assertEqual(sum(p.count("\n") - 1 for p in parts), f.read().count("\n"), "and all lines once")

    def test_a_cancelled_task_leaves_its_worker(self):
        """Another stage of the item fails: the job is cancelled, the loaded model stays for the next."""
        stages = ("  m: { use: fixture/model, in: { text: inputs.text }, with: { work: 1s }, keep: { for: batch, workers: 1 } }\n"
                  "  bad: { use: fixture/flaky, in: { text: inputs.text }, with: { status: input, fails: 1,"
                  f" state: {self.path('calls')} }} }}\n")
        self.sluice("run", self.pipeline(stages, head=HEAD), *self.files(3), "-o", "out", "--jobs", "2", *fixtures(), status=1)
        self.assertEqual([i["state"] for i in self.show()["items"]], ["failed", "ok", "ok"])
        self.assertEqual(self.loads()["m"], 1)

    def test_bystanders_of_a_crash_are_told_apart(self):
        """Four items share a worker that one of them kills: that one fails, the others are done in processes of their own."""
        pipeline = self.pipeline("  e: { use: fixture/eat4, with: { what: memory, amount: 1GiB, only: f001 },"
                                 " resources: { memory: 200MiB } }\n", head="inputs: { file: { type: file/1 } }\n")
        self.sluice("run", pipeline, *self.files(4), "-o", "out", "--jobs", "4", *fixtures(), status=1)
        self.assertEqual([i["state"] for i in self.show()["items"]], ["ok", "failed", "ok", "ok"])


main()
