"""Power cuts: what is on the disk when everything that was not synced is lost, from what tests/fixtures/preload/powercut.c kept."""
import os
import shutil

DIRECTORY, REGULAR, LINK = 4, 8, 10  # d_type


class Disk:
    """`root` as a power cut leaves it. Start processes with `env`; call cut() when they are gone."""

    def __init__(self, build, root, kept):
        self.root, self.kept = os.path.realpath(root), kept
        self.env = {"LD_PRELOAD": os.path.join(build, "tests/preload/powercut.so"), "POWERCUT": kept, "POWERCUT_ROOT": self.root}
        if os.environ.get("SLUICE_SANITIZE"):
            self.env["ASAN_OPTIONS"] = "verify_asan_link_order=0:detect_leaks=0:" + os.environ.get("ASAN_OPTIONS", "")
        shutil.rmtree(kept, ignore_errors=True)
        for part in "fd":
            os.makedirs(os.path.join(kept, part))

    def cut(self, rng=None):
        """Leaves what was synced. With `rng`, of the rest too what a disk may have written by chance: files that are there or
        not, whole, short, or full of zeros."""
        for name in sorted(os.listdir(self.root)):  # what was there before
            path = os.path.join(self.root, name)
            if not os.path.isdir(path):
                continue
            alive = os.path.join(self.root, ".alive-" + name)
            os.rename(path, alive)
            os.mkdir(path)
            self._restore(self._key_of(path), path)
            if rng:
                self._add_by_chance(alive, path, rng)
            shutil.rmtree(alive)

    def _key_of(self, path):
        for key in os.listdir(os.path.join(self.kept, "d")):
            if key.endswith(".tmp"):  # whoever wrote it was killed
                continue
            with open(os.path.join(self.kept, "d", key), errors="surrogateescape") as f:
                if f.readline().rstrip("\n") == path:
                    return key
        return None

    def _restore(self, key, to):
        path = os.path.join(self.kept, "d", key or "none")
        if not os.path.exists(path):
            return
        with open(path, errors="surrogateescape") as f:
            entries = f.read().splitlines()[1:]
        for entry in entries:
            key, kind, name = entry.split(" ", 2)
            target, kept = os.path.join(to, name), os.path.join(self.kept, "f", key)
            if int(kind) == DIRECTORY:
                os.mkdir(target)
                self._restore(key, target)
            elif int(kind) == REGULAR and os.path.exists(kept):
                shutil.copyfile(kept, target)
            elif int(kind) == REGULAR:
                open(target, "wb").close()

    @staticmethod
    def _add_by_chance(alive, made, rng):
        for at, folders, names in os.walk(alive):
            to = os.path.join(made, os.path.relpath(at, alive))
            folders[:] = sorted(n for n in folders if os.path.isdir(os.path.join(to, n)) or rng.random() < 0.5)
            for name in folders:
                os.makedirs(os.path.join(to, name), exist_ok=True)
            for name in sorted(names):
                if os.path.islink(os.path.join(at, name)) or rng.random() < 0.5:
                    continue
                with open(os.path.join(at, name), "rb") as f:
                    data = f.read()
                synced = b""
                if os.path.exists(os.path.join(to, name)):
                    with open(os.path.join(to, name), "rb") as f:
                        synced = f.read()
                grew = data.startswith(synced)  # else it was replaced: by all of the new one, or not at all
                n = rng.randrange(len(synced), len(data) + 1) if grew else len(data)
                with open(os.path.join(to, name), "wb") as f:
                    f.write(rng.choice([data, data, data[:n], data[:n] + bytes(len(data) - n)]))
