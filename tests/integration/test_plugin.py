"""sluice plugin new and sluice plugin check, as a user types them: made, built, run and tested, in C and in C++, against the
build tree and against an installation."""
from harness import *

TESTED = BUILD + "/tests/plugins-check"
COMPILERS = all(shutil.which(name) for name in ("cmake", "cc", "c++"))


class New(Case):
    def build(self, name):
        """Builds and tests a project with its own CMakeLists.txt, without what this test's environment adds."""
        folder = self.path(name)
        env = {k: v for k, v in self.env.items() if k not in ("CFLAGS", "CXXFLAGS", "DESTDIR")}
        for command in (["cmake", "-B", "build"], ["cmake", "--build", "build"],
                        ["ctest", "--test-dir", "build", "--output-on-failure", "--no-tests=error"]):
            done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT)
            self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}\n{done.stderr}")
            self.assertNotIn("warning", done.stdout + done.stderr)

    def make(self, *args):
        done = self.sluice("plugin", "new", *args)
        self.assertIn("next:", done.stdout)

    @unittest.skipUnless(COMPILERS, "needs cmake and compilers")
    def test_c(self):
        self.make("greeter")
        self.build("greeter")
        self.sluice("stage", "greeter/hello", "--plugins", "greeter/build", "-o", "out", "--with", "times=2")
        self.assertEqual(self.read("out", "text.txt"), "Hello, world!\nHello, world!\n")
        listed = json.loads(self.sluice("plugins", "greeter", "--plugins", "greeter/build", "--json").stdout)
        self.assertEqual(listed["stages"][0]["id"], "greeter/hello")

    @unittest.skipUnless(COMPILERS, "needs cmake and compilers")
    def test_cxx(self):
        self.make("greeter_cc", "--cxx", "-o", "deep/place")
        self.build("deep/place/greeter_cc")
        self.write("ada.txt", "Ada\n")
        self.sluice("run", "deep/place/greeter_cc/pipeline.yaml", "ada.txt", "--plugins", "deep/place/greeter_cc/build",
                    "-o", "out")
        self.assertEqual(self.read("out", "ada.txt"), "Hello, Ada!\n")

    @unittest.skipUnless(COMPILERS and not SANITIZED, "needs cmake and compilers, and no sanitizer")
    def test_against_an_installation(self):
        """A project finds the installation that made it, or another one through pkg-config, by its own path or -D."""
        prefix = self.path("installed")
        for part in ("bin/sluice", "libexec/sluice/sluice-worker"):
            os.makedirs(os.path.dirname(f"{prefix}/{part}"), exist_ok=True)
            shutil.copy(f"{BUILD}/{part}", f"{prefix}/{part}")
        shutil.copytree(f"{SOURCE}/core/include", f"{prefix}/include")
        os.makedirs(f"{prefix}/lib/pkgconfig")
        shutil.copy(f"{BUILD}/core/sluice.pc", f"{prefix}/lib/pkgconfig/sluice.pc")
        subprocess.run([f"{prefix}/bin/sluice", "plugin", "new", "greeter"], cwd=self.folder, check=True, capture_output=True)
        self.assertIn(f'"{prefix}"', self.read("greeter", "CMakeLists.txt"))
        self.build("greeter")
        shutil.rmtree(self.path("greeter/build"))
        text = self.read("greeter", "CMakeLists.txt").replace(f'"{prefix}"', '"/nowhere"')
        self.write("greeter/CMakeLists.txt", text)
        self.env["PKG_CONFIG_PATH"] = f"{prefix}/lib/pkgconfig"
        self.build("greeter")

    def test_refusals(self):
        for name in ("Greeter", "9lives", "a-b", "../x", ""):
            done = self.sluice("plugin", "new", name, status=2)
            self.assertIn("cannot be the name of a plugin", done.stderr)
        self.make("greeter")
        before = self.read("greeter", "greeter.c")
        self.write("greeter/greeter.c", before + "/* mine */\n")
        done = self.sluice("plugin", "new", "greeter", "--cxx", status=2)
        self.assertIn("exists already", done.stderr)
        self.assertEqual(self.read("greeter", "greeter.c"), before + "/* mine */\n")
        self.write("file", "x")
        self.assertIn("file", self.sluice("plugin", "new", "other", "-o", "file", status=2).stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), ["file", "greeter"])
        self.assertIn("usage:", self.sluice("plugin", "new", status=2).stderr)
        self.assertIn("usage:", self.sluice("plugin", status=2).stderr)

    def test_nothing_of_a_template_is_left(self):
        self.make("greeter")
        self.make("greeter_cc", "--cxx")
        for folder in ("greeter", "greeter_cc"):
            for name in os.listdir(self.path(folder)):
                self.assertNotIn("@NAME@", self.read(folder, name), name)
                self.assertNotRegex(self.read(folder, name), "@[A-Z]+@", name)
        self.assertTrue(os.access(self.path("greeter/test.sh"), os.X_OK))
        self.assertNotIn("greeter.cc", os.listdir(self.path("greeter")))


class Check(Case):
    def check(self, plugin, *args, status=0):
        """Outcomes by test, and the summary."""
        done = self.sluice("plugin", "check", plugin, "--json", "--limit", "5", *args, status=status)
        lines = self.events(done.stdout)
        return {f"{r['stage'] or ''}:{r['test']}": r for r in lines[:-1]}, lines[-1]

    def test_json_and_counts(self):
        results, summary = self.check(FIXTURES + "/recommended.so", status=None)
        self.assertEqual(sum(summary[k] for k in ("ok", "warn", "skip", "fail")), len(results))
        self.assertEqual(results["recommended/redact:inputs.typical"]["outcome"], "ok")
        self.assertFalse(summary["stopped"])

    def test_failures_make_exit_1(self):
        results, summary = self.check(FIXTURES + "/fixture.so", "--only", "fixture/crash:inputs", status=1)
        self.assertEqual({r["outcome"] for r in results.values()}, {"fail"})
        self.assertEqual(summary["fail"], 4)
        self.assertIn("Segmentation fault", results["fixture/crash:inputs.typical"]["why"])

    def test_selection(self):
        results, _ = self.check(FIXTURES + "/fixture.so", "--only", "elf", "--only", "fixture/hello:create.defaults",
                                "--except", "elf.exports")
        self.assertIn("fixture/hello:create.defaults", results)
        self.assertIn(":elf.format", results)
        self.assertNotIn(":elf.exports", results)
        self.assertEqual([k for k in results if not k.startswith((":elf", "fixture/hello"))], [])
        self.assertIn("no test or stage", self.sluice("plugin", "check", FIXTURES + "/minimal.so", "--only", "x",
                                                      status=2).stderr)

    def test_parameters(self):
        exec_so = BUILD + "/lib/sluice/plugins/exec.so"
        results, _ = self.check(exec_so, "--only", "inputs.typical")
        self.assertIn("--with exec/command.argv=VALUE", results["exec/command:inputs.typical"]["why"])
        results, _ = self.check(exec_so, "--only", "inputs.typical", "--with", "command.argv=[wc, '${in.extra}']")
        self.assertEqual(results["exec/command:inputs.typical"]["outcome"], "ok")

    def test_in_one_process(self):
        results, _ = self.check(FIXTURES + "/minimal.so", "--in-process", "--except", "memory", "--except", "repeat", status=None)
        self.assertEqual(results["minimal/hello:inputs.typical"]["outcome"], "ok")

    def test_list(self):
        names = [json.loads(line)["test"] for line in self.sluice("plugin", "check", "--list", "--json").stdout.splitlines()]
        self.assertIn("inputs.hostile", names)
        self.assertEqual(len(names), len(set(names)))

    def test_interrupted(self):
        """Ctrl-C ends the worker and removes the temporary files; 130."""
        self.env["TMPDIR"] = self.path("tmp")
        os.mkdir(self.path("tmp"))
        p = self.start("plugin", "check", FIXTURES + "/fixture.so", "--only", "fixture/silent:inputs", "--json")
        wait_until(lambda: os.listdir(self.path("tmp")) and len(processes_with(self.state)) > 2, what="a worker")
        p.send_signal(signal.SIGINT)
        out, _ = self.finish(p, 130)
        self.assertTrue(self.events(out)[-1]["stopped"])
        self.assertEqual(os.listdir(self.path("tmp")), [])

    def test_nothing_is_left(self):
        self.env["TMPDIR"] = self.path("tmp")
        os.mkdir(self.path("tmp"))
        self.check(TESTED + "/manners.so", "--only", "manners/exits", status=1)
        self.assertEqual(os.listdir(self.path("tmp")), [])


if __name__ == "__main__":
    main()
