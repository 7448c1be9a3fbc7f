"""Ten thousand items: the core stays small, and what it does for each does not grow with their number."""
import threading

from harness import *

HEAD = "inputs: { file: { type: file/1 } }\n"
N = 10000


class Scale(Case):
    def setUp(self):
        super().setUp()
        for i in range(N):
            self.write(f"in/clip-{i:05}.wav", "")
        self.files = [self.path("in", name) for name in sorted(os.listdir(self.path("in")))]

    def start_and_cancel(self, n, stages, wrap=()):
        """Starts a run over n files, waits until its first task works, cancels. Returns seconds, and KiB resident then."""
        pipeline = self.pipeline(stages, head=HEAD)
        began = time.monotonic()
        process = subprocess.Popen([*wrap, SLUICE, "run", pipeline, *self.files[:n], "--json", *fixtures()], cwd=self.folder,
                                   env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        took = time.monotonic() - began
        core = next(p for p in processes_with(self.state) if os.readlink(f"/proc/{p}/exe") == os.path.realpath(SLUICE))
        with open(f"/proc/{core}/status") as f:
            resident = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
        os.kill(core, signal.SIGINT)
        process.communicate(timeout=LIMIT)
        return took, resident

    def sleepers(self, n_stages):
        return "".join(f"  s{i}: {{ use: fixture/sleepy, with: {{ duration: 60s }} }}\n" for i in range(n_stages))

    @unittest.skipIf(SANITIZED, "skipped: a sanitizer has memory of its own")
    def test_resident_memory_with_all_items_queued(self):
        took, resident = self.start_and_cancel(N, self.sleepers(10))
        print(f"    {N} items x 10 stages: first task after {took * 1000:.0f} ms, {resident / 1024:.1f} MiB resident",
              file=sys.stderr)
        self.assertLess(resident, 32 * 1024)

    def test_time_to_the_first_task_is_linear(self):
        small = min(self.start_and_cancel(N // 10, self.sleepers(3))[0] for _ in range(3))
        large = min(self.start_and_cancel(N, self.sleepers(3))[0] for _ in range(3))
        print(f"    first task after {small * 1000:.0f} ms of {N // 10} items, {large * 1000:.0f} ms of {N}", file=sys.stderr)
        self.assertLess(large, 12 * small + 0.2)

    @unittest.skipUnless(shutil.which("strace") and not SANITIZED, "skipped: no strace")
    def test_files_are_not_looked_at_before_their_turn(self):
        counts = {}
        for n in (10, N):
            trace = self.path(f"trace-{n}")
            self.start_and_cancel(n, self.sleepers(1), ["strace", "-qq", "-e", "trace=%file", "-o", trace])
            with open(trace) as f:
                counts[n] = sum(1 for line in f if "execve" not in line)
        print(f"    system calls that name a file: {counts}", file=sys.stderr)
        self.assertLess(counts[N], counts[10] + 50)

    @unittest.skipIf(SANITIZED, "skipped: a sanitizer has memory of its own")
    def test_memory_stays_flat_to_the_end(self):
        """1,000 items to their end, the summary included."""
        pipeline = self.pipeline("  up: { use: fixture/batcher8, with: { steps: 1 } }\n", head=HEAD)
        process = subprocess.Popen([SLUICE, "run", pipeline, *self.files[:1000], "-o", "out", *fixtures()], cwd=self.folder,
                                   env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        samples = []
        reader = threading.Thread(target=process.communicate)
        reader.start()
        while process.poll() is None:
            try:
                with open(f"/proc/{process.pid}/status") as f:
                    samples.append(int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)))
            except (OSError, AttributeError):
                break
            time.sleep(0.05)
        reader.join()
        self.assertEqual(process.returncode, 0)
        print(f"    resident KiB: {samples[len(samples) // 4]} after a quarter, {max(samples)} at most", file=sys.stderr)
        self.assertLess(max(samples), samples[len(samples) // 4] + 2048)


main()
