"""Limits per stage, kept by rlimits and the watch: outcome, message, what is left over; growth; both containments; a user
without rights. Control groups against a fake tree, and against a real one where there is one."""
import re
from harness import *

UNLIMITED = "  other: { use: fixture/sleepy, with: { duration: 600ms } }\n"

# What eats, the limit, and the words of the message as a regular expression.
CASES = {
    "memory": ("what: memory, amount: 1GiB, hold: 20s", "memory: 64MiB",
               r"it used \d+\.\d MiB of memory, over its limit of 64\.0 MiB \(resources\.memory\); raise it, or let it "
               r"grow with retry\.grow\.memory"),
    "memory of a child": ("what: memory, amount: 1GiB, hold: 20s, where: child", "memory: 64MiB",
                          r"it used \d+\.\d MiB of memory, over its limit of 64\.0 MiB"),
    "cpu_time": ("what: cpu, amount: 60", "cpu_time: 500ms",
                 r"it used 0\.\d\d s of CPU time, over its limit of 500 ms \(resources\.cpu_time\); raise it"),
    "cpu_time of a child": ("what: cpu, amount: 60, where: child", "cpu_time: 500ms",
                            r"it used 0\.\d\d s of CPU time, over its limit of 500 ms"),
    "open_files": ("what: files, amount: 1000", "open_files: 64",
                   r"no more files: Too many open files; it had \d\d files open, of 64 that it may "
                   r"\(resources\.open_files\)"),
    "processes": ("what: processes, amount: 60, hold: 20s", "processes: 20",
                  r"it ran \d\d processes and threads, over its limit of 20 \(resources\.processes\)"),
    "file_size": ("what: file, amount: 64MiB", "file_size: 4MiB",
                  r"it wrote to a file beyond its limit of 4\.0 MiB a file \(resources\.file_size\); raise it"),
    "file_size of an output": ("what: output, amount: 64MiB", "file_size: 4MiB",
                               r"it wrote to a file beyond its limit of 4\.0 MiB a file \(resources\.file_size\)"),
    "scratch": ("what: scratch, amount: 400MiB, hold: 20s", "scratch: 8MiB",
                r"its scratch folder held \d+\.\d MiB, over its limit of 8\.0 MiB \(resources\.scratch\); raise it"),
}


def stage(eats, resources, more=""):
    return f"  bad: {{ use: fixture/eat, with: {{ {eats} }}, resources: {{ {resources} }}{more} }}\n"


class Limits(Case):
    containment = None

    def setUp(self):
        super().setUp()
        if self.containment:
            self.env["SLUICE_CONTAINMENT"] = self.containment
        self.env["SLUICE_CGROUP_ROOT"] = "/nonexistent"  # also where there is a real one

    def run_one(self, stages, status=1):
        """Runs one item to its end and returns its attempts at `bad` and the standard error."""
        done = self.sluice("run", self.pipeline(stages), "-o", "out", *fixtures(), status=status)
        return self.attempts("bad"), done.stderr

    def check(self, name):
        eats, resources, words = CASES[name]
        attempts, text = self.run_one(stage(eats, resources))
        self.assertRegex(text, "test: bad failed: " + words)
        self.assertEqual([a["class"] for a in attempts], ["resource"])  # the same limit again would not help
        self.assertRegex(attempts[0]["message"], words)
        self.assertLess(attempts[0]["wall_s"], 15)

    def test_memory(self):
        self.check("memory")
        attempt = self.attempts("bad")[0]
        self.assertGreater(attempt["peak_bytes"], 64 << 20)
        self.assertLess(attempt["peak_bytes"], 512 << 20)
        self.assertEqual(attempt["memory_limit"], 64 << 20)

    def test_memory_of_a_child(self):
        self.check("memory of a child")

    def test_cpu_time(self):
        self.check("cpu_time")

    def test_cpu_time_of_a_child(self):
        self.check("cpu_time of a child")

    def test_open_files(self):
        self.check("open_files")

    def test_processes(self):
        self.check("processes")

    def test_file_size(self):
        self.check("file_size")

    def test_file_size_of_an_output(self):
        self.check("file_size of an output")

    def test_scratch(self):
        self.check("scratch")

    def test_others_are_unharmed(self):
        """Two files; one of them makes a stage go over its limit."""
        small, big = self.write("small.txt", "1"), self.write("big.txt", "1")
        pipeline = self.write("p.yaml", "sluice: 1\ninputs: { file: { type: file/1 } }\nstages:\n"
                              "  eater: { use: exec/command, in: { file: inputs.file }, resources: { memory: 64MiB },\n"
                              "    with: { argv: [python3, -c, \"import sys, time\\nif 'big' in sys.argv[1]:\\n"
                              "  x = b'x' * (300 << 20); time.sleep(20)\\nelse:\\n  time.sleep(1.5)\","
                              " '${in.file}'] } }\n" + UNLIMITED)
        done = self.sluice("run", pipeline, small, big, "-o", "out", "--jobs", "4", *fixtures(), status=1)
        self.assertIn("1 ok, 1 failed", done.stderr)
        self.assertRegex(done.stderr, r"big: eater failed: it used \d+\.\d MiB of memory, over its limit of 64\.0 MiB")
        states = {i["name"]: i["state"] for i in self.show()["items"]}
        self.assertEqual(states, {"small": "ok", "big": "failed"})

    def test_below_the_limits_nothing_happens(self):
        attempts, _ = self.run_one(stage("what: memory, amount: 40MiB, hold: 700ms",
                                         "memory: 128MiB, cpu_time: 1m, open_files: 256, processes: 50, file_size: 1MiB, "
                                         "scratch: 1MiB, cpus: 1"), status=0)
        self.assertEqual(attempts[0]["class"], "ok")
        self.assertGreater(attempts[0]["peak_bytes"], 40 << 20)

    def test_pages_that_others_share_count_once(self):
        self.run_one(stage("what: memory, amount: 60MiB, where: forked, hold: 1s", "memory: 90MiB"), status=0)

    def test_file_pages_do_not_count(self):
        if "tmpfs" in subprocess.run(["stat", "-f", "-c", "%T", self.folder], capture_output=True, text=True).stdout:
            self.skipTest("files in the temporary folder are memory")
        self.run_one(stage("what: map, amount: 128MiB, hold: 500ms", "memory: 64MiB"), status=0)

    def test_memory_grows(self):
        attempts, text = self.run_one(stage("what: memory, amount: 100MiB, hold: 500ms", "memory: 64MiB",
                                            ", retry: { attempts: 3, backoff: 10ms, grow: { memory: 2 } }"), status=0)
        self.assertEqual([a["class"] for a in attempts], ["resource", "ok"])
        self.assertEqual([a["memory_limit"] for a in attempts], [64 << 20, 128 << 20])
        self.assertIn("trying again", text)
        with open(os.path.join(self.state, "runs", self.show()["id"], "log")) as log:
            self.assertIn("test/bad: its memory limit grows to 128.0 MiB", log.read())

    def test_growth_ends_with_the_attempts(self):
        attempts, text = self.run_one(stage("what: memory, amount: 1GiB, hold: 20s", "memory: 32MiB",
                                            ", retry: { attempts: 2, backoff: 10ms, grow: { memory: 1.5 } }"))
        self.assertEqual([a["memory_limit"] for a in attempts], [32 << 20, 48 << 20])
        self.assertIn("over its limit of 48.0 MiB (resources.memory: 32.0 MiB, grown)", text)

    def test_what_a_stage_reports_as_resource_grows_too(self):
        calls = self.path("calls")
        pipeline = self.pipeline(f"  bad: {{ use: fixture/flaky, with: {{ status: resource, fails: 1, state: {calls} }},\n"
                                 "    resources: { memory: 1GiB }, retry: { backoff: 10ms, grow: { memory: 3 } } }\n")
        self.sluice("run", pipeline, "-o", "out", *fixtures())
        self.assertEqual([a["memory_limit"] for a in self.attempts("bad")], [1 << 30, 3 << 30])

    def test_growth_among_jobs_of_one_worker(self):
        """Jobs that shared the worker are tried again; the one that needs it gets a worker with a higher limit."""
        pipeline = self.pipeline("  bad: { use: fixture/eat4, with: { what: memory, amount: 100MiB, hold: 1s, only: f3 },\n"
                                 "    resources: { memory: 64MiB }, retry: { backoff: 10ms, grow: { memory: 2 } } }\n",
                                 head="inputs: { file: { type: file/1 } }\n")
        files = [self.write(f"f{i}.txt", "x") for i in range(12)]
        self.sluice("run", pipeline, *files, "-o", "out", "--jobs", "3", *fixtures())
        tries = self.attempts("bad", item=3)
        self.assertEqual([a["class"] for a in tries][-1], "ok")
        self.assertEqual([a["memory_limit"] for a in tries if a["class"] != "crash"][-1], 128 << 20)
        self.assertIn("over its limit of 64.0 MiB", tries[0]["message"])

    def test_what_is_in_force_is_said(self):
        del self.env["SLUICE_CGROUP_ROOT"]
        pipeline = self.pipeline("  hello: { use: fixture/hello }\n")
        words = "rlimits and watched memory (no delegated cgroup v2)"
        text = self.sluice("check", pipeline, *fixtures()).stdout
        if "limits: cgroup v2 at" in text:
            self.skipTest("this process has a delegated cgroup v2")
        self.assertIn(f"limits: {words}\n", text)
        self.sluice("run", pipeline, "-o", "out", *fixtures())
        self.assertEqual(self.show()["limits"], words)
        self.assertIn(f"  limits       {words}\n", self.sluice("show", "last").stdout)
        with open(os.path.join(self.state, "runs", self.show()["id"], "log")) as log:
            self.assertIn(f"limits: {words}", log.read())

    def test_core_stays_small(self):
        """No descriptor and no timer is left of workers that were watched: the core's are counted while it runs."""
        pipeline = self.pipeline("  eat: { use: fixture/eat, in: {}, with: { what: memory, amount: 4MiB, hold: 50ms },"
                                 " resources: { memory: 1GiB, scratch: 1GiB } }\n",
                                 head="inputs: { file: { type: file/1 } }\n")
        files = [self.write(f"f{i}.txt", "x") for i in range(24)]
        process = self.start("run", pipeline, *files, "-o", "out", "--json", "--jobs", "2", *fixtures())
        counts = []
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "item_end":
                counts.append(len(os.listdir(f"/proc/{process.pid}/fd")))
        self.finish(process)
        self.assertLess(min(counts[12:]), min(counts[:12]) + 6, counts)


class Keeper(Limits):
    """The same where there are no PID namespaces."""
    containment = "keeper"


class Nobody(Case):
    """A user without rights: the same limits, whatever containment that user gets."""

    def setUp(self):
        super().setUp()
        if os.getuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("needs root and setpriv, to become somebody else")
        self.env["SLUICE_CGROUP_ROOT"] = "/nonexistent"
        self.as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        os.chmod(self.folder, 0o777)
        if subprocess.run([*self.as_nobody, "test", "-x", SLUICE, "-a", "-r", FIXTURES]).returncode != 0:
            self.skipTest("the build tree is not readable for others")

    def run_as_nobody(self, *args):
        return subprocess.run([*self.as_nobody, SLUICE, *args], cwd=self.folder, env=self.env, timeout=LIMIT,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def test_every_limit(self):
        for containment in ("", "keeper"):
            if containment:
                self.env["SLUICE_CONTAINMENT"] = containment
            for name, (eats, resources, words) in CASES.items():
                with self.subTest(containment=containment, name=name):
                    pipeline = self.pipeline(stage(eats, resources))
                    done = self.run_as_nobody("run", pipeline, "-o", "out", *fixtures())
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertRegex(done.stderr, words)
                    wait_until(lambda: not processes_with(self.state), 10, "processes gone")


class FakeTree(Case):
    """A folder that looks like a delegated control group: what is written there, and what is believed of it."""

    def setUp(self):
        super().setUp()
        self.root = self.path("groups")
        for name, text in (("cgroup.controllers", "cpu memory pids"), ("cgroup.subtree_control", ""), ("cgroup.procs", "")):
            self.write(f"groups/{name}", text)
        self.env["SLUICE_CGROUP_ROOT"] = self.root

    def groups(self):
        return [n for n in os.listdir(self.root) if n.startswith("sluice-")]

    def file(self, group, name):
        with open(os.path.join(self.root, group, name)) as f:
            return f.read()

    def start_one(self, resources="memory: 300MiB, processes: 9, cpus: 1.5"):
        pipeline = self.pipeline(f"  bad: {{ use: fixture/sleepy, with: {{ duration: 20s }}, retry: {{ attempts: 1 }},"
                                 f" resources: {{ {resources} }} }}\n")
        process = self.start("run", pipeline, "-o", "out", "--json", *fixtures())
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        return process, self.groups()[0]

    def test_worker_has_a_group_and_it_goes(self):
        process, group = self.start_one()
        self.assertEqual(group, f"sluice-{process.pid}-2")  # the first was for trying
        self.assertEqual(self.file(group, "cgroup.procs"), "0")
        self.assertEqual(self.file(group, "memory.max"), str(300 << 20))
        self.assertEqual(self.file(group, "memory.swap.max"), "0")
        self.assertEqual(self.file(group, "memory.oom.group"), "1")
        self.assertEqual(self.file(group, "pids.max"), "10")
        self.assertEqual(self.file(group, "cpu.max"), "150000 100000")
        process.send_signal(signal.SIGINT)
        self.finish(process, 130)
        self.assertEqual(self.groups(), [])
        self.assertIn(f"cgroup v2 at {self.root} (a fake tree", self.show()["limits"])

    def kill_with(self, events, name="memory.events"):
        process, group = self.start_one()
        with open(os.path.join(self.root, group, name), "w") as f:
            f.write(events)
        with open(os.path.join(self.root, group, "memory.peak"), "w") as f:
            f.write(str(300 << 20))
        os.kill(workers_of(process.pid)[0], signal.SIGKILL)
        self.finish(process, 1)
        self.assertEqual(self.groups(), [])
        return self.attempts("bad")[0]

    def test_oom_kill_is_proved_by_the_events(self):
        attempt = self.kill_with("low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\n")
        self.assertEqual(attempt["class"], "resource")
        self.assertEqual(attempt["message"],
                         "the kernel killed it at 300.0 MiB of memory, at its limit of 300.0 MiB (resources.memory); raise "
                         "it, or let it grow with retry.grow.memory")
        self.assertEqual(attempt["peak_bytes"], 300 << 20)

    def test_oom_kill_from_above_is_the_machines(self):
        attempt = self.kill_with("oom 0\noom_kill 1\n")
        self.assertEqual(attempt["class"], "resource")
        self.assertIn("the kernel killed it for want of memory", attempt["message"])

    def test_kill_without_proof_is_a_crash(self):
        attempt = self.kill_with("oom 0\noom_kill 0\n")
        self.assertEqual(attempt["class"], "crash")
        self.assertIn("killed by signal 9", attempt["message"])

    def test_a_second_interrupt_leaves_no_group(self):
        process, _ = self.start_one()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        self.finish(process, 130)
        self.assertEqual(self.groups(), [])

    def test_check_leaves_nothing(self):
        pipeline = self.pipeline("  hello: { use: fixture/hello }\n")
        text = self.sluice("check", pipeline, *fixtures()).stdout
        self.assertIn(f"limits: cgroup v2 at {self.root} (a fake tree for tests: limits nothing)\n", text)
        self.assertEqual(self.groups(), [])

    def test_a_folder_that_will_not_do_is_named(self):
        self.write("groups/cgroup.controllers", "cpu")
        text = self.sluice("check", self.pipeline("  hello: { use: fixture/hello }\n"), *fixtures()).stdout
        self.assertIn("limits: rlimits and watched memory (SLUICE_CGROUP_ROOT is not usable: ", text)
        self.assertIn("the controller \"memory\" is not delegated)", text)


class RealTree(Case):
    """Where sluice finds a delegated control group, the kernel keeps memory and processes."""

    def setUp(self):
        super().setUp()
        text = self.sluice("check", self.pipeline("  hello: { use: fixture/hello }\n"), *fixtures()).stdout
        found = re.search(r"limits: cgroup v2 at (\S+)$", text, re.M)
        if not found:
            self.skipTest("no delegated cgroup v2: " + re.search("limits: (.*)", text).group(1))
        self.root = found.group(1)

    def tearDown(self):
        super().tearDown()
        if hasattr(self, "root"):
            self.assertEqual([n for n in os.listdir(self.root) if n.startswith("sluice-")], [])

    def test_memory(self):
        self.sluice("run", self.pipeline(stage("what: memory, amount: 1GiB, hold: 20s", "memory: 64MiB")), "-o", "out",
                    *fixtures(), status=1)
        attempt = self.attempts("bad")[0]
        self.assertEqual(attempt["class"], "resource")
        self.assertRegex(attempt["message"], r"the kernel killed it at .* its limit of 64\.0 MiB")

    def test_processes(self):
        self.sluice("run", self.pipeline(stage("what: processes, amount: 60, hold: 20s", "processes: 20")), "-o", "out",
                    *fixtures(), status=1)
        attempt = self.attempts("bad")[0]
        self.assertEqual(attempt["class"], "resource")
        self.assertIn("it had reached its limit of 20 processes and threads", attempt["message"])


if __name__ == "__main__":
    main()
