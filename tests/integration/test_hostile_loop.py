"""Every hostile stage in one run, again and again in random order: no left-overs, and a core that does not grow.

SLUICE_ROUNDS: items, each of which meets every stage (default 10; some slow attacks happen in every 20th round only).
SLUICE_SEED: the order (default: from the clock; printed).
"""
import random
import threading

from harness import *

ROUNDS = int(os.environ.get("SLUICE_ROUNDS", "10"))
SEED = int(os.environ.get("SLUICE_SEED", time.time_ns() % 1000000))

IDLE = "timeout: { idle: 300ms }"
ONCE = "retry: { attempts: 1, then: ignore }"
TWICE = "retry: { attempts: 2, backoff: 10ms, then: ignore }"

STAGES = [
    *[(f"fixture/crash, with: {{ how: {how} }}", TWICE) for how in ("segv", "abort", "exit0", "exit3", "kill")],
    ("fixture/crash, with: { how: segv, when: create }", ONCE),
    ("fixture/crash, with: { how: abort, when: destroy }", ONCE),
    ("fixture/sleepy, with: { starting: 60s }, timeout: { start: 300ms }", ONCE),
    *[(f"fixture/hostile, with: {{ how: {how}, every: 20 }}, {IDLE}", ONCE)
      for how in ("silent", "deaf", "stop_self", "end_main", "hang_destroy", "deep_scratch", "kill_init", "stop_init")],
    *[(f"fixture/hostile, with: {{ how: {how} }}, {IDLE}", ONCE) for how in ("rude", "exit_thread", "close_fds", "beyond")],
    *[(f"fixture/intruder, with: {{ how: {how} }}", ONCE)
      for how in ("junk", "large", "order", "counts", "foreign_job", "foreign_port", "done", "done_twice", "ready", "refused",
                  "exit", "fds", "shut")],
    ("fixture/flood, with: { what: print, amount: 20000000 }", ONCE),
    *[(f"fixture/flood, with: {{ what: {what}, amount: 3000 }}", ONCE) for what in ("log", "progress", "part", "metric")],
    ("fixture/grandchild, with: { lock: LOCK }", ONCE),
    ("fixture/grandchild, with: { lock: LOCK, then: crash }", ONCE),
    ("fixture/flaky, with: { status: transient, fails: 3, state: STATE }", TWICE),
    ("fixture/leak", ONCE), ("fixture/misuse", ONCE), ("fixture/printer", ONCE), ("fixture/no_commit", ONCE), ("fixture/garbage", ONCE),
    ("fixture/overgrow", ONCE), ("fixture/batcher8, with: { steps: 3, forget_item: r000 }", ONCE),
]


class Sampler(threading.Thread):
    """Resident memory (KiB) and descriptors of a process, ten times a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.samples = pid, []

    def run(self):
        while True:
            try:
                with open(f"/proc/{self.pid}/status") as f:
                    resident = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
                self.samples.append((resident, len(os.listdir(f"/proc/{self.pid}/fd"))))
            except (OSError, AttributeError):
                return
            time.sleep(0.1)


class Loop(Case):
    def make_pipeline(self, order):
        text = ""
        for i, (stage, retry) in enumerate(order):
            stage = stage.replace("LOCK", self.path(f"lock{i}")).replace("STATE", self.path(f"calls{i}"))
            # From one source, so that an item is finished before the next is begun.
            source = "" if "printer" in stage or "grandchild" in stage else "in: { text: good.text }, "
            text += f"  s{i}: {{ use: {stage}, {source}{retry} }}\n"
        return self.pipeline("  good: { use: fixture/hello }\n" + text, "  txt: { use: fixture/upper, in: { text: good.text } }\n",
                             "inputs: { file: { type: file/1 } }\n")

    def check_growth(self, samples, what, at, allowed):
        quarter = len(samples) // 4
        # The least of a quarter: what is held between attempts. What attempts hold while they run comes on top and varies.
        early, late = min(s[at] for s in samples[quarter:2 * quarter]), min(s[at] for s in samples[-quarter:])
        print(f"    {what}: {early} in the second quarter, {late} in the last, {max(s[at] for s in samples)} at most",
              file=sys.stderr)
        self.assertLessEqual(late, early + allowed, what)

    def loop(self, mode):
        order = STAGES[:]
        random.Random(SEED).shuffle(order)
        files = [self.write(f"in/r{i:03}.txt", "x") for i in range(ROUNDS)]
        env = {"SLUICE_CONTAINMENT": mode, "TMPDIR": self.path("tmp")}
        os.makedirs(self.path("tmp"), exist_ok=True)
        print(f"    {mode}: {ROUNDS} rounds of {len(order)} stages, SLUICE_SEED={SEED}", file=sys.stderr)
        process = subprocess.Popen([SLUICE, "run", self.make_pipeline(order), *files, "-o", "out", "--quiet", *fixtures()],
                                   cwd=self.folder, env=dict(self.env, **env), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        sampler = Sampler(process.pid)
        sampler.start()
        out, _ = process.communicate(timeout=60 + 60 * ROUNDS)
        self.assertEqual(process.returncode, 0, "every item is ok: all attacks are on stages that may fail")
        self.assertEqual(sorted(out.split()), [self.path("out", f"r{i:03}.txt") for i in range(ROUNDS)])
        sampler.join()
        self.assertEqual(self.left_overs(), [])
        self.assertEqual(os.listdir(self.path("tmp")), [])
        self.assertEqual(shared_memory(), [])
        # The last samples are of the end, where the journal is read to list what was written.
        samples = sampler.samples[:-3]
        if not SANITIZED:  # AddressSanitizer keeps what was freed
            self.check_growth(samples, "resident KiB", 0, 1024)
        self.check_growth(samples, "descriptors", 1, 4)

    def test_pidns(self):
        self.loop("pidns")

    def test_keeper(self):
        self.loop("keeper")


main()
