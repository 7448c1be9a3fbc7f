"""A model's folder: model.safetensors, JSON files, and the card, which is README.md for people and card.json for programs."""
import json
import os
import struct

import numpy as np

TYPES = {"float16": "F16", "float32": "F32"}


def write(path, data):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".part", "wb") as file:
        file.write(data)
    os.replace(path + ".part", path)


def write_json(path, value):
    write(path, json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


def read_json(path):
    """{} where there is none"""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def write_safetensors(path, tensors):
    """{name: array of float16 or float32}"""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": TYPES[str(value.dtype)], "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(np.ascontiguousarray(value).tobytes() for value in tensors.values())
    write(path, struct.pack("<Q", len(text)) + text + body)


def read_safetensors(path):
    """{name: array of float32}"""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    kinds = {written: name for name, written in TYPES.items()}
    return {name: np.frombuffer(data[slice(*t["data_offsets"])], kinds[t["dtype"]]).reshape(t["shape"]).astype(np.float32)
            for name, t in header.items() if name != "__metadata__"}


def arrays(state, kind=np.float16):
    """Tensors of torch as arrays."""
    return {name: value.detach().float().cpu().numpy().astype(kind) for name, value in state.items()}


def table(head, rows):
    """Lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| %s |\n" % " | ".join(str(cell) for cell in line) for line in lines)


class Card:
    """`about`: what it is and what it cannot do, Markdown; `facts`: {name: text} in a line or two each."""

    def __init__(self, name, about, languages):
        self.name, self.about, self.languages = name, about.strip(), languages
        self.facts, self.sections, self.figures = {}, [], {}

    def trained(self, made):
        """`made`: what training.json says."""
        self.facts["training"] = "%d steps in %.0f minutes on %s, seed %d; loss %.4f at the end" % (
            made["steps"], made["minutes"], made["device"], made["seed"], made["loss"])
        self.facts["material"] = made["material"]
        if "mixed" in made:
            self.facts["weights of another, and their share"] = made["mixed"]
        before, runs = made.get("start"), []
        while before:
            runs.append("%d steps in %.0f minutes, seed %d; %s" % (before["steps"], before["minutes"], before["seed"], before["material"]))
            before = before.get("start")
        if runs:
            self.facts["before that"] = "; before that ".join(runs)

    def add(self, title, text):
        self.sections.append("## %s\n\n%s" % (title, text.strip() + "\n"))

    def write(self, folder):
        text = "# %s\n\n%s\n\n%s" % (self.name, self.about, table(["", ""], self.facts.items()))
        text += "".join("\n" + section for section in self.sections)
        text += "\nLicence: our own work, free to redistribute under the project's licence (MIT).\n"
        write(os.path.join(folder, "README.md"), text.encode())
        write_json(os.path.join(folder, "card.json"),
                   {"licence": "MIT", "languages": self.languages, "figures": self.figures})
