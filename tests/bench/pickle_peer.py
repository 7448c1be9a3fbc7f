"""The design that Sluice replaces: an array pickled through a pipe to another Python process, summed there, and an array of
the same size back. pickle_peer.py fresh|warm prints the median seconds of a round trip."""
import pickle
import statistics
import subprocess
import sys
import time

import numpy as np

CHILD = """
import pickle, sys
import numpy as np
while True:
    try:
        a = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    s = float(a.sum())
    pickle.dump(a, sys.stdout.buffer, protocol=5)
    sys.stdout.buffer.flush()
"""


def start():
    return subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def round_trip(child, array):
    pickle.dump(array, child.stdin, protocol=5)
    child.stdin.flush()
    return pickle.load(child.stdout)


def main():
    array = np.ones(600 * 16000, np.float32)
    times, child = [], start()
    round_trip(child, array[:16000])
    for _ in range(9):
        began = time.perf_counter()
        if sys.argv[1] == "fresh":
            one = start()
            round_trip(one, array)
            one.stdin.close()
            one.wait()
        else:
            round_trip(child, array)
        times.append(time.perf_counter() - began)
    child.stdin.close()
    print(statistics.median(times))


main()
