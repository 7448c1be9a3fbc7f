"""The sandbox of stages: what it denies and allows, who is in it, and what is said where it is not there."""
from harness import *

STAGE = """  visit: {{ use: fixture/trespass, in: {{ file: inputs.audio }}{more},
    with: {{ outside: "@{outside}", model: "{model}", loudly: {loudly} }} }}
"""
OUT = """  txt: { use: exec/command, in: { text: visit.text },
    with: { argv: [cp, "${in.text}", "${out.text}"], outputs: { text: text/1 } } }
"""
HEAD = "inputs: { audio: { type: file/1 } }\n"
DENIED = {"read", "write", "change", "cut", "remove", "passwords", "write_input"}
CALLS = {"network", "network_6", "daemons", "ring", "mount", "namespace", "clone", "device", "trace", "exec_rights"}
ALLOWED = {"scratch", "input", "model", "library", "program", "thread", "facts", "pair"}


class Sandbox(Case):
    confined = True
    def setUp(self):
        super().setUp()
        self.write("outside/secret", "mine")
        self.write("in/a.wav", "x")
        self.write("models/real/weights", "x")
        os.symlink(self.path("models/real/weights"), self.path("model-link"))
        self.has_landlock = "Landlock and" in self.check()

    def make(self, more="", loudly="false", head=HEAD):
        self.pipeline(STAGE.format(more=more, outside=self.path("outside"), model=self.path("model-link"), loudly=loudly), OUT,
                      head=head)

    def check(self):
        self.make()
        return self.sluice(*fixtures("check", "p.yaml")).stdout

    def visit(self, **env):
        """What each thing that was tried came to, as a map; and the log of the attempt."""
        self.sluice(*fixtures("run", "p.yaml", "in/a.wav", "-o", "out"), env=env)
        lines = dict(line.split(": ", 1) for line in self.read("out/a.txt").splitlines())
        return lines, self.sluice("logs", "last", "visit").stdout

    def check_denied(self, lines, log, names):
        for name in sorted(names):
            self.assertTrue(lines[name].startswith("denied ("), f"{name}: {lines[name]}")
            self.assertIn(f"{name}: denied (", log)

    def check_done(self, lines, names):
        for name in sorted(names):
            self.assertEqual(lines[name], "done", name)

    def test_what_is_denied_and_what_is_allowed(self):
        self.make()
        lines, log = self.visit()
        self.check_denied(lines, log, CALLS | (DENIED if self.has_landlock else set()))
        self.check_done(lines, ALLOWED)
        if self.has_landlock:
            self.assertEqual(self.read("outside/secret"), "mine")
            self.assertEqual(os.listdir(self.path("outside")), ["secret"])
        else:
            print("    files: skipped: this kernel has no Landlock", file=sys.stderr)

    def test_artifacts_of_other_items_are_hidden(self):
        """A stage with a process for each item sees what it takes, and nothing else of the run."""
        if not self.has_landlock:
            self.skipTest("this kernel has no Landlock")
        for name in "ab":
            self.write(f"in/{name}.txt", f"this is {name}\n")
        self.pipeline("""\
  up:  { use: fixture/upper, in: { text: inputs.text }, sandbox: none }
  spy: { use: exec/command, in: { text: up.text }, sandbox: "${params.sandbox}",
         with: { argv: [sh, -c, 'd=$(dirname "$1"); { cat "$1" "$d/../a/up.text.txt"; ls "$d"; } >"$2" 2>/dev/null; true',
                        sh, "${in.text}", "${out.text}"], outputs: { text: text/1 } } }
""", "  txt: { use: exec/command, in: { text: spy.text }, sandbox: none, with: { argv: [cp, \"${in.text}\", \"${out.text}\"], outputs: { text: text/1 } } }\n",
                      "inputs: { text: { type: text/1 } }\nparams: { sandbox: { default: default } }\n")
        args = fixtures("run", "p.yaml", "in/a.txt", "in/b.txt", "-o", "out", "-j", "1", "--keep-artifacts")
        self.sluice(*args)
        self.assertEqual(self.read("out/b.txt"), "THIS IS B\n")
        self.sluice(*args, "--set", "sandbox=none")
        self.assertIn("THIS IS B\nTHIS IS A\n", self.read("out/b.txt"))
        self.assertIn("up.text.txt", self.read("out/b.txt"))

    def test_one_stage_by_hand(self):
        """A stage under a debugger is not confined."""
        self.make()
        self.sluice(*fixtures("stage", "fixture/trespass", "--with", "outside=@" + self.path("outside"), "-o", "one"))
        self.assertIn("network: denied", self.read("one/text.txt"))
        self.sluice(*fixtures("stage", "fixture/trespass", "--with", "outside=@" + self.path("outside"), "-o", "two",
                              "--wrap", "env"))
        self.assertIn("network: done", self.read("two/text.txt"))

    def test_workers_that_are_execed(self):
        """Whose fork server is killed until they do without one."""
        self.make()
        for i in range(40):
            self.write(f"many/c{i:02}.wav", "x")
        process = self.start(*fixtures("run", "p.yaml", "many", "-o", "out", "--jobs", "1"))
        while process.poll() is None:
            server = fork_server_of(process.pid) if os.path.exists(f"/proc/{process.pid}") else None
            if server:
                os.kill(server, signal.SIGKILL)
            time.sleep(0.005)
        self.finish(process)
        self.assertIn("workers are started without one from here on", self.read(os.path.join(self.run_folder(), "log")))
        for i in range(40):
            self.assertIn("network: denied", self.read(f"out/c{i:02}.txt"))

    def test_network_where_it_is_declared(self):
        self.make(", network: true")
        lines, log = self.visit()
        self.check_done(lines, {"network", "network_6", "daemons"})
        self.check_denied(lines, log, CALLS - {"network", "network_6", "daemons"})
        self.assertIn("with network: visit", self.sluice(*fixtures("check", "p.yaml")).stdout)
        found = json.loads(self.sluice(*fixtures("check", "--json", "p.yaml")).stdout)
        self.assertEqual((found["not_confined"], found["with_network"]), (["txt"], ["visit"]))

    def test_none(self):
        self.make(", sandbox: none")
        lines, _ = self.visit()
        self.check_done(lines, {"read", "change", "network"} | ALLOWED)
        self.assertIn("not confined: visit", self.sluice(*fixtures("check", "p.yaml")).stdout)

    def test_a_failure_says_what_may_be_behind_it(self):
        self.make(loudly="true")
        if not self.has_landlock:
            self.skipTest("skipped: this kernel has no Landlock")
        done = self.sluice(*fixtures("run", "p.yaml", "in/a.wav", "-o", "out"), status=1)
        self.assertIn("read: denied (Permission denied); the stage is confined", done.stderr)

    def test_kernels_without_landlock(self):
        self.make()
        lines, log = self.visit(SLUICE_SANDBOX="seccomp")
        self.check_denied(lines, log, CALLS - {"device"})
        self.check_done(lines, {"read"} | ALLOWED)
        self.assertIn("there is no Landlock, so files are open to stages", self.show()["sandbox"])
        self.assertIn("there is no Landlock", self.read(os.path.join(self.run_folder(), "log")))
        self.assertIn("there is no Landlock", self.sluice(*fixtures("check", "p.yaml"), env={"SLUICE_SANDBOX": "seccomp"}).stdout)

    def test_who_is_in_it(self):
        """Programs of the user's are not, unless the file says so; a folder of many files may be read by a kept worker."""
        self.pipeline(f"  mine: {{ use: exec/command, with: {{ argv: [cat, {self.path('outside/secret')}], "
                      "outputs: {} } }\n")
        self.assertIn("not confined: mine", self.sluice("check", "p.yaml").stdout)
        self.sluice("run", "p.yaml")
        self.pipeline("  mine: { use: exec/command, in: { file: inputs.audio }, "
                      "with: { argv: [sh, -c, 'cat \"$0\" ; mkdir " + self.path("never") + "', \"${in.file}\"] } }\n",
                      head=HEAD + "defaults: { sandbox: default, retry: { attempts: 1 } }\n")
        if self.has_landlock:
            done = self.sluice("run", "p.yaml", "in/a.wav", status=1)
            self.assertIn("Permission denied", done.stderr)
        self.pipeline("  up: { use: fixture/hello, sandbox: maybe, network: yes }\n")
        text = self.sluice(*fixtures("check", "p.yaml"), status=2).stderr
        self.assertIn('sandbox: expected default or none, found text "maybe"', text)
        self.assertIn('network: expected true or false, found text "yes"', text)


main()
