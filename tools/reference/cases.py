"""Runs the reference over inputs and modes, and writes what it makes of them below tests/data/expected."""
import json

import reference
import toy


def twenty_inputs():
    inputs = [[{"wav": "meeting", "from": i * 4, "to": i * 4 + 3 + i % 3}] for i in range(7)]
    inputs += [[{"wav": "command"}], [{"wav": "noise-only"}]]
    return inputs + [[{"seed": seed, "seconds": 2 + seed % 5}] for seed in range(11)]


def write(name, inputs, modes, synth=False, multilingual=True):
    model = reference.load_synth() if synth else reference.load_toy(multilingual)
    cases = []
    for i, parts in enumerate(inputs):
        for mode, params in modes.items():
            cases.append({"input": i, "mode": mode, **reference.run(model, parts, params)})
            segments = cases[-1]["segments"]
            print(i, mode, [s["temperature"] for s in segments], sum(len(s["tokens"]) for s in segments), flush=True)
    text = json.dumps({"inputs": inputs, "modes": modes, "cases": cases}, separators=(",", ":"))
    (toy.ROOT / "tests/data/expected" / name).write_text(text.replace('{"input"', '\n{"input"') + "\n")
