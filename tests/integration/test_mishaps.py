"""What people do and what happens to them: odd names, outputs over inputs, closed and full outputs, no home."""
from harness import *

HEAD = "inputs: { text: { type: text/1 } }\n"
UP = "{ use: fixture/upper, in: { text: inputs.text } }"


class Mishaps(Case):
    def make(self, *outputs):
        return self.pipeline("  up: " + UP + "\n", "".join(f"  {name}: {UP}\n" for name in outputs), HEAD)

    def items(self):
        return [(i["name"], i["state"]) for i in self.show()["items"]]


class Names(Mishaps):
    def put(self, folder, names):
        os.makedirs(self.path(folder), exist_ok=True)
        for name in names:
            with open(os.path.join(os.fsencode(self.path(folder)), os.fsencode(name)), "w", encoding="ascii") as f:
                f.write("x")

    def run_folder_of(self, folder):
        """Runs over all files of the folder, in the order of their bytes."""
        files = [os.path.join(os.fsencode(folder), name) for name in sorted(os.listdir(os.fsencode(self.path(folder))))]
        done = subprocess.run([os.fsencode(SLUICE), b"run", b"p.yaml", b"-o", b"out", b"--plugins", os.fsencode(FIXTURES), b"--",
                               *files], cwd=self.folder, env=self.env, timeout=LIMIT, capture_output=True, check=True)
        done.stderr.decode()  # it is text, whatever the names are
        return [name for name, _ in self.items()]

    def test_bytes_that_are_no_text(self):
        self.make("txt")
        self.put("in", [b"caf\xe8.txt", b"caf\xe9.txt", b"nl\nx.txt", b"\x1b[31mred.txt"])
        names = self.run_folder_of("in")
        self.assertEqual(names, ["_[31mred", "in-caf_", "in-caf_-2", "nl_x"])
        self.assertEqual(sorted(os.listdir(self.path("out"))), sorted(name + ".txt" for name in names))
        self.assertEqual({state for _, state in self.items()}, {"ok"})

    def test_equal_after_numbers_were_given(self):
        self.make("txt")
        for name in ("a/x.txt", "b/a/x.txt", "a-x-2.txt", "a-x-2-2.txt", "a-x-2-2-2.txt", "c/a-x-2.txt"):
            self.write(name, name)
        self.sluice("run", "p.yaml", "a/x.txt", "b/a/x.txt", "a-x-2.txt", "a-x-2-2.txt", "a-x-2-2-2.txt", "c/a-x-2.txt", "-o",
                    "out", *fixtures())
        self.assertEqual(len({name for name, _ in self.items()}), 6)
        self.assertEqual(len(os.listdir(self.path("out"))), 6)

    def test_a_long_folder_is_cut_between_characters(self):
        self.make("txt")
        folders = ["日" * 21 + str(i) for i in range(2)]
        for folder in folders:
            self.put(folder, ["x.txt"])
        self.sluice("run", "p.yaml", *(f"{folder}/x.txt" for folder in folders), "-o", "out", *fixtures())
        self.assertEqual([name for name, _ in self.items()], ["日" * 20 + "-x", "日" * 20 + "-x-2"])


class Places(Mishaps):
    def refuse(self, *args, words):
        done = self.sluice("run", "p.yaml", *args, *fixtures(), status=2)
        self.assertIn(words, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_two_items_of_one_output(self):
        self.make("srt", "en.srt")
        for name in ("talk.txt", "talk.en.txt"):
            self.write(name, "x")
        self.refuse("talk.txt", "talk.en.txt", "-o", "out", words="talk and talk.en would both write talk.en.srt")
        self.assertFalse(os.path.exists(self.path("out")))

    def test_an_input_is_not_written_over(self):
        self.make("txt", "end")
        self.write("in/a.txt", "mine")
        self.write("in/b.txt", "mine")
        os.symlink("in", self.path("link"))
        words = 'output "txt" would be written over a.txt, which is an input of this run'
        self.refuse("in/a.txt", "-o", "in", words=words)
        self.refuse("link/b.txt", "in/a.txt", "-o", "link", words='output "txt" would be written over b.txt')
        # What names do not tell is seen when the file is written.
        os.mkdir(self.path("out"))
        os.symlink("../in/a.txt", self.path("out/a.txt"))
        self.write("out/a.end", "of an earlier run")
        done = self.sluice("run", "p.yaml", "in/a.txt", "-o", "out", *fixtures(), status=1)
        self.assertIn("out/a.txt: is an input of this run and is not written over", done.stderr)
        self.assertEqual((self.read("in/a.txt"), self.read("out/a.end")), ("mine", "of an earlier run"))

    def test_a_folder_that_cannot_be_written_is_said_before(self):
        self.make("txt")
        self.write("a.txt", "x")
        self.write("file", "x")
        self.refuse("a.txt", "-o", "file", words="/file: " + self.path("file") + " is not a folder")
        self.refuse("a.txt", "-o", "file/out/x", words=self.path("file") + " is not a folder")
        self.assertFalse(os.path.exists(self.state))
        os.mkdir(self.path("gone"))
        done = subprocess.run(["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", SLUICE, "run", self.path("p.yaml"), self.path("a.txt"),
                               "-o", "out", *fixtures()], cwd=self.path("gone"), env=self.env, timeout=LIMIT, capture_output=True,
                              text=True)
        self.assertEqual((done.returncode, done.stderr),
                         (2, "sluice: -o out: the working folder is gone; give an absolute path\n"))

    @unittest.skipUnless(os.getuid() == 0, "skipped: only root can become somebody else")
    def test_a_folder_of_others(self):
        self.make("txt")
        self.write("a.txt", "x")
        os.chmod(self.folder, 0o755)
        for name in ("mine", "state", "cache"):
            os.mkdir(self.path(name))
            os.chmod(self.path(name), 0o755 if name == "mine" else 0o777)
        somebody = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": self.folder, "env": self.env, "timeout": LIMIT,
                    "capture_output": True, "text": True}
        try:
            reach = subprocess.run(["sh", "-c", 'test -x "$0" && test -x "$1" && test -r "$2"', SLUICE, WORKER, FIXTURES],
                                   **somebody).returncode
        except OSError:
            reach = -1
        if reach != 0:
            self.skipTest("skipped: nobody else can be, or reaches the programs")
        done = subprocess.run([SLUICE, "run", "p.yaml", "a.txt", "-o", "mine/out", *fixtures()], **somebody)
        self.assertEqual((done.returncode, done.stderr),
                         (2, f"sluice: outputs cannot be written to {self.path('mine')}: Permission denied\n"))

    def test_folder_that_is_no_text(self):
        self.make("txt")
        self.write("a.txt", "x")
        done = subprocess.run([os.fsencode(SLUICE), b"run", b"p.yaml", b"a.txt", b"-o", b"\xff", b"--plugins", os.fsencode(FIXTURES)],
                              cwd=self.folder, env=self.env, timeout=LIMIT, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (2, "sluice: -o: the path of the folder is not UTF-8; choose another\n"))


class Surroundings(Mishaps):
    def shell(self, line, status=0, env=None):
        """A line for sh, in which $S is the program."""
        env = dict(self.env, S=SLUICE, P=FIXTURES, **(env or {}))
        done = subprocess.run(["sh", "-c", line], cwd=self.folder, env=env, timeout=LIMIT, capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def test_closed_standard_descriptors(self):
        """What is opened first does not become standard output: nothing is printed into the journal."""
        self.make("txt")
        self.write("a.txt", "x")
        self.shell('"$S" run p.yaml a.txt -o out --plugins "$P" <&- >&- 2>&-')
        self.assertEqual(self.read("out/a.txt"), "X")
        self.assertEqual((self.show()["state"], self.left_overs()), ("ok", []))

    def test_full_standard_output(self):
        self.make("txt")
        self.write("a.txt", "x")
        done = self.shell('"$S" plugins > /dev/full', 1)
        self.assertEqual(done.stderr, "sluice: standard output cannot be written: No space left on device\n")
        for option in ("", "--json"):
            done = self.shell(f'"$S" run p.yaml a.txt -o out {option} --plugins "$P" > /dev/full')
            self.assertIn("sluice: standard output: No space left on device; nothing more is written to it", done.stderr)
        self.assertEqual(self.show()["state"], "ok")

    def test_files_may_not_be_large(self):
        """ulimit -f: what cannot be written is said, by the core and for a stage."""
        self.make("txt")
        self.write("a.txt", "x" * 100000)
        done = self.shell('ulimit -f 0; "$S" run p.yaml a.txt -o out --plugins "$P"', 1)
        self.assertRegex(done.stderr, r"^sluice: .*: File too large\n$")
        self.assertEqual(os.listdir(os.path.join(self.state, "runs")), [])
        done = self.shell('ulimit -f 40; "$S" run p.yaml a.txt -o out --plugins "$P"', 1)
        self.assertIn("signal 25 (File size limit exceeded)", done.stderr)
        self.assertEqual(self.show()["state"], "failed")

    def test_variables_that_cannot_be_read(self):
        done = self.sluice("version", env={"SLUICE_CACHE_SIZE": "lots", "SLUICE_GPU_WAIT": "soon", "SLUICE_CONTAINMENT": "",
                                           "SLUICE_OUTPUT_WAIT": "1m", "SLUICE_SANDBOX": "off"})
        self.assertEqual(done.stderr.splitlines(), [
            f"sluice: warning: {name}: expected {what}; it counts as if it were not set" for name, what in (
                ("SLUICE_CACHE_SIZE=lots", "a size, such as 20GiB"), ("SLUICE_GPU_WAIT=soon", "a duration, such as 10m"),
                ("SLUICE_SANDBOX=off", "none or seccomp"))])

    def on_full_disk(self, line, status):
        """The line, with a full disk at `disk` that nobody else sees."""
        os.makedirs(self.path("disk"), exist_ok=True)
        mount = 'mount -t tmpfs -o size=4k none disk && { head -c 1m /dev/zero > disk/fill 2>/dev/null; true; }'
        done = subprocess.run(["unshare", "-m", "sh", "-c", f"{mount} || exit 77; {line}; echo $?; ls -AR disk"],
                              cwd=self.folder, env=dict(self.env, S=SLUICE, P=FIXTURES), timeout=LIMIT, capture_output=True, text=True)
        if done.returncode == 77 or "unshare" in done.stderr:
            self.skipTest("skipped: nothing can be mounted here")
        out, left = done.stdout.split("\n", 1)
        self.assertEqual(out, str(status), done.stderr)
        return left, done.stderr

    def test_full_disk(self):
        self.make("txt")
        self.write("a.txt", "x" * 10000)
        left, err = self.on_full_disk('"$S" run p.yaml a.txt -o disk/out --plugins "$P"', 1)
        self.assertIn("a: failed: " + self.path("disk/out/a.txt") + ": write failed: No space left on device", err)
        self.assertEqual(left, "disk:\nfill\nout\n\ndisk/out:\n")
        left, err = self.on_full_disk('SLUICE_STATE=disk/state "$S" run p.yaml a.txt -o out --plugins "$P"', 1)
        self.assertRegex(err, r"^sluice: .*: No space left on device\n$")
        self.assertEqual(left, "disk:\nfill\nstate\n\ndisk/state:\nruns\n\ndisk/state/runs:\n")

    def test_no_home(self):
        """Home is what the list of users says."""
        import pwd
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            self.skipTest("skipped: the list of users does not have this one")
        pipeline = self.pipeline('  say: { use: exec/command, with: { argv: [sh, -c, "echo $HOME > $1", sh, "${out.text}"], '
                                 'outputs: { text: text/1 } } }\n', "  txt: { use: fixture/upper, in: { text: say.text } }\n")
        self.shell(f'unset HOME; "$S" run {pipeline} -o out --plugins "$P"')
        self.assertEqual(self.read("out/test.txt"), home.upper() + "\n")


main()
