"""Devices of stages, on made-up cards: which card a worker gets, device: auto, errors of the driver; sluice doctor and check
--plan."""
from cards import *


class Devices(Cards):
    TWO = (card("GPU-aaaa", gib=24), card("GPU-bbbb", gib=24))

    def texts(self, stage="a"):
        found = []
        for item in self.show()["items"]:
            for s in item["stages"]:
                for artifact in s["artifacts"]:
                    if s["name"] == stage:
                        found.append(self.read(self.run_folder(), artifact["file"]).strip())
        return found

    def test_two_cards_are_both_used_and_each_worker_sees_one(self):
        self.machine(*self.TWO)
        self.run_it(self.pipeline(self.stage("a", 20, 20, hold="2s")), 2, "--jobs", "2", "--keep-artifacts")
        self.assertEqual({(row[1], row[3]) for row in self.taken()}, {("GPU-aaaa", 20), ("GPU-bbbb", 20)})
        self.assertEqual(set(self.texts()), {f"cuda visible={u} gpu_memory={20 * GIB}" for u in ("GPU-aaaa", "GPU-bbbb")})

    def test_a_card_by_its_number(self):
        self.machine(*self.TWO)
        self.run_it(self.pipeline(self.stage("a", 20, 20, device="cuda:1")), 2, "--jobs", "2")
        self.assertEqual([(row[1], row[3]) for row in self.taken()], [("GPU-bbbb", 20)] * 2)

    def test_visible_devices_of_the_user_hold(self):
        self.machine(*self.TWO)
        self.run_it(self.pipeline(self.stage("a", 20, 20)), 1, env={"CUDA_VISIBLE_DEVICES": "GPU-bb"})
        self.assertEqual([row[1] for row in self.taken()], ["GPU-bbbb"])

    def test_auto_says_what_it_takes_and_why(self):
        self.machine(card())
        pipeline = self.pipeline(self.stage("a", 4, 4, device="auto") + self.stage("b", 4, 30, device="auto"))
        self.run_it(pipeline, 1, "--keep-artifacts")
        self.assertIn("a: device auto: cuda, because there is a card that it fits on", self.log())
        self.assertIn("b: device auto: cpu, because it needs 30.0 GiB of GPU memory (declared) and the largest card, Fake 24, "
                      "has 24.0 GiB", self.log())
        self.assertEqual([t.split()[0] for t in self.texts("a") + self.texts("b")], ["cuda", "cpu"])
        self.assertEqual(self.texts("b"), [f"cpu visible= gpu_memory={30 * GIB}"])

    def test_auto_without_a_driver(self):
        self.run_it(self.pipeline(self.stage("a", 4, 4, device="auto")), 1,
                    env={"SLUICE_NVML": self.path("none.so"), "FAKE_CARDS": ""})
        self.assertRegex(self.log(), r"a: device auto: cpu, because no NVIDIA driver: .*none\.so: cannot open")

    def test_auto_goes_to_the_cpu_when_the_stage_refuses_the_card(self):
        self.machine(card())
        pipeline = self.pipeline("  a: { use: card/take, with: { refuse: true }, device: auto, resources: { gpu_memory: 1GiB } }\n")
        done = self.run_it(pipeline, 8, "--json", "--jobs", "8")
        self.assertEqual(self.log().count("a: device auto: cpu, because the stage refused the card: this card cannot be used on "
                                          "purpose"), 1)
        self.assertIn("cpu, because the stage refused the card", done.stdout)
        self.assertEqual([a["device"] for a in self.attempts("a")], ["cuda", "cpu"])

    def test_cuda_never_falls_back(self):
        self.machine(card())
        pipeline = self.pipeline("  a: { use: card/take, with: { refuse: true }, device: cuda }\n")
        done = self.run_it(pipeline, 1, status=1)
        self.assertIn("a failed: this card cannot be used on purpose", done.stderr)


class Driver(Cards):
    def test_a_driver_that_cannot_be_asked(self):
        """Its CUDA may still work: a worker at a time, on what is visible."""
        self.machine(card(), init_error=18)
        self.run_it(self.pipeline(self.stage("a", 4, 4)), 2, "--jobs", "2")
        self.assertEqual([row[3] for row in self.taken()], [4, 4])
        self.assertIn("runs on a card of which the driver tells nothing (the NVIDIA driver cannot be used: Driver/library "
                      "version mismatch (NVML error 18)), alone", self.log())

    def test_a_card_that_is_lost(self):
        self.machine(card(), card("GPU-bbbb"))
        pipeline = self.pipeline(self.stage("a", 20, 20, hold="1s") +
                                 self.stage("b", 20, 20, ", in: { text: a.text }"))
        core = self.start("run", pipeline, *fixtures())
        try:
            wait_until(lambda: self.taken(), LIMIT, "the first stage runs")
            other = "GPU-bbbb" if self.taken()[0][1] == "GPU-aaaa" else "GPU-aaaa"
        finally:
            self.machine(*(card(u, error=0 if u == other else 15) for u in ("GPU-aaaa", "GPU-bbbb")))
        self.finish(core)
        self.assertEqual(self.taken()[1][1], other)
        self.assertIn("cannot be used any more: GPU is lost", self.log())

    def test_auto_goes_to_the_cpu_when_the_last_card_is_lost(self):
        self.machine(card())
        pipeline = self.pipeline(self.stage("a", 20, 20, hold="1s", device="auto") +
                                 self.stage("b", 20, 20, ", in: { text: a.text }", device="auto"))
        core = self.start("run", pipeline, *fixtures())
        try:
            wait_until(lambda: self.taken(), LIMIT, "the first stage runs")
        finally:
            self.machine(card(error=15))
        self.finish(core)
        self.assertEqual([self.attempts(name)[0]["device"] for name in "ab"], ["cuda", "cpu"])

    def test_the_helper_is_replaced(self):
        self.machine(card())
        pipeline = self.pipeline(self.stage("a", 20, 20, hold="1s") + self.stage("b", 20, 20, ", in: { text: a.text }"))
        core = self.start("run", pipeline, *fixtures())
        wait_until(lambda: self.taken(), LIMIT, "the first stage runs")
        os.kill(next(pid for pid, name in children_of(core.pid).items() if name == "sluice-gpu"), signal.SIGKILL)
        self.finish(core)
        self.assertIn("has crashed; it is asked again by a new process", self.log())
        self.assertEqual([row[0] for row in self.taken()], ["taken", "taken"])

    def test_a_killed_core_takes_the_helper_along(self):
        self.machine(card())
        core = self.start("run", self.pipeline(self.stage("a", 20, 20, hold="30s")), *fixtures())
        wait_until(lambda: self.taken(), LIMIT, "the stage runs")
        self.assertIn("sluice-gpu", children_of(core.pid).values())
        core.kill()
        core.communicate()
        wait_until(lambda: not processes_with(self.state), 10, "nothing is left")

    def test_the_core_maps_no_library_of_nvidia(self):
        self.machine(card())
        core = self.start("run", self.pipeline(self.stage("a", 20, 20, hold="1s")), *fixtures())
        wait_until(lambda: self.taken(), LIMIT, "the stage runs")
        with open(f"/proc/{core.pid}/maps") as f:
            maps = f.read()
        self.assertNotIn("nvidia", maps)
        self.finish(core)


class Doctor(Cards):
    def doctor(self, status=0, **env):
        done = self.sluice("doctor", "--json", *fixtures(), status=status, env=env)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_a_card(self):
        self.machine(card(), card("GPU-bbbb", capability=75), card("GPU-cccc", error=15))
        found = {(f["area"], f["level"]): f["text"] for f in self.doctor(status=1)}
        self.assertIn("NVIDIA 550.54.15, for programs of CUDA 12.4", found["driver", "ok"])
        self.assertIn("Fake 24, compute capability 9.0, 24.0 GiB, 24.0 GiB free, 0 processes; GPU-aaaa", found["card 0", "ok"])
        self.assertIn("older than compute capability 8.0", found["card 1", "warn"])
        self.assertIn("GPU is lost", found["card 2", "error"])

    def test_no_driver(self):
        text = self.sluice("doctor", *fixtures(), env={"SLUICE_NVML": "/nonexistent.so"}).stdout
        self.assertRegex(text, r"note  driver      no NVIDIA driver: .*; stages run on the processor")
        self.assertRegex(text, r"ok    plugin      card 1, on the processor; on cards too, where there is one: card/take")

    def test_a_driver_of_another_version(self):
        self.machine(card(), init_error=18)
        found = [f for f in self.doctor(status=1) if f["area"] == "driver"]
        self.assertEqual(found[0]["level"], "error")
        self.assertIn("restart the machine", found[0]["todo"])

    def test_the_plan_of_a_machine_without_cards(self):
        pipeline = self.pipeline(self.stage("a", 4, 4, device="auto"))
        plan = self.sluice("check", "--plan", pipeline, *fixtures(), env={"SLUICE_NVML": "/nonexistent.so"}).stdout
        self.assertIn("a: device auto: cpu, because no NVIDIA driver", plan)
        self.assertIn("the pipeline fits this machine", plan)

    def test_the_plan_says_what_takes_turns(self):
        self.machine(card())
        plan = self.sluice("check", "--plan", self.stages(a=(8, 8), b=(22, 22)), *fixtures()).stdout
        self.assertRegex(plan, r"card 0: Fake 24, GPU-aaaa, 24\.0 GiB, 24\.0 GiB free now")
        self.assertRegex(plan, r"a +cuda +unknown +8\.0 GiB declared +3\n")
        self.assertIn("a and b run one after the other: they do not fit beside each other", plan)

    def test_the_plan_as_json(self):
        self.machine(card())
        found = json.loads(self.sluice("check", "--plan", "--json", self.stages(a=(8, 8), b=(22, 22)), *fixtures()).stdout)
        plan = found["plan"]
        self.assertEqual((found["n_stages"], plan["fits"], plan["apart"]), (2, True, [["a", "b"]]))
        self.assertEqual([(c["uuid"], c["memory"], c["free"]) for c in plan["cards"]], [("GPU-aaaa", 24 << 30, 24 << 30)])
        a = plan["stages"][0]
        self.assertEqual((a["name"], a["device"], a["gpu_memory"], a["gpu_memory_from"], a["memory_from"], a["at_once"]),
                         ("a", "cuda", 8 << 30, "declared", "unknown", 3))
        large = self.sluice("check", "--plan", "--json", self.stages(a=(30, 30)), *fixtures(), status=2)
        plan = json.loads(large.stdout)["plan"]
        self.assertFalse(plan["fits"])
        self.assertIn("30", plan["stages"][0]["never"])
        self.assertNotIn("plan", json.loads(self.sluice("check", "--json", self.stages(a=(8, 8)), *fixtures()).stdout))


if __name__ == "__main__":
    main()
