#!/usr/bin/env python3
"""Leaves out the barriers of kernels, one at a time, and sees whether a test notices.

    mutate.py [--in PART] [--seeds 0,1,2] [--at-least N] [--cases A,B] TEST [RACES]

TEST and RACES are programs of sluice_cuda_test(): the ordinary one, and the one with ThreadSanitizer, which is tried where no
seed of the first notices. A barrier is any place where threads wait for each other or for a copy (__syncthreads, __syncwarp,
cp.async.wait) that the test runs through; PART limits them to files whose path holds it, --cases the
cases of the test that are run. Prints a line for each:
who noticed. Exit: 0 every one was noticed, and there were at least N; 1 otherwise; 77 the test itself skips.
"""
import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading


def run(args, program, limit, **env):
    """The exit status; 1 as soon as a case fails, or where time is up."""
    env = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1 atexit_sleep_ms=0", **env}
    process = subprocess.Popen([program, *args.cases], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               start_new_session=True)
    late = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
    late.start()
    failed = any(line.startswith("FAIL") for line in process.stdout)
    late.cancel()
    if failed:
        os.killpg(process.pid, signal.SIGKILL)
    status = process.wait()
    return 1 if failed or status < 0 else status


def barriers(args):
    """The places as 'file:line kind', in the order of the source; and the test's exit status."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sites")
        status = run(args, args.test, args.limit, SLUICE_EMU_SITES=path, SLUICE_EMU_SEED="0")
        lines = open(path).read().split("\n") if os.path.exists(path) else []
    found = {tuple(line.rsplit(" ", 1)) for line in lines if args.part in line}
    return sorted(found, key=lambda site: (site[0].rsplit(":", 1)[0], int(site[0].rsplit(":", 1)[1]))), status


def noticed(args, place):
    """Who notices that the barrier is not there."""
    for seed in args.seeds.split(","):
        if run(args, args.test, args.limit, SLUICE_EMU_DROP=place, SLUICE_EMU_SEED=seed) not in (0, 77):
            return f"result, seed {seed}"
    if args.races and run(args, args.races, 4 * args.limit, SLUICE_EMU_DROP=place, SLUICE_EMU_SEED="1") not in (0, 77):
        return "race"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--in", dest="part", default="plugins/")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--at-least", type=int, default=1)
    parser.add_argument("--cases", type=lambda text: text.split(","), default=[])
    parser.add_argument("--limit", type=float, default=120)
    parser.add_argument("test")
    parser.add_argument("races", nargs="?")
    args = parser.parse_args()
    places, status = barriers(args)
    if status:
        print(f"{args.test} does not pass as it is: exit {status}")
        return status if status == 77 else 1
    n_unnoticed = 0
    for place, kind in places:
        who = noticed(args, place)
        n_unnoticed += who is None
        print(f"{place:44} {kind:16} {who or 'NOT NOTICED'}", flush=True)
    if len(places) < args.at_least:
        print(f"{len(places)} barriers, and at least {args.at_least} were expected")
    return 1 if n_unnoticed or len(places) < args.at_least else 0


if __name__ == "__main__":
    sys.exit(main())
