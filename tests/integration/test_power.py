"""Power cuts while a run works: what was not synced is gone, and after `sluice resume` the outputs are those of a run that
nobody disturbed. What had ended a moment before the cut is not done again."""
import datetime
import random
import resource

from harness import *
from powercut import Disk

HEAD = "inputs: { text: { type: text/1 } }\n"
STAGES = """\
  up:   { use: fixture/upper, in: { text: inputs.text } }
  read: { use: fixture/reader, in: { text: up.text }, with: { delay: 60ms } }
  more: { use: fixture/upper, in: { text: read.text } }
"""
OUTPUTS = "  txt: { use: fixture/reader, in: { text: more.text }, with: { delay: 20ms } }\n"
N_ITEMS = 60
MOMENT_S = 1.5  # 50 ms, and what a busy machine makes of it


def seconds(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


class PowerCut(Case):
    def setUp(self):
        super().setUp()
        self.disk = self.path("disk")
        self.state = self.env["SLUICE_STATE"] = os.path.join(self.disk, "state")
        self.out = os.path.join(self.disk, "out")

    def journal(self):
        folder = os.path.join(self.state, "runs")
        runs = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        path = os.path.join(folder, runs[-1], "journal") if runs else ""
        if not os.path.exists(path):
            return []
        with open(path, "rb") as f:
            return [json.loads(line[17:]) for line in f.read().splitlines(keepends=True) if line.endswith(b"\n")]

    def begin(self):
        files = [self.write(f"in/{i:02}.txt", f"file {i}\n" * (i + 1)) for i in range(N_ITEMS)]
        return ["run", self.pipeline(STAGES, OUTPUTS, HEAD), *files, "-o", self.out, "-q", "-j", "2", *fixtures()]

    def clear(self):
        shutil.rmtree(self.disk, ignore_errors=True)
        os.makedirs(self.state)
        os.makedirs(self.out)

    def cut_after(self, args, delay, rng):
        """The records that were written when the power went, and when that was."""
        disk = Disk(BUILD, self.disk, self.path("kept"))
        process = self.start(*args, env=disk.env)
        wait_until(self.journal, what="a journal")
        time.sleep(delay)
        self.assertIsNone(process.poll(), "the run ended before the cut")
        process.kill()
        at = time.time()
        process.communicate()
        wait_until(lambda: not processes_with(self.state), 10, "processes gone")
        written = self.journal()
        disk.cut(rng)
        return written, at

    def done_again(self, written):
        """Tasks that had ended, and were begun again by the core that went on; with the time of their end."""
        ended = {(r["item"], r["stage"]): seconds(r["time"]) for r in written if r["type"] == "task" and r["state"] == "done"}
        records = self.journal()
        began = next(i for i, r in enumerate(records) if r["type"] == "resume")
        again = {(r["item"], r["stage"]) for r in records[began:] if r["type"] == "attempt"}
        return {task: at for task, at in ended.items() if task in again}, len(ended)

    def test_cut_at_any_moment(self):
        args = self.begin()
        self.clear()
        self.sluice(*args)
        expected = tree(self.out)
        self.assertEqual(len(expected), N_ITEMS)
        rng = random.Random(11)
        for n in range(2 if SANITIZED else 4):
            self.clear()
            written, at = self.cut_after(args, rng.uniform(1.0, 2.0), rng if n % 2 else None)
            with self.subTest(cut=n):
                self.sluice("resume", "last", "-q")
                self.assertEqual(tree(self.out), expected)
                self.assertEqual(self.left_overs(), [])
                again, n_ended = self.done_again(written)
                ages = [at - ended for ended in again.values()]
                print(f"    {n_ended} tasks had ended, {len(again)} were done again, "
                      f"the oldest of them {max(ages, default=0) * 1000:.0f} ms", file=sys.stderr)
                self.assertLess(max(ages, default=0), MOMENT_S)

    def test_without_the_process_that_syncs(self):
        """It is killed: the core does it itself from then on, and says so."""
        args = self.begin()
        self.clear()
        process = self.start(*args)
        pid = wait_until(lambda: next((p for p, n in children_of(process.pid).items() if n == "sluice-sync"), None))
        os.kill(pid, signal.SIGKILL)
        self.finish(process)
        with open(os.path.join(self.run_folder(), "log")) as f:
            self.assertIn("the core does it from here on", f.read())
        self.assertEqual(len(tree(self.out)), N_ITEMS)
        self.assertEqual(self.left_overs(), [])

    def test_a_journal_that_cannot_be_written(self):
        """The run ends, also where output files of its items wait for the disk in that moment, and is resumed."""
        files = [self.write(f"in/{i:02}.txt", f"file {i}\n") for i in range(N_ITEMS)]
        pipeline = self.pipeline("  up: { use: fixture/upper, in: { text: inputs.text } }\n",
                                 "  txt: { use: fixture/upper, in: { text: up.text } }\n", HEAD)
        args = [SLUICE, "run", pipeline, *files, "-o", self.out, "-q", "-j", "2", *fixtures()]
        for kilobytes in (32, 36, 40):
            self.clear()
            limits = (kilobytes << 10, resource.RLIM_INFINITY)
            process = subprocess.Popen(args, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                       stderr=subprocess.PIPE, restore_signals=False,  # SIGXFSZ stays ignored
                                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))
            self.addCleanup(process.kill)
            self.assertIn("File too large", self.finish(process, 1)[1])
        self.assertLess(len(tree(self.out)), N_ITEMS)
        self.sluice("resume", "last", "-q")
        self.assertEqual(len(tree(self.out)), N_ITEMS)
        self.assertEqual(self.left_overs(), [])


main()
