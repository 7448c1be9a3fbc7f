"""Variants of espeak-ng's voices that are made at random, so that there are as many speakers as one likes: another size of the
vocal tract, other pitches, strengths and widths of formants, breath, roughness, and now and then the Klatt synthesiser.

espeak-ng looks for variants in its data; Data is a copy of it made of links, to which variants can be added.
"""
import ctypes
import os


def variant(r):
    """The text of a variant's file."""
    size, pitch = r.triangular(0.84, 1.24, 1.0), r.triangular(65, 250, 110)
    lines = ["language variant", "name own", "pitch %d %d" % (pitch, pitch * r.uniform(1.1, 2.0))]
    if r.random() < 0.12:
        lines.append("klatt %d" % r.randint(1, 4))
    for i in range(9):
        lines.append("formant %d %d %d %d" % (i, 100 * size * r.uniform(0.94, 1.06), r.uniform(60, 130), r.uniform(70, 170)))
    lines += ["flutter %d" % r.uniform(0, 8), "roughness %d" % r.uniform(0, 4), "voicing %d" % r.uniform(60, 130),
              "consonants %d %d" % (r.uniform(60, 150), r.uniform(60, 150))]
    if r.random() < 0.2:
        lines.append("breath " + " ".join("%d" % r.uniform(0, 5) for _ in range(8)))
    return "\n".join(lines) + "\n"


def installed():
    """The folder espeak-ng-data of this machine."""
    library, path = ctypes.CDLL("libespeak-ng.so.1"), ctypes.c_char_p()
    library.espeak_ng_InitializePath(None)
    library.espeak_Info(ctypes.byref(path))
    return path.value.decode()


def link(source, folder, but=None):
    os.makedirs(folder)
    for name in os.listdir(source):
        if name != but:
            os.symlink(os.path.join(source, name), os.path.join(folder, name))


class Data:
    """espeak-ng-data in `folder`, which has to be empty."""

    def __init__(self, folder):
        source, self.path = installed(), os.path.join(folder, "espeak-ng-data")
        self._variants = os.path.join(self.path, "voices", "!v")
        link(source, self.path, "voices")
        link(os.path.join(source, "voices"), os.path.join(self.path, "voices"), "!v")
        link(os.path.join(source, "voices", "!v"), self._variants)

    def add(self, name, text):
        with open(os.path.join(self._variants, name), "w", encoding="ascii") as file:
            file.write(text)
