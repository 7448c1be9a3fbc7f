"""Admission by memory, on made-up cards: what runs beside what, late release, other users of a card, needs that were measured;
memory of the machine."""
from cards import *


class Turns(Cards):
    def test_eight_and_twenty_two_take_turns_on_24(self):
        """Both orders; never both, so that the peak is that of the larger one."""
        for sizes in ({"a": (8, 8), "b": (22, 22)}, {"a": (22, 22), "b": (8, 8)}):
            self.machine(card())
            self.run_it(self.stages(**sizes), 2, "--jobs", "4")
            taken = self.taken()
            self.assertEqual(len(taken), 4)
            self.assertEqual({row[0] for row in taken}, {"taken"})
            self.assertEqual(max(used for *_, used in taken), 22)
            for _, _, size, used in taken:
                self.assertEqual(used % size, 0, "8 and 22 GiB at the same time")
            self.forget()

    def test_they_overlap_on_32(self):
        self.machine(card(gib=32))
        text = self.stage("a", 8, 8, hold="2s") + self.stage("b", 22, 22, hold="2s")
        self.run_it(self.pipeline(text), 1, "--jobs", "2")
        self.assertEqual(max(used for *_, used in self.taken()), 30)

    def test_memory_that_comes_back_late_is_waited_for(self):
        self.machine(card(), late_ms=800)
        self.run_it(self.stages(a=(22, 22), b=(20, 20)))
        self.assertEqual([row[0] for row in self.taken()], ["taken", "taken"])
        self.assertRegex(self.log(), r"card 0 \(Fake 24\) shows the 22\.0 GiB of a worker's memory back, [\d.]+ m?s after")

    def test_memory_that_does_not_come_back_is_given_up(self):
        self.machine(card(), late_ms=60000)
        text = self.stage("a", 10, 10) + self.stage("b", 20, 20, ", in: { text: a.text }, retry: { attempts: 1 }")
        self.run_it(self.pipeline(text), 1, status=1, env={"SLUICE_GPU_WAIT": "1s"})
        self.assertIn("does not show the 10.0 GiB of a worker's memory back", self.log())
        self.assertRegex(self.log(), r"waits for 20.0 GiB of GPU memory; card 0 \(Fake 24\) has 14\.0 GiB free, the rest is held by other "
                         r"processes; given up after 1\.0 s \(SLUICE_GPU_WAIT\)")

    def test_a_kept_worker_that_is_idle_makes_room(self):
        self.machine(card())
        text = self.stage("a", 8, 8, ", keep: batch", hold="100ms") + \
            self.stage("b", 22, 22, ", in: { text: a.text }", hold="100ms")
        self.run_it(self.pipeline(text), 3, "--jobs", "2")
        self.assertEqual({row[0] for row in self.taken()}, {"taken"})
        self.assertEqual(max(used for *_, used in self.taken()), 22)


class Others(Cards):
    def test_a_foreign_user_of_the_card_is_waited_for(self):
        self.machine(card(foreign=20 * GIB))
        pipeline = self.pipeline(self.stage("a", 8, 8))
        core = self.start("run", pipeline, *fixtures("--json"))
        try:
            wait_until(lambda: "held by other processes" in self.live_log(), LIMIT, "the run says why it waits")
            self.assertEqual(self.taken(), [])
        finally:
            self.machine(card(foreign=2 * GIB))
        out, _ = self.finish(core)
        self.assertIn("has 4.0 GiB free, the rest is held by other processes", out)
        self.assertEqual([row[0] for row in self.taken()], ["taken"])


class Never(Cards):
    def test_nothing_starts_that_can_never_fit(self):
        self.machine(card())
        pipeline = self.pipeline("  first: { use: fixture/hello }\n" + self.stage("a", 30, 30))
        words = ("sluice: stage \"a\" can never run on this machine: it needs 30.0 GiB of GPU memory (declared) and the "
                 "largest card, Fake 24, has 24.0 GiB; lower resources.gpu_memory, take a smaller model, or use device: cpu")
        done = self.sluice("run", pipeline, *fixtures(), status=2)
        self.assertIn(words, done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.state, "runs")))
        done = self.sluice("check", "--plan", pipeline, *fixtures(), status=2)
        self.assertIn("a can never run here: it needs 30.0 GiB of GPU memory", done.stdout)
        self.assertIn("the pipeline does not fit this machine", done.stdout)

    def test_an_optional_stage_is_left_out(self):
        self.machine(card())
        pipeline = self.pipeline("  first: { use: fixture/hello }\n" + self.stage("a", 30, 30, ", optional: true"))
        self.sluice("run", pipeline, *fixtures())
        stage = self.show()["items"][0]["stages"][1]
        self.assertEqual((stage["state"], stage["class"], stage["attempts"]), ("absent", "resource", []))

    def test_no_such_card(self):
        self.machine(card())
        done = self.sluice("run", self.pipeline(self.stage("a", 1, 1, device="cuda:3")), *fixtures(), status=2)
        self.assertIn("there is no card 3; this machine has 1, counted from 0", done.stderr)

    def test_more_memory_than_the_machine_has(self):
        done = self.sluice("run", self.pipeline("  a: { use: fixture/hello, resources: { memory: 9000GiB } }\n"), *fixtures(),
                           status=2)
        self.assertRegex(done.stderr, r"it needs 8\.8 TiB of memory \(declared\) and this machine has|"
                         r"it needs 9000\.0 GiB of memory \(declared\) and this machine has")


class Measured(Cards):
    def test_what_needs_less_lets_more_run(self):
        """A need that is not known takes the card alone, one that is declared what it says; by the second run both are known."""
        self.machine(card())
        text = self.stage("a", 4, None, hold="1s") + self.stage("b", 4, 20, hold="1s")
        for most in (4, 8):
            self.run_it(self.pipeline(text), 1, "--jobs", "2")
            self.assertEqual(max(used for *_, used in self.taken()), most)
            self.forget()
        plan = self.sluice("check", "--plan", self.path("p.yaml"), *fixtures()).stdout
        self.assertRegex(plan, r"a +cuda +[\d.]+ MiB measured +4\.\d GiB measured +5\n")

    def test_more_than_declared_lets_fewer_run(self):
        self.machine(card())
        retry = ", retry: { attempts: 5, backoff: 300ms }"
        text = self.stage("a", 16, 4, retry, hold="700ms") + self.stage("b", 16, 4, retry, hold="700ms")
        self.run_it(self.pipeline(text), 1, "--jobs", "2")
        self.assertIn("refused", [row[0] for row in self.taken()])
        self.forget()
        self.run_it(self.pipeline(text), 1, "--jobs", "2")
        self.assertEqual([row[0] for row in self.taken()], ["taken", "taken"])

    def test_in_a_container_the_difference_counts(self):
        """The driver names processes by numbers of another namespace, or without what they use."""
        for pids in (1, 2):
            self.machine(card(foreign=GIB), pids=pids)
            self.run_it(self.pipeline(self.stage("a", 6, 20, hold="1s")))
            attempt = self.attempts("a")[0]
            self.assertEqual((attempt["device"], attempt["card"]), ("cuda", "GPU-aaaa"))
            self.assertEqual(attempt["gpu_peak_bytes"], 6 * GIB)
            os.remove(os.path.join(self.state, "peaks.json"))

    def test_damage_to_the_file_of_peaks_is_nothing(self):
        self.machine(card())
        self.write("state/peaks.json", "{\"sluice\": \"peaks/1\", \"stages\": {\"a\": [1")
        self.run_it(self.pipeline(self.stage("a", 4, 4, hold="1s")))
        with open(os.path.join(self.state, "peaks.json")) as f:
            kept = json.load(f)
        self.assertEqual([e["gpu_memory"] for e in kept["stages"].values()], [[4 * GIB]])


class Memory(Case):
    def test_the_machine_is_not_promised_twice(self):
        with open("/proc/meminfo") as f:
            total = int(re.search(r"MemTotal: +(\d+)", f.read()).group(1)) << 10
        size = total * 6 // 10
        one = f"{{ use: fixture/sleepy, with: {{ duration: 400ms }}, resources: {{ memory: {size} }} }}\n"
        pipeline = self.pipeline(f"  a: {one}  b: {one}")
        self.sluice("run", pipeline, *fixtures("--jobs", "2"))
        with open(os.path.join(self.run_folder(), "log")) as f:
            self.assertRegex(f.read(), r"[ab]: waits for [\d.]+ GiB of memory; [\d.]+ GiB are free")
        plan = self.sluice("check", "--plan", pipeline, *fixtures()).stdout
        self.assertRegex(plan, r"a +cpu +[\d.]+ MiB measured +- +no bound")  # by now it is known how little it needs


if __name__ == "__main__":
    main()
