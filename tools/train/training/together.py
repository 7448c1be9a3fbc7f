"""Several processes of one machine that learn together: a batch each in a step, and the mean of their gradients. They hold the
same weights from beginning to end, as they begin alike and take the same steps.
"""
import copy
import os
import tempfile

import torch
from torch import distributed, multiprocessing

import models


def learn(options):
    """The task, the run and the network that it comes to."""
    from training import loop
    task = models.task(options.model, options)
    run = loop.Run(task, options)
    return task, run, run.train()


def join(options, meeting):
    """meeting: a file that does not exist yet, by which the processes find each other, on this machine alone"""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", init_method="file://" + meeting, rank=options.rank, world_size=options.workers)


def _other(options, meeting):
    """A process besides the first, which alone saves, logs and writes the model"""
    join(options, meeting)
    learn(options)


def learn_together(options):
    """learn(), with options.workers - 1 other processes."""
    processes = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting, others = os.path.join(folder, "meeting"), []
        for rank in range(1, options.workers):
            other = copy.copy(options)
            other.rank = rank
            others.append(processes.Process(target=_other, args=(other, meeting), daemon=True))
            others[-1].start()
        join(options, meeting)
        learned = learn(options)
        for other in others:
            other.join()
        return learned


def mean(tensors, workers):
    """Makes each, in place, the mean of all workers'; all have to come with the same tensors, in the same order."""
    if workers == 1:
        return
    flat = torch.cat([x.flatten() for x in tensors])
    distributed.all_reduce(flat)
    flat /= workers
    for x, part in zip(tensors, flat.split([x.numel() for x in tensors])):
        x.copy_(part.view_as(x))


def mean_of(value, workers):
    if workers == 1:
        return value
    both = torch.tensor([value], dtype=torch.float64)
    distributed.all_reduce(both)
    return float(both) / workers
