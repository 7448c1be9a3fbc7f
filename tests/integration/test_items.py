"""What items a run has: folders, patterns, manifests with parameters for each file, and a folder that is watched."""
from harness import *

HEAD = """inputs: { audio: { type: file/1 } }
params:
  word: { default: plain }
  count: 1
  speed: 2.5
"""
SAY = """  say: { use: exec/command, in: { file: inputs.audio },
    with: { argv: [sh, -c, 'printf "%s %s" "$1" "$2" > "$0"', "${out.text}", "${params.word}", "${params.count}"],
            outputs: { text: text/1 } } }
  same: { use: exec/command, in: { file: inputs.audio },
    with: { argv: [cp, "${in.file}", "${out.text}"], outputs: { text: text/1 } } }
"""
OUT = """  txt: { use: exec/command, in: { text: say.text },
    with: { argv: [cp, "${in.text}", "${out.text}"], outputs: { text: text/1 } } }
"""


class Items(Case):
    def make(self, stages=SAY, outputs=OUT):
        self.pipeline(stages, outputs, head=HEAD)

    def names(self, run="last"):
        return [i["name"] for i in self.show(run)["items"]]

    def outputs(self):
        folder = self.path("out")
        return {name: self.read("out", name) for name in sorted(os.listdir(folder))}

    def mistakes(self, *args):
        return self.sluice("run", "p.yaml", *args, "-o", "out", status=2).stderr


class Words(Items):
    def setUp(self):
        super().setUp()
        self.make()
        for name in ("rec/b.wav", "rec/a.MP3", "rec/notes.txt", "rec/.hidden.wav", "rec/deep/er/c.flac", "rec/c.wav"):
            self.write(name, "x")
        os.symlink(self.path("rec"), self.path("rec/deep/loop"))

    def test_a_folder_stands_for_its_recordings(self):
        self.sluice("run", "p.yaml", "rec", "-o", "out")
        self.assertEqual(self.names(), ["a", "b", "rec-c", "er-c"])

    def test_a_pattern_and_a_file(self):
        self.sluice("run", "p.yaml", "rec/[ab].*", "rec/notes.txt", "-o", "out")
        self.assertEqual(self.names(), ["a", "b", "notes"])

    def test_a_file_whose_name_is_a_pattern(self):
        self.write("rec/x[1].txt", "x")
        self.sluice("run", "p.yaml", "rec/x[1].txt", "-o", "out")
        self.assertEqual(self.names(), ["x[1]"])

    def test_nothing_found(self):
        os.mkdir(self.path("empty"))
        self.assertIn("no file matches", self.mistakes("rec/*.ogg"))
        self.assertIn("has no audio or video file", self.mistakes("empty"))
        self.assertIn("no files given", self.mistakes())


class Manifest(Items):
    def setUp(self):
        super().setUp()
        self.make()
        for name in "abc":
            self.write(f"in/{name}.wav", "x")

    def test_list(self):
        self.write("in/files.txt", "# the first\na.wav\r\n\nb.wav\n" + self.path("in/c.wav"))
        self.sluice("run", "p.yaml", "--manifest", "in/files.txt", "-o", "out")
        self.assertEqual(self.names(), ["a", "b", "c"])
        self.assertEqual(set(self.outputs().values()), {"plain 1"})

    def test_parameters_of_each_file(self):
        self.write("in/files.csv", 'word,file,count\n"say ""it"", now",a.wav,7\n,b.wav,\n"",c.wav,3\n')
        self.sluice("run", "p.yaml", "in/c.wav", "--manifest", "in/files.csv", "--set", "count=9", "-o", "out")
        self.assertEqual(self.outputs(), {"a.txt": 'say "it", now 7', "b.txt": "plain 9", "in-c.txt": "plain 9",
                                          "in-c-2.txt": " 3"})
        items = self.show()["items"]
        self.assertEqual([i.get("params") for i in items], [None, {"word": 'say "it", now', "count": "7"}, None,
                                                            {"word": "", "count": "3"}])

    def test_a_shared_worker_serves_equal_parameters_only(self):
        self.pipeline("  batch: { use: fixture/batcher8, in: { text: read.text }, "
                      "with: { steps: \"${params.count}\" }, resources: { cpus: 1 } }\n"
                      "  read: { use: exec/command, in: { file: inputs.audio }, with: { argv: [cp, \"${in.file}\", \"${out.text}\"],"
                      " outputs: { text: text/1 } } }\n", head=HEAD)
        rows = "".join(f"{name}.wav,{count}\n" for name, count in zip("aabbcc", (2, 2, 2, 3, 3, 3)))
        self.write("in/files.csv", "file,count\n" + rows)
        self.sluice("run", "p.yaml", "--manifest", "in/files.csv", "-o", "out", "--jobs", "1", *fixtures())
        workers = {}
        for i in self.show()["items"]:
            stage = next(s for s in i["stages"] if s["name"] == "batch")
            workers.setdefault(stage["attempts"][0]["worker"], set()).add(i["params"]["count"])
        self.assertTrue(all(len(counts) == 1 for counts in workers.values()), workers)

    def test_mistakes_have_positions(self):
        self.write("m.csv", "file,wrod,count\na.wav,x,1\n")
        self.assertIn('m.csv:1:6: error: column "wrod" is no parameter of the pipeline (did you mean "word"?)',
                      self.mistakes("--manifest", "m.csv"))
        self.write("m.csv", "file;word\na.wav;x\n")
        self.assertIn("(separated by commas)", self.mistakes("--manifest", "m.csv"))
        self.write("m.csv", "file,word\na.wav\n,x\n")
        text = self.mistakes("--manifest", "m.csv")
        self.assertIn("m.csv:2:1: error: 1 fields, where the first row has 2", text)
        self.assertIn('m.csv:3:1: error: column "file" is empty', text)
        self.write("m.csv", 'file,word\na.wav,"x\n')
        self.assertIn("m.csv:2:7: error: a quote that is never closed", self.mistakes("--manifest", "m.csv"))
        self.write("m.txt", b"a.wav\n\xff.wav\n")
        self.assertIn("m.txt:2:1: error: not UTF-8", self.mistakes("--manifest", "m.txt"))
        self.write("m.txt", "# nothing\n")
        self.assertIn("it names no file", self.mistakes("--manifest", "m.txt"))
        self.mistakes("--manifest", "absent.txt")
        self.assertEqual(self.sluice("runs", "--json").stdout, "")

    def test_values_are_judged_as_in_the_pipeline(self):
        self.pipeline("  nap: { use: fixture/sleepy, with: { duration: \"${params.count}\" } }\n"
                      "  cut: { use: fixture/hello, optional: true, resources: { cpus: \"${params.speed}\" } }\n", head=HEAD)
        self.write("m.csv", "file,count\na.wav,0s\nb.wav,long\nc.wav,long\n")
        text = self.mistakes("--manifest", "m.csv", *fixtures())
        self.assertIn('m.csv:3:1: error: stage "nap": parameter "duration": expected a duration', text)
        self.assertIn("m.csv:4:1: error:", text)
        self.write("m.csv", "file,speed\na.wav,1\n")
        self.assertIn('m.csv:1:6: error: column "speed" cannot differ from file to file: "cut" uses it for resources',
                      self.mistakes("--manifest", "m.csv", *fixtures()))


class Watch(Items):
    def setUp(self):
        super().setUp()
        self.make()
        os.mkdir(self.path("box"))

    def watch(self, *args):
        process = self.start("run", "p.yaml", "--watch", "box", "-o", "out", "--json", *args)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process

    def written(self, *names, seconds=60):
        wait_until(lambda: all(os.path.exists(self.path("out", n + ".txt")) for n in names), seconds, f"{names} written")

    def end(self, process, status=0):
        process.send_signal(signal.SIGINT)
        out, _ = self.finish(process, status)
        self.assertEqual(self.left_overs(), [])
        return self.events(out)

    def test_files_are_taken_as_they_settle(self):
        self.write("box/early.wav", "x")
        self.write("box/notes.txt", "x")
        process = self.watch()
        self.written("early")
        with open(self.path("box/slow.wav"), "w") as f:
            f.write("half")
            f.flush()
            self.write("other/moved.wav", "x")
            os.rename(self.path("other/moved.wav"), self.path("box/moved.wav"))
            self.written("moved")
            time.sleep(2.6)
            self.assertFalse(os.path.exists(self.path("out/slow.txt")), "a file that is still written was taken")
        self.written("slow")
        self.write("box/early.wav", "again")
        self.write("box/last.wav", "x")
        self.written("last")
        events = self.end(process)
        self.assertEqual(sorted(self.names()), ["early", "last", "moved", "slow"])
        self.assertTrue(any(e["event"] == "note" and "no more files are taken" in e["text"] for e in events))
        self.assertEqual(self.show()["state"], "ok")

    def test_a_burst(self):
        n = 40 if SANITIZED else 150
        self.pipeline("  up: { use: fixture/batcher8, with: { steps: 1 } }\n", head=HEAD)
        process = self.watch(*fixtures())
        for i in range(n):
            self.write(f"box/c{i:03}.wav", "x")
        done = 0
        for line in process.stdout:
            done += json.loads(line)["event"] == "item_end"
            if done == n:
                break
        self.end(process)
        self.assertEqual(sorted(self.names()), [f"c{i:03}" for i in range(n)])

    def test_a_second_interrupt_cancels(self):
        self.pipeline("  nap: { use: fixture/sleepy, with: { duration: 60s } }\n", head=HEAD)
        self.write("box/a.wav", "x")
        process = self.watch(*fixtures())
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        process.send_signal(signal.SIGINT)
        for line in process.stdout:
            if json.loads(line)["event"] == "note":
                break
        self.assertIsNone(process.poll())
        self.end(process, status=130)

    def test_the_folder_goes_away(self):
        self.write("box/a.wav", "x")
        process = self.watch()
        self.written("a")
        shutil.rmtree(self.path("box"))
        out, _ = self.finish(process)
        self.assertIn("the watched folder is gone", out)

    def test_no_such_folder(self):
        self.assertIn("there is no such folder", self.mistakes("--watch", "nowhere"))


main()
