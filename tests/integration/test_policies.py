"""Failure policies, rehearsed with --inject: what each fault leads to, with the plugins that are shipped."""
from harness import *

HEAD = "inputs: { file: { type: file/1 } }\n"
QUICK = "retry: { backoff: 10ms }"


class Policies(Case):
    def wave(self, name="talk.wav"):
        shutil.copy(os.path.join(DATA, "command.wav"), self.path(name))
        return self.path(name)

    def decode(self, more=""):
        return f"  decode: {{ use: audio/decode, in: {{ file: inputs.file }}{', ' + more if more else ''} }}\n"

    def run_with(self, inject, stages=None, *args, status=0):
        pipeline = self.pipeline(stages or self.decode(QUICK), head=HEAD)
        return self.sluice("run", pipeline, self.wave(), "-o", "out", "--inject", inject, *args, status=status)

    def journal(self, kind):
        with open(os.path.join(self.run_folder(), "journal"), encoding="utf-8") as f:
            return [r for r in (json.loads(line[17:]) for line in f) if r["type"] == kind]

    def log(self):
        with open(os.path.join(self.run_folder(), "log"), encoding="utf-8") as f:
            return f.read()

    def test_each_fault_looks_like_what_it_stands_for(self):
        for fault, cls, words in (("crash", "crash", "killed by signal 11"), ("oom", "resource", "out of memory (injected"),
                                  ("transient", "transient", "injected"), ("garbage", "internal", 'output "audio"')):
            with self.subTest(fault=fault):
                self.run_with(f"decode:{fault}@1")
                first, second = self.attempts("decode")
                self.assertEqual((first["class"], second["class"]), (cls, "ok"))
                self.assertIn(words, first["message"])
                self.assertEqual((first["injected"], second.get("injected")), (fault, None))
                self.assertIn(f"talk/decode: attempt 1 in worker 1", self.log())
                self.assertIn(f"; injected: {fault}", self.log())

    def test_a_hang_meets_its_timeout(self):
        self.run_with("decode:hang@1", self.decode("timeout: { idle: 300ms }"))
        first, second = self.attempts("decode")
        self.assertEqual((first["class"], second["class"]), ("timeout", "ok"))

    def test_slow_is_only_slow(self):
        began = time.monotonic()
        self.run_with("decode:slow")
        self.assertGreater(time.monotonic() - began, 5)
        self.assertEqual([a["class"] for a in self.attempts("decode")], ["ok"])

    def test_without_a_number_every_attempt_is_struck(self):
        self.run_with("decode:oom", status=1)
        self.assertEqual([a["class"] for a in self.attempts("decode")], ["resource"] * 3)

    def test_jobs_of_a_shared_worker_are_struck_too(self):
        files = [self.write(f"f{i}.txt", "x") for i in range(4)]
        pipeline = self.pipeline(f"  b: {{ use: fixture/batcher, with: {{ steps: 5 }}, {QUICK} }}\n", head=HEAD)
        for fault, cls in (("transient", "transient"), ("crash", "crash")):
            self.sluice("run", pipeline, *files, "-o", "out", "--jobs", "4", "--inject", f"b:{fault}@1", *fixtures())
            for i in range(4):
                self.assertEqual({a["class"] for a in self.attempts("b", i)}, {cls, "ok"})

    def test_what_cannot_be_injected_is_told(self):
        for text, words in (("decod:crash", 'there is no stage "decod" (did you mean "decode"?)'),
                            ("decode:chrash", 'there is no fault "chrash" (did you mean "crash"?)'),
                            ("decode:crash@0", "from 1 to 100")):
            self.assertIn(words, self.run_with(text, status=2).stderr)
        self.assertIn("--inject", self.sluice("run", "--help").stdout)


main()
