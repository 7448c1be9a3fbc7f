"""Momentum whose updates are orthogonalised, for matrices inside a network (K. Jordan, "Muon: an optimizer for hidden layers in
neural networks", 2024). Per minute it learns faster than AdamW; at rates of 0.02 attention collapses to single frames.
"""
import torch


def orthogonal(x, kind=torch.float32, steps=5):
    """Towards U V^T of each matrix (n, rows, columns), rows at most columns: Newton and Schulz's iteration in type `kind`."""
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(kind)
    for _ in range(steps):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.float()


class Muon:
    """step() with the interface of torch.optim, `rate` being param_groups[0]["lr"]."""

    def __init__(self, matrices, rate, kind=torch.float32, momentum=0.95, decay=0.1):
        """kind: of the products, bfloat16 where that is fast"""
        self.param_groups, self._kind = [{"lr": rate}], kind
        self._momentum, self._decay, self._groups, self._sums = momentum, decay, {}, {}
        for p in matrices:
            self._groups.setdefault(tuple(sorted(p.shape)), []).append(p)
        for shape, group in self._groups.items():
            self._sums[shape] = torch.zeros((len(group),) + shape, device=group[0].device)

    @torch.no_grad()
    def step(self):
        rate = self.param_groups[0]["lr"]
        for shape, group in self._groups.items():
            wide = [p.shape[0] <= p.shape[1] for p in group]
            gradient = torch.stack([p.grad if w else p.grad.T for p, w in zip(group, wide)])
            total = self._sums[shape].mul_(self._momentum).add_(gradient)
            for p, w, update in zip(group, wide, orthogonal(gradient + self._momentum * total, self._kind)):
                scale = max(1, p.shape[0] / p.shape[1]) ** 0.5
                p.mul_(1 - rate * self._decay).add_(update if w else update.T, alpha=-rate * scale)

    def state_dict(self):
        return {"sums": self._sums}

    def load_state_dict(self, state):
        self._sums = state["sums"]
