"""tools/convert_diarization on checkpoints of random weights in the published layouts, written here as torch writes them."""
import io
import json
import os
import pickle
import random
import struct
import sys
import types
import unittest
import zipfile

from toolcase import ToolCase, load_tool

try:
    import numpy as np
except ImportError:
    print("skipped: numpy is absent, which tools/convert_diarization needs")
    sys.exit(0)


class Storage:
    """What a pickled tensor refers to."""

    def __init__(self, key, n):
        self.key, self.n = key, n


def rebuild(*_):
    pass


class FloatStorage:
    pass


class Surprise:
    """An object whose unpickling would run a command."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


def pretend_torch():
    """Modules by torch's names, so that pickles name what torch's do."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = "torch._utils", "_rebuild_tensor_v2", "_rebuild_tensor_v2"
    FloatStorage.__module__ = "torch"
    utils._rebuild_tensor_v2, torch.FloatStorage, torch._utils = rebuild, FloatStorage, utils
    sys.modules.update({"torch": torch, "torch._utils": utils})


class Tensor:
    def __init__(self, key, array):
        self.key, self.array = key, array

    def __reduce__(self):
        strides = tuple(step // 4 for step in self.array.strides)
        return rebuild, (Storage(self.key, self.array.size), 0, self.array.shape, strides, False, None)


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return ("storage", FloatStorage, value.key, "cpu", value.n) if isinstance(value, Storage) else None


def write_checkpoint(path, arrays, extra=None):
    arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    state = {name: Tensor(str(i), array) for i, (name, array) in enumerate(arrays.items())}
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"state_dict": state, "extra": extra})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", buffer.getvalue())
        for i, array in enumerate(arrays.values()):
            archive.writestr("archive/data/%d" % i, array.tobytes())


def read(folder):
    with open(os.path.join(folder, "model.safetensors"), "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    return {name: np.frombuffer(data[slice(*t["data_offsets"])], np.float32).reshape(t["shape"])
            for name, t in header.items()}, config


def segmentation(rng):
    def values(*shape):
        return rng.standard_normal(shape)

    state = {"sincnet.wav_norm1d.weight": values(1), "sincnet.wav_norm1d.bias": values(1)}
    bank = "sincnet.conv1d.0.filterbank."
    state.update({bank + "low_hz_": 300 * values(4, 1), bank + "band_hz_": 200 * values(4, 1),
                  bank + "window_": np.hamming(51)[:25], bank + "n_": values(1, 25)})
    for i, (n, m) in enumerate(((1, 8), (8, 6), (6, 6))):
        if i:
            state["sincnet.conv1d.%d.weight" % i], state["sincnet.conv1d.%d.bias" % i] = values(m, n, 5), values(m)
        state["sincnet.norm1d.%d.weight" % i], state["sincnet.norm1d.%d.bias" % i] = values(m), values(m)
    for layer, n in enumerate((6, 16)):
        for end in ("", "_reverse"):
            state["lstm.weight_ih_l%d%s" % (layer, end)] = values(32, n)
            state["lstm.weight_hh_l%d%s" % (layer, end)] = values(32, 8)
            for kind in ("ih", "hh"):
                state["lstm.bias_%s_l%d%s" % (kind, layer, end)] = values(32)
    for name, n, m in (("linear.0", 16, 8), ("classifier", 8, 7)):
        state[name + ".weight"], state[name + ".bias"] = values(m, n), values(m)
    return state


class Convert(ToolCase):
    tool = "convert_diarization"

    def setUp(self):
        super().setUp()
        self.rng = np.random.default_rng(1)
        pretend_torch()

    def path(self, name):
        return os.path.join(self.folder, name)

    def convert(self, kind, *files, status=0):
        done, _, message = self.run_tool(kind, *files, self.path("out"))
        self.assertEqual(done, status, message)
        return message if status else read(self.path("out"))

    def test_segmentation(self):
        state = segmentation(self.rng)
        write_checkpoint(self.path("m.bin"), state)
        tensors, config = self.convert("segmentation", self.path("m.bin"))
        self.assertEqual((config["speakers"], config["at_once"]), (3, 2))
        np.testing.assert_allclose(tensors["lstm.1.backward.bias"], state["lstm.bias_ih_l1_reverse"] + state["lstm.bias_hh_l1_reverse"],
                                   atol=1e-6)
        np.testing.assert_allclose(tensors["lstm.0.forward.weight_ih"], state["lstm.weight_ih_l0"], rtol=1e-6)
        filters = tensors["sincnet.0.weight"]
        self.assertEqual(filters.shape, (8, 1, 51))
        np.testing.assert_allclose(filters[:4], filters[:4, :, ::-1], atol=1e-7)   # cosines are even
        np.testing.assert_allclose(filters[4:], -filters[4:, :, ::-1], atol=1e-7)  # sines are odd
        np.testing.assert_allclose(filters[:4, 0, 25], 1, atol=1e-6)

    def test_normalisations_become_part_of_convolutions(self):
        state = {"resnet.seg_1.weight": self.rng.standard_normal((5, 2 * 4 * 10)), "resnet.seg_1.bias": np.zeros(5)}

        def convolution(name, norm, n, m, width):
            state["resnet.%s.weight" % name] = self.rng.standard_normal((m, n, width, width))
            for kind in ("weight", "bias", "running_mean"):
                state["resnet.%s.%s" % (norm, kind)] = self.rng.standard_normal(m)
            state["resnet.%s.running_var" % norm] = self.rng.random(m) + 0.5

        convolution("conv1", "bn1", 1, 4, 3)
        for layer in range(1, 5):
            block = "layer%d.0." % layer
            convolution(block + "conv1", block + "bn1", 4, 4, 3)
            convolution(block + "conv2", block + "bn2", 4, 4, 3)
            if layer > 1:
                convolution(block + "shortcut.0", block + "shortcut.1", 4, 4, 1)
        write_checkpoint(self.path("m.bin"), state)
        tensors, config = self.convert("embedding", self.path("m.bin"))
        self.assertEqual(config["mel_bands"], 80)
        self.assertIn("layer3.0.shortcut.bias", tensors)
        patch = self.rng.standard_normal((4, 3, 3))
        raw = (state["resnet.layer1.0.conv1.weight"] * patch).sum((1, 2, 3))
        norm = "resnet.layer1.0.bn1."
        wanted = (raw - state[norm + "running_mean"]) / np.sqrt(state[norm + "running_var"] + 1e-5)
        wanted = wanted * state[norm + "weight"] + state[norm + "bias"]
        found = (tensors["layer1.0.conv1.weight"] * patch).sum((1, 2, 3)) + tensors["layer1.0.conv1.bias"]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)

    def test_plda(self):
        tr = self.rng.standard_normal((6, 6))
        psi = np.sort(self.rng.random(6) * 5 + 0.1)[::-1]
        np.savez(self.path("t.npz"), mean1=np.zeros(9), mean2=np.zeros(6), lda=self.rng.standard_normal((9, 6)))
        np.savez(self.path("p.npz"), mu=np.zeros(6), tr=tr, psi=psi)
        tensors, _ = self.convert("plda", self.path("t.npz"), self.path("p.npz"))
        rows = tensors["transform"].astype(np.float64)
        within = np.linalg.inv(tr.T @ tr)
        between = np.linalg.inv((tr.T / psi) @ tr)
        np.testing.assert_allclose(rows @ within @ rows.T, np.eye(6), atol=1e-3)
        np.testing.assert_allclose(rows @ between @ rows.T, np.diag(tensors["psi"]), atol=1e-3)
        self.assertTrue((np.diff(tensors["psi"]) <= 0).all())

    def test_objects_of_a_checkpoint_do_nothing(self):
        write_checkpoint(self.path("m.bin"), segmentation(self.rng), Surprise())
        self.convert("segmentation", self.path("m.bin"))
        self.assertFalse(os.path.exists("pwned"))

    def test_what_is_no_checkpoint_is_said(self):
        for name, content in (("junk.bin", b"junk"), ("empty.bin", b"")):
            with open(self.path(name), "wb") as file:
                file.write(content)
            self.assertIn(name, self.convert("segmentation", self.path(name), status=2))
        write_checkpoint(self.path("m.bin"), {"a": np.zeros(3)})
        self.assertIn("is missing", self.convert("embedding", self.path("m.bin"), status=2))
        self.assertIn("missing.bin", self.convert("embedding", self.path("missing.bin"), status=2))

    def test_damaged_checkpoints_are_refused_or_read(self):
        write_checkpoint(self.path("m.bin"), {"seg_1.weight": np.zeros((3, 4))})
        with open(self.path("m.bin"), "rb") as file:
            whole = file.read()
        chance, tool = random.Random(1), load_tool("convert_diarization")
        for _ in range(200):
            data = bytearray(whole)
            for _ in range(3):
                data[chance.randrange(len(data))] = chance.randrange(256)
            with open(self.path("d.bin"), "wb") as file:
                file.write(data)
            try:
                tool.read_checkpoint(self.path("d.bin"))
            except tool.Unreadable:
                pass


unittest.main(verbosity=2)
