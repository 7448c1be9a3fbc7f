"""Readers of standard output and terminals that stand still: the run goes on, and what was lost is said."""
import fcntl
import pty
import termios

from harness import *

HEAD = "inputs: { file: { type: file/1 } }\n"


class Output(Case):
    def files(self, n):
        return [self.write(f"in/f{i:04}.txt", f"text {i}") for i in range(n)]

    def journals(self):
        """The text of the one run's journal, while it grows."""
        texts = []
        for at, _, names in os.walk(os.path.join(self.state, "runs")):
            if "journal" in names:
                with open(os.path.join(at, "journal"), encoding="utf-8") as f:
                    texts.append(f.read())
        return "".join(texts)

    def run_to_its_end(self, process):
        """Waits for the run to be over, as its journal tells, without reading what it prints."""
        self.addCleanup(process.kill)
        wait_until(lambda: '"type":"end"' in self.journals() or process.poll() is not None, 60, "the end in the journal")

    def test_json_into_a_reader_that_reads_late(self):
        """More than a pipe holds: the run ends, every record comes, and nothing is twice."""
        pipeline = self.pipeline("".join(f"  s{i}: {{ use: fixture/hello }}\n" for i in range(3)), head=HEAD)
        process = self.start("run", pipeline, *self.files(200), "--json", *fixtures())
        self.run_to_its_end(process)
        self.assertIsNone(process.poll(), "it waits for its reader")
        out, _ = self.finish(process)
        self.assertGreater(len(out), 100000)
        events = self.events(out)
        self.assertEqual(events[-1]["event"], "run_end")
        ends = [(e["item"], e["stage"]) for e in events if e["event"] == "task_end"]
        self.assertEqual((len(ends), len(set(ends))), (600, 600))
        self.assertEqual(sum(e["event"] == "item_end" for e in events), 200)

    def test_json_into_a_reader_that_never_reads(self):
        """The outlet is full after a megabyte: nothing new is started for a while; then it is given up and the run goes on."""
        pipeline = self.pipeline("  flood: { use: fixture/flood, with: { what: log, amount: 4000 } }\n", head=HEAD)
        process = subprocess.Popen([SLUICE, "run", pipeline, *self.files(40), "--json", *fixtures()], cwd=self.folder,
                                   env=dict(self.env, SLUICE_OUTPUT_WAIT="1s"), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(process.wait(LIMIT), 0)
        err = process.stderr.read()
        self.assertRegex(err, r"sluice: standard output: nothing was read for 1\.0 s \(SLUICE_OUTPUT_WAIT\) with \d+ bytes")
        self.assertRegex(err, r"sluice: \d+ lines of standard output were not read and are lost")
        with open(os.path.join(self.run_folder(), "log"), encoding="utf-8") as f:
            self.assertIn("nothing was read for 1.0 s", f.read())
        self.assertEqual([i["state"] for i in self.show()["items"]], ["ok"] * 40)
        process.stdout.close()
        process.stderr.close()

    def test_nothing_is_started_while_the_reader_is_far_behind(self):
        pipeline = self.pipeline("  flood: { use: fixture/flood, with: { what: log, amount: 4000 } }\n", head=HEAD)
        process = self.start("run", pipeline, *self.files(40), "--json", *fixtures(), env={"SLUICE_OUTPUT_WAIT": "1h"})
        wait_until(lambda: '"type":"attempt"' in self.journals())
        n = -1
        while self.journals().count('"type":"attempt"') != n:
            n = self.journals().count('"type":"attempt"')
            time.sleep(1)
        self.assertLess(n, 40)
        out, _ = self.finish(process)
        self.assertEqual(sum(e["event"] == "item_end" for e in self.events(out)), 40)

    def test_progress_is_left_out_for_a_reader_that_is_behind(self):
        pipeline = self.pipeline("  flood: { use: fixture/flood, with: { what: metric, amount: 60000 } }\n")
        process = self.start("run", pipeline, "--json", *fixtures())
        self.run_to_its_end(process)
        events = self.events(self.finish(process)[0])
        self.assertGreater(events[-1]["dropped"], 1000)
        self.assertEqual([e["state"] for e in events if e["event"] in ("task_end", "item_end")], ["done", "ok"])

    def test_reader_that_goes_away(self):
        """`sluice run --json | head -1`, and a pager that is quit."""
        pipeline = self.pipeline("  s: { use: fixture/sleepy, with: { duration: 100ms } }\n", head=HEAD)
        for words in (["--json"], []):
            process = self.start("run", pipeline, *self.files(8), *words, *fixtures())
            stream = process.stdout if words else process.stderr
            stream.readline()
            stream.close()
            self.assertEqual(process.wait(LIMIT), 0)
            (process.stderr if words else process.stdout).close()
            self.assertEqual([i["state"] for i in self.show()["items"]], ["ok"] * 8)

    def test_terminal_that_is_stopped(self):
        """Ctrl-S: the run goes on; Ctrl-Q shows the rest. The terminal's own flags stay as they were."""
        pipeline = self.pipeline("  s: { use: fixture/upper, in: { text: inputs.text } }\n", head="inputs: { text: { type: text/1 } }\n")
        master, slave = pty.openpty()
        termios.tcflow(slave, termios.TCOOFF)
        process = subprocess.Popen([SLUICE, "run", pipeline, *self.files(40), *fixtures()], cwd=self.folder, env=self.env,
                                   stdin=slave, stdout=slave, stderr=slave)
        self.run_to_its_end(process)
        self.assertIsNone(process.poll())
        self.assertFalse(fcntl.fcntl(slave, fcntl.F_GETFL) & os.O_NONBLOCK)
        termios.tcflow(slave, termios.TCOON)
        text = b""
        while b"has the details" not in text:
            text += os.read(master, 65536)
        os.set_blocking(master, False)
        def finished():
            try:
                os.read(master, 65536)
            except BlockingIOError:
                pass
            return process.poll() is not None
        wait_until(finished, 30, "the end of sluice")
        self.assertEqual(process.returncode, 0)
        self.assertIn(b"40 ok", text)
        os.close(master)
        os.close(slave)


main()
