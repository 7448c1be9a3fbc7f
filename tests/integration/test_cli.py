"""The command line: help, errors, listings, checks, drawings."""
from harness import *


class CommandLine(Case):
    def test_version_and_help(self):
        self.assertRegex(self.sluice("version").stdout, r"^sluice \d+\.\d+\.\d+ \(plugin ABI \d+\.\d+\)\n$")
        self.assertEqual(self.sluice("--version").stdout, self.sluice("version").stdout)
        text = self.sluice("help").stdout
        self.assertEqual(self.sluice("help", "--help").stdout, text)
        for command in ("run", "check", "graph", "plugins", "stage", "runs", "show", "logs", "version"):
            self.assertIn(f"\n  {command} ", text)
            self.assertIn(f"usage: sluice {command}", self.sluice("help", command).stdout)
            self.assertIn(f"usage: sluice {command}", self.sluice(command, "--help").stdout)

    def test_bad_usage(self):
        for words, message in ((["rnu"], 'did you mean "run"'), (["run"], "no pipeline given"), ([], "usage:"),
                               (["run", "--jbos", "3", "x.yaml"], 'did you mean "--jobs"'),
                               (["run", "--jobs", "none", "x.yaml"], "whole number"), (["run", "--jobs"], "needs a value"),
                               (["check"], "one pipeline"), (["show"], "expected a run"), (["show", "nope"], "no such run"),
                               (["graph", os.path.join(CONFIGS, "transcribe.yaml"), "--format", "png"], "text, dot or svg"),
                               (["run", "missing.yaml", "a.wav"], "missing.yaml"),
                               (["run", os.path.join(CONFIGS, "transcribe.yaml")], "no files given"),
                               (["runs", "x"], '"x" is one word too many'), (["plugins", "audio", "x"], '"x" is one word too many'),
                               (["version", "x"], "too many"), (["doctor", "x"], "too many"),
                               (["plugins", "--plugins", "nowhere"], "nowhere: cannot be read as a folder of plugins"),
                               (["run", "--jobs", "100001", "x.yaml"], "from 1 to 100000"), (["help", "rnu"], 'did you mean "run"'),
                               (["stage"], "expected one stage"), (["stage", "audio/decode", "--in", "x"], "NAME=VALUE"),
                               (["plugins", "whispr"], 'did you mean "whisper"')):
            with self.subTest(words=words):
                self.assertIn(message, self.sluice(*words, status=2).stderr)

    def test_all_mistakes_at_once(self):
        bad = os.path.join(DATA, "bad/eight-mistakes.yaml")
        done = self.sluice("check", bad, status=2)
        lines = [line for line in done.stderr.splitlines() if ": error: " in line]
        self.assertEqual(len(lines), 8, done.stderr)
        for line in lines:
            self.assertRegex(line, r"^.*eight-mistakes\.yaml:\d+:\d+: error: ")
        self.assertEqual(self.sluice("run", bad, "x.wav", status=2).stderr, done.stderr)

    def test_shipped_pipelines_are_right(self):
        for name in sorted(os.listdir(CONFIGS)):
            if name.endswith(".yaml"):
                self.assertIn(": ok: ", self.sluice("check", os.path.join(CONFIGS, name)).stdout)

    def test_graph(self):
        pipeline = os.path.join(CONFIGS, "transcribe.yaml")
        text = self.sluice("graph", pipeline).stdout
        dot = self.sluice("graph", pipeline, "--format", "dot").stdout
        svg = self.sluice("graph", pipeline, "--format", "svg").stdout
        for drawing in (text, dot, svg):
            self.assertIn("whisper/transcribe", drawing)
        self.assertTrue(dot.startswith("digraph"))
        import xml.dom.minidom
        xml.dom.minidom.parseString(svg)

    def fake_dot(self, script):
        """A folder with a `dot` that is this script; the path of a picture of the shipped pipeline drawn with it."""
        path = self.write("bin/dot", "#!/bin/sh\n" + script)
        os.chmod(path, 0o755)
        return self.draw(f"relative::{self.path('bin')}:{os.environ['PATH']}")

    def draw(self, path):
        pipeline = os.path.join(CONFIGS, "transcribe.yaml")
        return self.sluice("graph", pipeline, "--format", "svg", env={"PATH": path})

    def test_svg_by_graphviz(self):
        """Graphviz draws where it is there and works; our own layout wherever it is not or does not."""
        os.makedirs(self.path("empty"))
        own = self.draw(self.path("empty"))
        self.assertEqual(own.stderr, "")
        self.assertIn("prefers-color-scheme", own.stdout)
        drawn = self.fake_dot('echo "<svg>$*" >/dev/fd/3; cat >&3; echo noise; echo noise >&2\n')
        self.assertEqual(drawn.stderr, "")
        self.assertTrue(drawn.stdout.startswith("<svg>-Tsvg -o /dev/fd/3\ndigraph"), drawn.stdout)
        large = self.fake_dot('echo "<svg>" >&3; head -c 3000000 /dev/zero | tr "\\0" x >&3\n')
        self.assertEqual(len(large.stdout), 3000006)
        for script, message in (("echo why not >&2; exit 3", "exited with status 3: why not"), ("exit 0", "drew no SVG"),
                                ("exec 3>&-; exec sleep 1000", "was not done in time"),
                                ("echo hello >&3", "drew no SVG"), ("exec yes >&3", "64 MiB")):
            with self.subTest(script=script):
                drawn = self.fake_dot(script + "\n")
                self.assertEqual(drawn.stdout, own.stdout)
                self.assertIn(message, drawn.stderr)
                self.assertRegex(drawn.stderr, r"^sluice: warning: /.*/bin/dot: .*; drawn without Graphviz\n$")
                wait_until(lambda: not processes_with(self.state), 10, "nothing of dot left")

    def test_plugins(self):
        text = self.sluice("plugins").stdout
        for stage in ("audio/decode", "whisper/transcribe", "export/srt", "export/json", "exec/command"):
            self.assertIn(stage, text)
        self.assertIn("audio/1", self.sluice("plugins", "audio/decode").stdout)
        plugins = self.events(self.sluice("plugins", "--json").stdout)
        stages = {s["id"]: s for p in plugins for s in p["stages"]}
        self.assertEqual([o["type"] for o in stages["whisper/transcribe"]["outputs"]], ["transcript/1", "attention/1"])

    def test_broken_plugins_are_listed_with_the_reason(self):
        os.makedirs(self.path("bad"))
        for name in ("undefined_symbol", "constructor_crash", "wrong_major"):
            shutil.copy(os.path.join(BUILD, "tests/plugins-bad", name + ".so"), self.path("bad"))
        text = self.sluice("plugins", "--plugins", "bad").stdout
        self.assertIn("undefined symbol", text)
        self.assertIn("abi_major", text)
        self.assertIn("Segmentation fault", text)
        self.assertIn("audio/decode", text)

    def test_runs_show_logs(self):
        self.assertIn("no runs yet", self.sluice("runs").stderr)
        pipeline = self.pipeline("  hello: { use: fixture/hello }\n", "  txt: { use: fixture/upper, in: { text: hello.text } }\n")
        for _ in range(3):
            self.sluice("run", pipeline, "-o", "out", *fixtures())
        runs = self.events(self.sluice("runs", "--json").stdout)
        self.assertEqual(len(runs), 3)
        ids = [r["id"] for r in runs]
        self.assertEqual([r["state"] for r in runs], ["ok"] * 3)
        self.assertEqual(len(self.sluice("runs").stdout.splitlines()), 3)
        self.assertEqual(len(self.sluice("runs", "-n", "2").stdout.splitlines()), 2)
        self.assertEqual(json.loads(self.sluice("show", ids[1], "--json").stdout)["id"], ids[1])
        text = self.sluice("show", ids[0]).stdout
        self.assertIn("fixture/hello", text)
        self.assertIn(self.path("out/test.txt"), text)
        self.assertIn("hello", self.sluice("logs", ids[0]).stdout)
        self.assertIn("no attempt of a stage", self.sluice("logs", ids[0], "nothing", status=2).stderr)

    def test_stage_by_hand(self):
        self.sluice("stage", "audio/decode", "--in", "file=" + os.path.join(DATA, "command.wav"), "-o", "out")
        self.assertEqual(os.listdir(self.path("out")), ["audio.safetensors"])
        self.sluice("stage", "whisper/transcribe", "--in", "audio=out/audio.safetensors", "--with", "language=en", "-o", "out")
        transcript = json.loads(self.read("out/transcript.json"))
        self.assertEqual(transcript["text"].strip(), "Record the news in the basement.")
        self.sluice("stage", "export/srt", "--in", "transcript=out/transcript.json", "-o", "out")
        self.assertIn("Record the news", self.read("out/text.txt"))

    def test_stage_errors(self):
        done = self.sluice("stage", "audio/decod", "--in", "file=x.wav", status=2)
        self.assertIn('did you mean "audio/decode"', done.stderr)
        done = self.sluice("stage", "audio/decode", "--in", "file=x.wav", "--with", "chanel=1", status=2)
        self.assertIn('did you mean "channel"', done.stderr)
        done = self.sluice("stage", "audio/decode", "--in", "file=missing.wav", status=1)
        self.assertIn("missing.wav", done.stderr)

    def test_stage_under_a_command(self):
        self.sluice("stage", "fixture/hello", "-o", "out", "--wrap", "env WRAPPED=1", *fixtures())
        self.assertTrue(os.listdir(self.path("out")))

    def test_completion(self):
        script = self.write("complete", self.sluice("completion", "bash").stdout)
        for words, want in ((["sluice", "ru"], ["run", "runs"]), (["sluice", "show", "la"], ["last"]), (["sluice", "resume", "la"], ["last"]),
                            (["sluice", "run", "--jo"], ["--jobs"]), (["sluice", "stage", "audio/d"], ["audio/decode"])):
            line = f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _sluice; echo ${{COMPREPLY[@]}}"
            env = dict(self.env, PATH=os.path.dirname(SLUICE) + ":" + self.env["PATH"])
            done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout.split(), want, done.stderr)
        zsh = self.sluice("completion", "zsh").stdout
        self.assertIn("#compdef sluice", zsh)
        self.assertIn('"plugins:list plugins, or show a stage\'s ports and parameters"', zsh)

    def test_manual_page(self):
        page = self.sluice("help", "--man").stdout
        self.assertTrue(page.startswith(".TH SLUICE 1"))
        for words in (".SS \"run PIPELINE.yaml", "\\fB\\-j\\fR, \\fB\\-\\-jobs\\fR", ".SS \"logs RUN"):
            self.assertIn(words, page)

    def test_colours_only_on_terminals(self):
        pipeline = self.pipeline("  hello: { use: fixture/hello }\n")
        words = " ".join([SLUICE, "run", pipeline, *fixtures()])
        plain = self.sluice("run", pipeline, *fixtures()).stderr
        self.assertNotIn("\x1b", plain)
        for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
            done = subprocess.run(["script", "-qec", words, "/dev/null"], env=dict(self.env, TERM="xterm", **extra),
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
            self.assertEqual("\x1b[32mok" in done.stdout, coloured, done.stdout)

    def test_quiet_prints_nothing(self):
        pipeline = self.pipeline("  hello: { use: fixture/hello }\n")
        done = self.sluice("run", pipeline, "-q", *fixtures())
        self.assertEqual(done.stderr, "")


main()
