"""Many items: independence, shared workers, limits on what runs at a time, outputs and artifacts."""
from harness import *

HEAD = "inputs: { file: { type: file/1 } }\n"


class Batch(Case):
    confined = True
    def files(self, n):
        return [self.write(f"f{i:03}.txt", f"text {i}") for i in range(n)]

    def cat(self, extra=""):
        return ('  read: { use: exec/command, in: { file: inputs.file }, with: { argv: [cp, "${in.file}", "${out.text}"],'
                f' outputs: {{ text: text/1 }} }}{extra} }}\n')

    def test_batch_of_commands(self):
        pipeline = self.pipeline(self.cat(), "  txt: { use: fixture/upper, in: { text: read.text } }\n", HEAD)
        self.sluice("run", pipeline, *self.files(20), "-o", "out", *fixtures())
        for i in range(20):
            self.assertEqual(self.read("out", f"f{i:03}.txt"), f"TEXT {i}")
        items = os.path.join(self.state, "runs", self.show()["id"], "items")
        left = {name for item in os.listdir(items) for name in os.listdir(os.path.join(items, item))}
        self.assertTrue(all(name.endswith(".log") for name in left), "artifacts of items that are ok are not kept")

    def test_keep_artifacts(self):
        pipeline = self.pipeline(self.cat(), "  txt: { use: fixture/upper, in: { text: read.text } }\n", HEAD)
        self.sluice("run", pipeline, *self.files(1), "-o", "out", "--keep-artifacts", *fixtures())
        run = os.path.join(self.state, "runs", self.show()["id"])
        kept = {a["file"] for s in self.show()["items"][0]["stages"] for a in s["artifacts"]}
        self.assertEqual(kept, {"items/f000/read.text.txt", "items/f000/txt.text.txt", "items/f000/txt.count.json"})
        for file in kept:
            self.assertTrue(os.path.isfile(os.path.join(run, file)))
        self.assertEqual({"items/f000/" + name for name in os.listdir(os.path.join(run, "items/f000"))
                          if not name.endswith(".log")}, kept)
        self.assertFalse(os.path.exists(os.path.join(run, "scratch")))

    def journal(self):
        with open(os.path.join(self.run_folder(), "journal"), encoding="utf-8") as f:
            return [json.loads(line[17:]) for line in f]

    def test_large_artifacts_are_journalled_before_their_tasks(self):
        text = ("x" * 8191 + "\n") * 1500
        stages = "  a: { use: fixture/upper, in: { text: inputs.text } }\n  b: { use: fixture/upper, in: { text: a.text } }\n"
        pipeline = self.pipeline(stages, "  txt: { use: fixture/upper, in: { text: b.text } }\n",
                                 "inputs: { text: { type: text/1 } }\n")
        self.sluice("run", pipeline, self.write("long.txt", text), "-o", "out", "--keep-artifacts", *fixtures())
        self.assertEqual(self.read("out", "long.txt"), text.upper())
        records = [(r["type"], r.get("stage"), r.get("port")) for r in self.journal() if r["type"] in ("artifact", "task", "item")]
        for stage in ("a", "b", "txt"):
            for port in ("text", "count"):
                self.assertLess(records.index(("artifact", stage, port)), records.index(("task", stage, None)))
        self.assertEqual(len(records), 10, records)
        self.assertEqual(records[-1][0], "item")
        sums = {a["xxh3"] for s in self.show()["items"][0]["stages"] for a in s["artifacts"] if a["port"] == "text"}
        self.assertEqual(len(sums), 1, "the same text three times")

    def test_shared_worker_takes_several_jobs(self):
        pipeline = self.pipeline("  b: { use: fixture/batcher, with: { steps: 30 }, in: { } }\n", head=HEAD)
        done = self.sluice("run", pipeline, *self.files(8), "-o", "out", "--json", "--jobs", "4", *fixtures())
        attempts = [s["attempts"][0] for i in self.show()["items"] for s in i["stages"]]
        self.assertEqual(len({a["pid"] for a in attempts}), 1, "one process for the whole batch")
        events = self.events(done.stdout)
        running = most = 0
        for event in events:
            running += (event["event"] == "task_begin") - (event["event"] == "task_end")
            most = max(most, running)
        self.assertEqual(most, 4)

    def test_one_job_of_a_shared_worker_fails_alone(self):
        pipeline = self.pipeline("  b: { use: fixture/batcher, with: { steps: 20, fail_item: f002 } }\n", head=HEAD)
        self.sluice("run", pipeline, *self.files(6), "-o", "out", *fixtures(), status=1)
        states = [i["state"] for i in self.show()["items"]]
        self.assertEqual(states, ["ok", "ok", "failed", "ok", "ok", "ok"])

    def test_items_are_finished_rather_than_begun(self):
        """Two stages take from the file itself: the second does not run for all items before the first does for one."""
        stages = "".join(f"  {s}: {{ use: fixture/upper, in: {{ text: inputs.text }} }}\n" for s in "ab")
        pipeline = self.pipeline(stages + "  c: { use: fixture/echo, in: { x: a.text, y: b.text } }\n",
                                 head="inputs: { text: { type: text/1 } }\n")
        done = self.sluice("run", pipeline, *self.files(5), "--jobs", "1", "--json", *fixtures())
        begun = [(e["item"], e["stage"]) for e in self.events(done.stdout) if e["event"] == "task_begin"]
        self.assertEqual([item for item, _ in begun], [f"f{i:03}" for i in range(5) for _ in range(3)])

    def test_jobs_limits_workers(self):
        pipeline = self.pipeline("  slow: { use: fixture/sleepy, with: { duration: 100ms } }\n", head=HEAD)
        done = self.sluice("run", pipeline, *self.files(4), "--jobs", "1", "--json", *fixtures())
        running = most = 0
        for event in self.events(done.stdout):
            running += (event["event"] == "task_begin") - (event["event"] == "task_end")
            most = max(most, running)
        self.assertEqual(most, 1)

    def test_fail_fast(self):
        pipeline = self.pipeline("  slow: { use: fixture/sleepy, with: { duration: 50ms } }\n"
                                 "  bad: { use: fixture/flaky, with: { status: input, fails: 99, state: \"%s\" } }\n"
                                 % self.path("calls"), head=HEAD)
        self.sluice("run", pipeline, *self.files(10), "--fail-fast", "--jobs", "1", *fixtures(), status=1)
        states = [i["state"] for i in self.show()["items"]]
        self.assertEqual(states.count("failed"), 1)
        self.assertGreater(states.count("cancelled"), 5)

    def test_equal_names_get_their_folder(self):
        for day in ("monday", "tuesday"):
            self.write(f"{day}/talk.txt", day)
        pipeline = self.pipeline(self.cat(), "  txt: { use: fixture/upper, in: { text: read.text } }\n", HEAD)
        self.sluice("run", pipeline, "monday/talk.txt", "tuesday/talk.txt", "-o", "out", *fixtures())
        self.assertEqual(self.read("out/monday-talk.txt"), "MONDAY")
        self.assertEqual(self.read("out/tuesday-talk.txt"), "TUESDAY")

    def test_outputs_that_cannot_be_written_fail_the_item(self):
        pipeline = self.pipeline(self.cat(), "  txt: { use: fixture/upper, in: { text: read.text } }\n"
                                             "  up: { use: fixture/upper, in: { text: read.text } }\n", HEAD)
        os.makedirs(self.path("out/f000.up/x"))
        done = self.sluice("run", pipeline, *self.files(1), "-o", "out", *fixtures(), status=1)
        self.assertIn("f000.up", done.stderr)
        self.assertEqual(os.listdir(self.path("out")), ["f000.up"], "nothing of a failed item is left")

    def test_pipeline_without_inputs(self):
        pipeline = self.pipeline('  touch: { use: exec/command, with: { argv: [touch, "%s"] } }\n' % self.path("made"))
        self.sluice("run", pipeline)
        self.assertTrue(os.path.exists(self.path("made")))

    def test_parameters_and_settings(self):
        pipeline = self.pipeline('  say: { use: exec/command, with: { argv: [sh, -c, "echo $1 > $2", sh, "${params.word}", '
                                 '"${out.text}"], outputs: { text: text/1 } } }\n',
                                 "  txt: { use: fixture/upper, in: { text: say.text } }\n", "params: { word: hi }\n")
        self.sluice("run", pipeline, "-o", "out", *fixtures())
        self.assertEqual(self.read("out/test.txt"), "HI\n")
        self.sluice("run", pipeline, "-o", "out", "--set", "word=there", *fixtures())
        self.assertEqual(self.read("out/test.txt"), "THERE\n")


main()
