"""The summary at the end of a run: a line for each item and stage, or for each stage where there are many items."""
from harness import *

HEAD = "inputs: { file: { type: file/1 } }\n"
STAGES = ("  read: { use: exec/command, in: { file: inputs.file }, with: { argv: [cp, \"${in.file}\", \"${out.text}\"],"
          " outputs: { text: text/1 } } }\n"
          "  bad: { use: fixture/hostile, with: { only: f001 }, in: { text: read.text } }\n"
          "  maybe: { use: fixture/crash, retry: { attempts: 2, backoff: 1ms, then: ignore } }\n"
          "  after: { use: fixture/upper, in: { text: maybe.text } }\n")


class Summary(Case):
    confined = True
    def run_files(self, n, *args, status=1):
        files = [self.write(f"f{i:03}.txt", "x") for i in range(n)]
        pipeline = self.pipeline(STAGES, "  txt: { use: fixture/upper, in: { text: bad.text } }\n", HEAD)
        return self.sluice("run", pipeline, *files, "-o", "out", *args, *fixtures(), status=status)

    def rows(self, text):
        """The table as lists of words, its head first."""
        lines = text.splitlines()
        start = next((i for i, line in enumerate(lines) if re.search(r"outcome +attempts +wall +cpu +peak$", line)), len(lines))
        return [line.split() for line in lines[start:]]

    def test_few_items(self):
        rows = self.rows(self.run_files(2).stderr)
        self.assertEqual(rows[0], ["item", "stage", "outcome", "attempts", "wall", "cpu", "peak"])
        self.assertEqual(len(rows), 1 + 2 * 5)
        self.assertEqual(rows[1][:4], ["f000", "read", "done", "1"])
        self.assertEqual(rows[3][:3], ["maybe", "absent", "2"])
        self.assertEqual(rows[4], ["after", "skipped", "0", "-", "-", "-"])
        outcomes = [row[-8 if row[0].startswith("f0") else 1] for row in rows[6:]]
        self.assertEqual(rows[6][:4], ["f001", "read", "done", "1"])
        self.assertEqual(rows[7][:3], ["bad", "failed", "1"], outcomes)
        self.assertRegex(" ".join(rows[1]), r"read done 1 [\d.]+ m?s [\d.]+ m?s [\d.]+ [KM]iB$")

    def test_many_items(self):
        rows = self.rows(self.run_files(25).stderr)
        self.assertEqual(rows[0], ["stage", "outcome", "attempts", "wall", "cpu", "peak"])
        self.assertEqual(rows[1][:4], ["read", "25", "done", "25"])
        self.assertEqual(rows[2][:6], ["bad", "24", "done,", "1", "failed", "25"])
        table = [" ".join(row) for row in rows]
        self.assertIn("failed:", table)
        self.assertEqual(table[-1], "f001: this item fails on purpose")

    def test_written_files_are_listed(self):
        done = self.run_files(3)
        self.assertEqual(sorted(done.stdout.split()), [self.path("out", name) for name in ("f000.txt", "f002.txt")])
        self.assertEqual(sorted(os.listdir(self.path("out"))), ["f000.txt", "f002.txt"])

    def test_quiet_and_json_have_no_table(self):
        for word in ("--quiet", "--json"):
            with self.subTest(word=word):
                done = self.run_files(2, word)
                self.assertEqual(self.rows(done.stderr), [])


main()
