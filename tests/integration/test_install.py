"""An installation can be moved and runs from anywhere; plugins build against it with pkg-config."""
from harness import *


class Install(Case):
    confined = True
    def setUp(self):
        super().setUp()
        first = self.path("first")
        subprocess.run(["cmake", "--install", BUILD, "--prefix", first], check=True, stdout=subprocess.DEVNULL)
        self.prefix = self.path("moved here")
        os.rename(first, self.prefix)
        self.bin = os.path.join(self.prefix, "bin/sluice")

    def run_it(self, *args):
        return subprocess.run([self.bin, *args], cwd="/", env=self.env, check=True, capture_output=True, text=True,
                              timeout=LIMIT)

    def test_layout(self):
        for path in ("bin/sluice", "libexec/sluice/sluice-worker", "lib/sluice/plugins/whisper.so", "include/sluice/plugin.h",
                     "share/sluice/configs/transcribe.yaml", "share/sluice/models/whisper-synth/model.safetensors",
                     "share/sluice/schemas/transcript-1.json", "lib/pkgconfig/sluice.pc"):
            self.assertTrue(os.path.exists(os.path.join(self.prefix, path)), path)

    def test_runs_from_anywhere(self):
        self.run_it("run", os.path.join(self.prefix, "share/sluice/configs/transcribe.yaml"), os.path.join(DATA, "command.wav"),
                    "-o", self.path("out"))
        self.assertEqual(self.read("out/command.txt"), "Record the news in the basement.\n")
        for plugin in self.events(self.run_it("plugins", "--json").stdout):
            self.assertTrue(plugin["path"].startswith(self.prefix), plugin["path"])

    @unittest.skipIf(SANITIZED, "skipped: sanitizers keep the names of sources")
    def test_nothing_names_the_place_it_was_built_in(self):
        for folder, _, names in os.walk(self.prefix):
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    self.assertFalse(SOURCE.encode() in f.read(), os.path.join(folder, name))

    @unittest.skipUnless(shutil.which("pkg-config"), "skipped: pkg-config is absent")
    def test_a_plugin_builds_against_it(self):
        env = dict(self.env, PKG_CONFIG_PATH=os.path.join(self.prefix, "lib/pkgconfig"))
        flags = subprocess.run(["pkg-config", "--cflags", "sluice"], env=env, check=True, capture_output=True, text=True).stdout
        self.assertIn("include", flags)
        import shlex
        os.makedirs(self.path("plugins"))
        subprocess.run(["cc", "-shared", "-fPIC", "-fvisibility=hidden", *shlex.split(flags),
                        os.path.join(SOURCE, "tests/fixtures/plugins/minimal.c"), "-o", self.path("plugins/minimal.so")],
                       check=True)
        self.run_it("stage", "minimal/hello", "--plugins", self.path("plugins"), "-o", self.path("out"))
        self.assertTrue(os.listdir(self.path("out")))


main()
