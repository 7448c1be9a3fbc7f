"""What the integration tests share: a private folder, the programs of the build tree, and a check that no process is left.

Environment: SLUICE_BUILD, the build folder (default build/release); SLUICE_SANITIZE, the sanitizers it was built with.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("SLUICE_BUILD") or os.path.join(SOURCE, "build/release"))
SHARED = os.path.join(os.path.dirname(SOURCE), "shared")
SLUICE = os.path.join(BUILD, "bin/sluice")
WORKER = os.path.join(BUILD, "libexec/sluice/sluice-worker")
FIXTURES = os.path.join(BUILD, "tests/plugins")
CONFIGS = os.path.join(SOURCE, "configs")
DATA = os.path.join(SOURCE, "tests/data")
SANITIZED = bool(os.environ.get("SLUICE_SANITIZE"))

# Seconds for a command that should take a moment; sanitizers and busy machines get more.
LIMIT = 240 if SANITIZED else 90


def processes_with(text):
    """Pids of living processes whose environment holds `text`."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                environ = f.read()
            with open(f"/proc/{pid}/stat") as f:
                state = f.read().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if text.encode() in environ and state != "Z" and int(pid) != os.getpid():
            found.append(int(pid))
    return found


def children_of(pid):
    """Its children by their names."""
    found = {}
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        for word in f.read().split():
            try:
                with open(f"/proc/{word}/comm") as name:
                    found[int(word)] = name.read().strip()
            except OSError:
                pass
    return found


def workers_of(pid):
    """The children of a core, without its fork server, the process that asks the driver of the cards, and the one that syncs."""
    return [child for child, name in children_of(pid).items() if name not in ("sluice-fork", "sluice-gpu", "sluice-sync")]


def fork_server_of(pid):
    return next((child for child, name in children_of(pid).items() if name == "sluice-fork"), None)


def shared_memory():
    """Names in /dev/shm that are Sluice's; folders there belong to tests that run beside this one."""
    return [n for n in os.listdir("/dev/shm") if "sluice" in n and not os.path.isdir(os.path.join("/dev/shm", n))]


def wait_until(condition, seconds=30, what="condition"):
    """Waits for a true value and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what}: not true after {seconds} s")


class Case(unittest.TestCase):
    """A test with a folder of its own as working folder, state and cache; it fails if a process outlives it."""

    # Whether stages are in their sandbox. Those of the fixture plugins leave marks outside of it.
    confined = False

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="sluice-it-")
        self.state = os.path.join(self.folder, "state")
        self.env = dict(os.environ, SLUICE_STATE=self.state, SLUICE_CACHE=os.path.join(self.folder, "cache"),
                        SLUICE_CACHE_SIZE="0", LC_ALL="C.UTF-8")  # results are made, not reused: test_cache.py
        self.env.pop("SLUICE_PLUGIN_PATH", None)
        self.env["SLUICE_SANDBOX"] = "" if self.confined else "none"
        if SANITIZED:
            self.env["ASAN_OPTIONS"] = "detect_leaks=0:" + self.env.get("ASAN_OPTIONS", "")

    def tearDown(self):
        try:
            wait_until(lambda: not processes_with(self.state), 10, f"processes of {self.id()} gone")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w" if isinstance(text, str) else "wb") as f:
            f.write(text)
        return path

    def read(self, *names):
        with open(self.path(*names), encoding="utf-8") as f:
            return f.read()

    def sluice(self, *args, status=0, env=None):
        """Runs sluice to its end and checks its exit status."""
        done = subprocess.run([SLUICE, *args], cwd=self.folder, env=dict(self.env, **(env or {})), timeout=LIMIT,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if status is not None and done.returncode != status:
            self.fail(f"sluice {' '.join(args)}: exit {done.returncode}, not {status}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *args, env=None):
        """Starts sluice with JSON events on stdout."""
        return subprocess.Popen([SLUICE, *args], cwd=self.folder, env=dict(self.env, **(env or {})),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, process, status=0):
        out, err = process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, status, f"{out}\n{err}")
        return out, err

    def pipeline(self, stages, outputs="", head="", name="p.yaml"):
        """Writes a pipeline file from the text of its stages and outputs."""
        text = f"sluice: 1\nname: test\n{head}stages:\n{stages}"
        return self.write(name, text + (f"outputs:\n{outputs}" if outputs else ""))

    def show(self, run="last"):
        return json.loads(self.sluice("show", run, "--json").stdout)

    def attempts(self, stage, item=0, run="last"):
        for s in self.show(run)["items"][item]["stages"]:
            if s["name"] == stage:
                return s["attempts"]
        self.fail(f"no stage {stage} in the run")

    def run_folder(self, run="last"):
        return os.path.join(self.state, "runs", self.show(run)["id"])

    def left_overs(self, run="last"):
        """Files of a run folder that should not be there after its end, and processes of this test."""
        folder = self.run_folder(run)
        known = re.compile(r"journal|log|lock|pipeline\.yaml|items/[^/]+/[^/]+\.\d+\.log|logs/[^/]+\.worker-\d+\.log|quarantine/[^/]+/[^/]+\.txt")
        kept = {a["file"] for i in self.show(run)["items"] for s in i["stages"] for a in s["artifacts"]}
        files = [os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names]
        found = [f for f in files if not known.fullmatch(f) and f not in kept]
        return found + [n for n in os.listdir(folder) if n == "scratch"] + processes_with(self.state)

    def events(self, text):
        return [json.loads(line) for line in text.splitlines()]


def tree(folder):
    """The files of a folder: name -> bytes."""
    found = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        with open(os.path.join(folder, name), "rb") as f:
            found[name] = f.read()
    return found


def fixtures(*args):
    """Arguments that add the fixture plugins."""
    return [*args, "--plugins", FIXTURES]


def main():
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]], verbosity=2)


__all__ = ["BUILD", "CONFIGS", "Case", "DATA", "FIXTURES", "LIMIT", "SANITIZED", "SHARED", "SLUICE", "SOURCE", "WORKER",
           "children_of", "fixtures", "fork_server_of", "main", "os", "processes_with", "re", "shared_memory", "shutil", "signal",
           "subprocess", "sys", "time", "tree", "unittest", "wait_until", "workers_of", "json"]
