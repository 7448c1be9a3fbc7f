#!/usr/bin/env python3
"""The engine's speed, beside its peers in the same run, as JSON lines: tests/bench/engine.py [BUILD [PART...]]

Parts: spawn, noop_tasks, overhead, hand_over, big_graph, queued_items; without any, all.

Peers that are not installed (GNU parallel, make, numpy) are told as "not measured". Nothing here fails a build.
"""
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(SOURCE, "build/release"))
SLUICE = os.path.join(BUILD, "bin/sluice")
WORKER = os.path.join(BUILD, "libexec/sluice/sluice-worker")
FIXTURES = os.path.join(BUILD, "tests/plugins")
PLUGINS = os.path.join(BUILD, "tests/bench-plugins")
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
TASKS = 1000


def say(**fields):
    print(json.dumps(fields), flush=True)


def ratio(name, ours, theirs, **fields):
    say(bench="ratio", case=name, ours=round(ours, 6), theirs=round(theirs, 6), ratio=round(theirs / ours, 2), **fields)


class Folder:
    """A private state and a folder of items, in the temporary folder or in `parent`."""

    def __init__(self, parent=None):
        self.parent = parent

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="sluice-bench-", dir=self.parent)
        self.env = dict(os.environ, SLUICE_STATE=self.path + "/state", SLUICE_CACHE=self.path + "/cache", SLUICE_CACHE_SIZE="0")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)

    def write(self, name, text):
        path = os.path.join(self.path, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def items(self, n):
        folder = os.path.join(self.path, "items")
        os.makedirs(folder, exist_ok=True)
        for i in range(n):
            with open(f"{folder}/f{i:05}.txt", "w") as f:
                f.write("x")
        return sorted(glob.glob(folder + "/*.txt"))[:n]

    def sluice(self, *args, **kwargs):
        return subprocess.run([SLUICE, *args], env=self.env, cwd=self.path, check=True, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, **kwargs)


def timed(call, rounds=3):
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def spawn():
    subprocess.run([os.path.join(BUILD, "tests/bench_spawn"), WORKER, os.path.join(FIXTURES, "fixture.so"), "fixture/hello"],
                   check=True)


def noop_run(f):
    """A call that runs the tasks with the state in this folder."""
    pipeline = f.write("p.yaml", "sluice: 1\nname: noop\ninputs: { file: { type: file/1 } }\n"
                                 "stages: { hello: { use: fixture/hello } }\n")
    items = f.items(TASKS)
    f.sluice("plugins", "--plugins", FIXTURES)
    return lambda: f.sluice("run", pipeline, *items, "-q", "--plugins", FIXTURES)


def noop_tasks():
    """1,000 tasks that each load a plugin in a fresh process, against tools that each run /bin/true 1,000 times; all in turn,
    the best of each."""
    words = "\n".join(map(str, range(TASKS)))
    with Folder() as disk, Folder(MEMORY) as memory:
        makefile = disk.write("Makefile", "all: " + " ".join(f"t{i}" for i in range(TASKS)) + "\n"
                              + "".join(f"t{i}: ; @/bin/true\n" for i in range(TASKS)) + ".PHONY: all\n")
        peers = {"GNU parallel": ["parallel", "-j2", "true", ":::", *map(str, range(TASKS))],
                 "make -j2": ["make", "-s", "-j2", "-f", makefile],
                 "xargs -P2": ["xargs", "-P2", "-n1", "/bin/true"]}
        calls = {"sluice": noop_run(disk), "sluice, state in memory": noop_run(memory)}
        ours = list(calls)
        for name, command in peers.items():
            if not shutil.which(command[0]) or (name == "GNU parallel" and not is_gnu_parallel()):
                say(bench="tasks", tool=name, result="not measured: not installed")
                continue
            calls[name] = lambda command=command: subprocess.run(command, input=words, text=True, check=True,
                                                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        best = {name: min(times) for name, times in in_turn(calls).items()}
        for name, took in best.items():
            say(bench="tasks", tool=name, tasks=TASKS, seconds=round(took, 3), per_second=round(TASKS / took))
        for name in set(best) - set(ours):
            for mine in ours:
                ratio(f"{TASKS} no-op tasks, {mine}, against {name}", best[mine], best[name])


def in_turn(calls, rounds=5):
    """Times of each call, one round after the other, so that what else the machine does hits all alike."""
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name] += [timed(call, 1)]
    return times


def is_gnu_parallel():
    return "GNU parallel" in subprocess.run(["parallel", "--version"], capture_output=True, text=True).stdout


def overhead():
    """What the engine adds to a task: one process for the batch, jobs that do nothing."""
    with Folder() as f:
        pipeline = f.write("p.yaml", "sluice: 1\nname: warm\ninputs: { file: { type: file/1 } }\n"
                                     "stages: { b: { use: bench/warm } }\n")
        items = f.items(TASKS)
        f.sluice("plugins", "--plugins", PLUGINS)
        one = timed(lambda: f.sluice("run", pipeline, items[0], "-q", "--plugins", PLUGINS))
        all_ = timed(lambda: f.sluice("run", pipeline, *items, "-q", "--plugins", PLUGINS))
        say(bench="overhead", tasks=TASKS, ms_per_task=round((all_ - one) / (TASKS - 1) * 1000, 3), one_task_run_ms=round(one * 1000, 2))


def metric(show, stage, name):
    for s in show["items"][0]["stages"]:
        if s["name"] == stage:
            return s["attempts"][-1]["metrics"][name]
    raise KeyError(stage)


def hand_over():
    """A 600 s recording made in one fresh process and summed in another; from the last sample written to the sum."""
    with Folder() as f:
        pipeline = f.write("p.yaml", "sluice: 1\nname: over\nstages:\n  fill: { use: bench/fill }\n"
                                     "  sum: { use: bench/sum, in: { audio: fill.audio } }\n")
        times = []
        for _ in range(15):
            f.sluice("run", pipeline, "-q", "--plugins", PLUGINS)
            show = json.loads(subprocess.run([SLUICE, "show", "last", "--json"], env=f.env, capture_output=True,
                                             text=True, check=True).stdout)
            times.append(metric(show, "sum", "at_s") - metric(show, "fill", "at_s"))
        ours = statistics.median(times)
        say(bench="hand-over", tool="sluice, fresh processes", seconds=600, ms=round(ours * 1000, 2), best_ms=round(min(times) * 1000, 2))
        for case in ("fresh", "warm"):
            done = subprocess.run([sys.executable, os.path.join(SOURCE, "tests/bench/pickle_peer.py"), case],
                                  capture_output=True, text=True)
            if done.returncode:
                say(bench="hand-over", tool=f"numpy and pickle, {case}", result="not measured: " + done.stderr.strip().splitlines()[-1])
                continue
            theirs = float(done.stdout)
            say(bench="hand-over", tool=f"numpy and pickle, {case} process", seconds=600, ms=round(theirs * 1000, 2))
            ratio(f"600 s handed over against numpy and pickle, {case}", ours, theirs)


def big_graph():
    with Folder() as f:
        text = "sluice: 1\nname: big\nstages:\n  s0: { use: fixture/hello }\n"
        text += "".join(f"  s{i}: {{ use: fixture/upper, in: {{ text: s{i // 2 if i % 3 else i - 1}.text }} }}\n"
                        for i in range(1, 10000))
        pipeline = f.write("p.yaml", text)
        f.sluice("plugins", "--plugins", FIXTURES)
        took = timed(lambda: f.sluice("check", pipeline, "--plugins", FIXTURES))
        say(bench="check", stages=10000, seconds=round(took, 3))


def queued_items():
    """Resident memory of the core with 10,000 items queued."""
    with Folder() as f:
        pipeline = f.write("p.yaml", "sluice: 1\nname: queue\ninputs: { file: { type: file/1 } }\n"
                                     "stages: { slow: { use: fixture/sleepy, with: { duration: 60s } } }\n")
        process = subprocess.Popen([SLUICE, "run", pipeline, *f.items(10000), "-q", "--plugins", FIXTURES], env=f.env,
                                   cwd=f.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began, peak = time.perf_counter(), 0
        while time.perf_counter() - began < 2:
            with open(f"/proc/{process.pid}/status") as status:
                peak = max(peak, *(int(line.split()[1]) for line in status if line.startswith("VmRSS")))
            time.sleep(0.05)
        process.terminate()
        process.wait()
        say(bench="queue", items=10000, core_rss_mib=round(peak / 1024, 1))


def main():
    subprocess.run(["cmake", "--build", BUILD, "--target", "bench_spawn", "bench_plugin", "--", "--quiet"], check=True)
    with open("/proc/loadavg") as f:
        say(bench="machine", cpus=os.cpu_count(), load=f.read().split()[:3], time=time.strftime("%Y-%m-%d %H:%M"))
    parts = {part.__name__: part for part in (spawn, noop_tasks, overhead, hand_over, big_graph, queued_items)}
    for name in sys.argv[2:] or parts:
        parts[name]()


main()
