"""The training loop: a budget of minutes, checkpoints, a log; stopped at any time, it goes on where it was.

Step n of a run with seed s draws its batch from (s, n) alone. The learning rate follows the share of the budget that is
spent, so that a run ends annealed however slow the machine is; time that a run was stopped for does not count. Workers
(training/together.py) have a batch each in a step.
"""
import json
import math
import os
import time

import numpy as np
import torch

from training import together
from training.muon import Muon

SAVE_EVERY_S, LOG_EVERY_S = 60, 20
WARM_STEPS = 100
LAST_STEPS = 30  # whose mean loss is that of a run, however long a step takes


def half_is_fast(device):
    """Whether products in bfloat16 have units of their own."""
    if device != "cpu":
        return True
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return "amx_bf16" in file.read()
    except OSError:
        return False


class Record:
    """What became of a run, for the model card."""

    def __init__(self):
        self.steps, self.seconds, self.loss, self.log, self.last = 0, 0.0, math.nan, [], []


class Run:
    """`task` has name, rate, decay, clip, smoke_steps, smoke_loss, network(), batch(rng) -> tensors, loss(network, *tensors);
    where matrices of its network are for Muon, muon_rate and is_matrix(name); where the mean of its weights over the last steps
    is what is wanted, `averaged`, the share that the mean keeps in a step; `half` where it learns in bfloat16 on a CPU too."""

    def __init__(self, task, options):
        self.task, self.options, self.record = task, options, Record()
        torch.manual_seed(options.seed)
        torch.set_num_threads(options.threads)
        self.network = task.network().to(options.device)
        self._half = half_is_fast(options.device) and (options.device != "cpu" or getattr(task, "half", False))
        self._mean = None
        self._optimisers = self._make_optimisers()
        kind = "smoke" if options.smoke else "full"
        self._folder = os.path.join(options.cache, "runs", "%s-%s-%d" % (task.name.replace("/", "-"), kind, options.seed))
        os.makedirs(self._folder, exist_ok=True)
        self._load()

    def _make_optimisers(self):
        """[(optimiser, rate)]; matrices decay, biases and scales do not."""
        task, muon, other = self.task, [], []
        for name, p in self.network.named_parameters():
            if p.requires_grad:
                (muon if hasattr(task, "muon_rate") and p.dim() == 2 and task.is_matrix(name) else other).append(p)
        groups = [{"params": [p for p in other if p.dim() > 1], "weight_decay": task.decay},
                  {"params": [p for p in other if p.dim() < 2], "weight_decay": 0}]
        made = [(torch.optim.AdamW(groups, lr=task.rate, betas=(0.9, 0.98)), task.rate)]
        return made + ([(Muon(muon, task.muon_rate, torch.bfloat16 if self._half else torch.float32), task.muon_rate)] if muon else [])

    def _path(self):
        return os.path.join(self._folder, "state.pt")

    def _load(self):
        if not os.path.exists(self._path()):
            return
        state = torch.load(self._path(), map_location=self.options.device)
        self.network.load_state_dict(state["network"])
        self._mean = state.get("mean")
        for (optimiser, _), saved in zip(self._optimisers, state["optimisers"]):
            optimiser.load_state_dict(saved)
        self.record.__dict__.update(state["record"])

    def _save(self):
        if self.options.rank:
            return
        state = {"network": self.network.state_dict(), "record": self.record.__dict__, "mean": self._mean,
                 "optimisers": [optimiser.state_dict() for optimiser, _ in self._optimisers]}
        torch.save(state, self._path() + ".part")
        os.replace(self._path() + ".part", self._path())

    def _share(self):
        if self.options.smoke:
            return self.record.steps / self.task.smoke_steps
        return self.record.seconds / (60 * self.options.minutes) if self.options.minutes > 0 else 1

    def _step(self, share):
        task, device = self.task, self.options.device
        factor = min(1, (self.record.steps + 1) / (10 if self.options.smoke else WARM_STEPS))
        factor *= max(0.02, 0.5 + 0.5 * math.cos(math.pi * min(1, max(0, (share - 0.1) / 0.9))))
        for optimiser, rate in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
        which = [self.options.seed, self.record.steps] + [self.options.rank] * (self.options.rank > 0)
        batch = [x.to(device) for x in task.batch(np.random.default_rng(which))]
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=self._half):
            loss = task.loss(self.network, *batch)
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        together.mean([p.grad for p in self.network.parameters() if p.grad is not None], self.options.workers)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), task.clip)
        for optimiser, _ in self._optimisers:
            optimiser.step()
        self._average()
        self.record.steps += 1
        self.record.last = (self.record.last + [float(loss.detach())])[-LAST_STEPS:]
        self.record.loss = sum(self.record.last) / len(self.record.last)
        return self.record.last[-1]

    @torch.no_grad()
    def _average(self):
        if not hasattr(self.task, "averaged"):
            return
        now, n = list(self.network.parameters()), self.record.steps
        if self._mean is None:
            self._mean = [p.detach().clone() for p in now]
        torch._foreach_lerp_(self._mean, now, 1 - min(self.task.averaged, (1 + n) / (10 + n)))

    def train(self):
        """Until the budget is spent. Returns the network, with the mean of its weights where the task has that."""
        self.network.train()
        recent, saved, logged = [], time.monotonic(), time.monotonic()
        while (share := self._share()) < 1:
            begin = time.monotonic()
            recent.append(self._step(share))
            now = time.monotonic()
            self.record.seconds = together.mean_of(self.record.seconds + now - begin, self.options.workers)
            if now - logged > LOG_EVERY_S or self._share() >= 1:
                self._log(recent)
                recent, logged = [], now
            if now - saved > SAVE_EVERY_S or self._share() >= 1:
                self._save()
                saved = now
        if self._mean is not None:
            for p, mean in zip(self.network.parameters(), self._mean):
                p.data.copy_(mean)
        return self.network.eval()

    def _log(self, recent):
        if self.options.rank:
            return
        loss = sum(recent) / len(recent)
        entry = {"minutes": round(self.record.seconds / 60, 2), "step": self.record.steps, "loss": round(loss, 4)}
        self.record.log.append(entry)
        print("%s: %6.2f min, step %d, loss %.4f" % (self.task.name, entry["minutes"], entry["step"], entry["loss"]), flush=True)
        with open(os.path.join(self._folder, "log.jsonl"), "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
