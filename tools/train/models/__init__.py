"""The models by name. Each module has Task, whose use training/loop.py describes, and export(network, folder)."""
import importlib
import os

NAMES = {"vad-synth": "vad", "speaker-synth/segmentation": "segmentation", "speaker-synth/embedding": "embedding",
         "scribe-synth": "scribe", "whisper-synth": "whisper"}


def module(name):
    return importlib.import_module("models." + NAMES[name])


def task(name, options):
    return module(name).Task(options)


def export(name, network, path, record, options, task):
    """The model's files, and training.json, which says how they were made."""
    from training import folder
    if hasattr(task, "trained"):  # what becomes of the weights that were learned
        network = task.trained(network)
    module(name).export(network, path)
    if hasattr(task, "finish"):  # files that do not come from the network
        task.finish(path)
    made = {"mixed": os.path.basename(task.mix).replace("=", ", ")} if getattr(task, "mix", None) else {}  # no paths of this machine
    if getattr(task, "start", None):
        made["start"] = folder.read_json(os.path.join(task.start, "training.json"))
    folder.write_json(os.path.join(path, "training.json"), {
        "model": name, **made, "seed": options.seed, "device": options.device, "smoke": options.smoke, "steps": record.steps,
        "minutes": round(record.seconds / 60, 1), "loss": round(record.loss, 4), "material": task.material,
        "log": record.log[::max(1, len(record.log) // 30)] + record.log[-1:]})
