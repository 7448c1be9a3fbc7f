"""The process that forks workers is killed or stopped in the middle of a run: nobody notices but the log."""
from harness import *

MODES = ("pidns", "keeper")


@unittest.skipIf("thread" in os.environ.get("SLUICE_SANITIZE", ""), "builds with the thread sanitizer have no fork server")
class ForkServer(Case):
    def start_items(self, n, stage="fixture/hello", env=None):
        files = [self.write(f"files/f{i:03}.txt", "x") for i in range(n)]
        pipeline = self.pipeline(f"  s: {{ use: {stage} }}\n", head="inputs: { file: { type: file/1 } }\n")
        return self.start("run", pipeline, *files, "--jobs", "2", "--json", *fixtures(), env=env)

    def log(self):
        with open(os.path.join(self.run_folder(), "log")) as f:
            return f.read()

    def strike(self, process, signal_, times):
        """Signals each fork server that is seen after the end of a task; returns how many."""
        struck = set()
        for line in process.stdout:
            server = fork_server_of(process.pid)
            if json.loads(line)["event"] == "task_end" and server and server not in struck and len(struck) < times:
                os.kill(server, signal_)
                struck.add(server)
        return len(struck)

    def check_all_ok(self, n):
        items = self.show()["items"]
        self.assertEqual([i["state"] for i in items], ["ok"] * n)
        self.assertEqual([len(i["stages"][0]["attempts"]) for i in items], [1] * n, "no attempt was lost")
        self.assertEqual(self.left_overs(), [])

    def test_killed(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                process = self.start_items(40, env={"SLUICE_CONTAINMENT": mode})
                self.assertEqual(self.strike(process, signal.SIGKILL, 1), 1)
                self.finish(process)
                self.check_all_ok(40)
                self.assertIn("the fork server is lost (the other side is gone); another one is started", self.log())

    def test_killed_again_and_again(self):
        process = self.start_items(60)
        self.assertEqual(self.strike(process, signal.SIGKILL, 1000), 5)
        self.finish(process)
        self.check_all_ok(60)
        self.assertIn("workers are started without one from here on", self.log())

    def test_stopped(self):
        process = self.start_items(20)
        self.assertEqual(self.strike(process, signal.SIGSTOP, 1), 1)
        self.finish(process)
        self.check_all_ok(20)
        self.assertIn("the fork server is lost (no answer in 2 s)", self.log())

    def test_its_end_does_not_touch_its_workers(self):
        process = self.start_items(2, "fixture/sleepy, with: { duration: 1s }")
        for line in process.stdout:
            if json.loads(line)["event"] == "progress" and fork_server_of(process.pid):
                os.kill(fork_server_of(process.pid), signal.SIGKILL)
                break
        self.finish(process)
        self.check_all_ok(2)

    def test_killed_core_leaves_nothing(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                process = self.start_items(2, "fixture/sleepy, with: { duration: 60s }", {"SLUICE_CONTAINMENT": mode})
                for line in process.stdout:
                    if json.loads(line)["event"] == "progress":
                        break
                wait_until(lambda: len(workers_of(process.pid)) == 2, 10, "two workers")
                self.assertIn(fork_server_of(process.pid), processes_with(self.state))
                process.kill()
                process.communicate()
                wait_until(lambda: not processes_with(self.state), 2, "all processes gone")


main()
