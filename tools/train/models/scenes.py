"""What the models have in common that learn from scenes: a pool of speakers, a bank of sounds, and batches of scenes."""
import numpy as np
import torch

from material import pools, sounds
from material.scene import Scenes


class SceneTask:
    """Has Network, `samples` of a scene, `size`, scenes of a batch (in a smoke run 8), and scene(rng), which gives arrays: samples,
    and what is true of them."""

    def __init__(self, options):
        pool = self.pool(options)
        self.scenes, self.size = Scenes(pool, sounds.bank(options), self.samples), 8 if options.smoke else self.size
        self.material = "%d speakers, %d utterances" % (len(pool.names), len(pool.utterances))

    pool = staticmethod(pools.talkers)

    def network(self):
        return self.Network()

    def batch(self, rng):
        made = [self.scene(rng) for _ in range(self.size)]
        return [torch.from_numpy(np.stack(part)) for part in zip(*made)]
