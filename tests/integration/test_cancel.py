"""Ctrl-C, a second one, and the death of the core: whatever happens, nothing is left running."""
from harness import *


class Cancel(Case):
    def start_sleepy(self, with_="duration: 60s", env=None, files=()):
        head = "inputs: { file: { type: file/1 } }\n" if files else ""
        pipeline = self.pipeline(f"  slow: {{ use: fixture/sleepy, with: {{ {with_} }} }}\n",
                                 "  txt: { use: fixture/upper, in: { text: slow.text } }\n", head)
        process = self.start("run", pipeline, *files, "-o", "out", "--json", *fixtures(), env=env)
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                return process
        self.fail(process.communicate()[1])

    def test_first_interrupt_cancels(self):
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=sig):
                process = self.start_sleepy()
                began = time.monotonic()
                process.send_signal(sig)
                out, _ = self.finish(process, 130)
                self.assertLess(time.monotonic() - began, 3)
                self.assertEqual(self.show()["state"], "cancelled")
                self.assertEqual(self.attempts("slow")[0]["class"], "cancelled")
                self.assertFalse(os.path.exists(self.path("out")))

    def test_deaf_worker_meets_the_ladder(self):
        process = self.start_sleepy("duration: 60s, deaf: true")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        self.finish(process, 130)
        took = time.monotonic() - began
        self.assertGreater(took, 2)
        self.assertLess(took, 12)

    def test_second_interrupt_kills(self):
        process = self.start_sleepy("duration: 60s, deaf: true")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        self.finish(process, 130)
        self.assertLess(time.monotonic() - began, 2.5)

    def test_killed_core_takes_its_workers_along(self):
        for mode in ("pidns", "keeper"):
            with self.subTest(mode=mode):
                process = self.start_sleepy("duration: 60s, deaf: true", env={"SLUICE_CONTAINMENT": mode})
                process.kill()
                process.communicate()
                wait_until(lambda: not processes_with(self.state), 5, "workers gone")
                self.assertEqual(self.show()["state"], "died")
                self.assertEqual(self.show()["containment"], mode)

    def test_items_not_begun_are_cancelled(self):
        files = [self.write(f"f{i}.txt", "x") for i in range(50)]
        process = self.start_sleepy(files=files)
        process.send_signal(signal.SIGINT)
        self.finish(process, 130)
        self.assertEqual({i["state"] for i in self.show()["items"]}, {"cancelled"})


main()
