"""Global basis vectors and quantised coefficients (BasisN, Eldebiky et al., ICCAD 2024).

Every chunk of every kernel of every layer is approximated by a sum of basis vectors, which all
layers share, times small integer coefficients and one scale per kernel. The paper gives the idea;
the method here is a reconstruction: alternating least squares, in the metric of what the
approximation does to the layer's output, with the coefficients found as integers from the start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .quantise import CODE_LIMIT

__all__ = ["Target", "Combination", "Basis", "normalised", "initial_vectors",
           "search_coefficients", "fit_vectors", "fit_basis"]

#: Share of a row's mean second moment added to all rows: activations that the calibration
#: images never switch on still cost something.
RIDGE = 1e-3
#: Kernel scales tried: the scale at which the best single vector has this coefficient.
LEADING = (1, 2, 3, 4, 5, 6, 7, 9, 12, 16, 24)
#: Iterations of the conjugate gradient that updates the vectors.
GRADIENT_STEPS = 12


@dataclass(frozen=True, eq=False)
class Target:
    """What one layer asks of the basis.

    Parameters
    ----------
    kernels
        float64 [kernels, chunks, rows], the weights in row order.
    moments
        float64 [chunks, rows, rows]: mean of the outer product of the row codes.
    code_noise
        Variance of one converted column about its held value, square product units.
    """

    kernels: Tensor
    moments: Tensor
    code_noise: float

    @property
    def metric(self) -> Tensor:
        """`moments` with `RIDGE` on the rows that the layer uses."""
        diagonal = self.moments.diagonal(dim1=1, dim2=2)
        used = self.kernels.ne(0).any(dim=0)
        ridge = RIDGE * diagonal.mean(dim=1, keepdim=True) * used
        return self.moments + torch.diag_embed(ridge)

    @property
    def power(self) -> Tensor:
        """Mean square output of every kernel, [kernels]; one where a kernel is zero."""
        power = torch.einsum("kcr,crs,kcs->k", self.kernels, self.metric, self.kernels)
        return torch.where(power > 0, power, torch.ones_like(power))


@dataclass(frozen=True, eq=False)
class Combination:
    """Kernels of one layer over the basis.

    ``coefficients`` holds integers, [chunks, N, kernels]; ``scale`` [kernels] is the real weight
    of one vector step times one coefficient step.
    """

    coefficients: Tensor
    scale: Tensor


@dataclass(frozen=True, eq=False)
class Basis:
    """``vectors`` [N, rows], integers within +-127, and a `Combination` per layer."""

    vectors: Tensor
    combinations: tuple[Combination, ...]


def normalised(vectors: Tensor) -> Tensor:
    """Vectors scaled to a peak of 127 and rounded; zero vectors stay zero."""
    peak = vectors.abs().amax(dim=1, keepdim=True)
    return (vectors * (CODE_LIMIT / torch.where(peak > 0, peak, torch.ones_like(peak)))).round()


def _unit_chunks(targets: Sequence[Target]) -> Tensor:
    """Every chunk of every kernel that is not zero, at unit length, [n, rows]."""
    chunks = torch.cat([t.kernels.transpose(0, 1).flatten(0, 1) for t in targets])
    length = chunks.norm(dim=1)
    return chunks[length > 0] / length[length > 0, None]


def initial_vectors(targets: Sequence[Target], count: int, generator: torch.Generator,
                    rounds: int = 10) -> Tensor:
    """``count`` directions for the kernels' chunks, [count, rows].

    The chunks themselves where there are no more than ``count``; else the centres of clusters of
    chunks, where a vector and its negative are the same direction.
    """
    chunks = _unit_chunks(targets)
    rows = chunks.shape[1]
    if len(chunks) <= count:
        return torch.cat([chunks, chunks.new_zeros(count - len(chunks), rows)])
    order = torch.randperm(len(chunks), generator=generator)
    centres = chunks[order[:count]].clone()
    for _ in range(rounds):
        likeness = chunks @ centres.T
        best = likeness.abs().argmax(dim=1)
        sign = likeness.gather(1, best[:, None]).sign()
        sums = torch.zeros_like(centres).index_add_(0, best, chunks * sign)
        length = sums.norm(dim=1, keepdim=True)
        centres = torch.where(length > 0, sums / length.clamp_min(1e-12), centres)
    return centres


def _descend(gram: Tensor, wanted: Tensor, penalty: float, limit: int, steps: int
             ) -> tuple[Tensor, Tensor, Tensor]:
    """Greedy coordinate descent over integers, many problems at once.

    Minimises ``c gram c - 2 wanted c + penalty |c|**2`` for every row of ``wanted`` [problems,
    N], starting from zero: each step changes, in each problem, the coefficient that gains most.
    Returns the coefficients, ``wanted . c`` and ``c (gram + penalty) c``.
    """
    hessian = gram + penalty * torch.eye(len(gram), dtype=gram.dtype)
    diagonal = hessian.diagonal().clamp_min(torch.finfo(gram.dtype).tiny)
    usable = gram.diagonal() > 0
    chosen = torch.zeros_like(wanted)
    residual = wanted.clone()
    active = torch.arange(len(wanted))
    for _ in range(steps):
        current, rest = chosen[active], residual[active]
        change = (current + rest / diagonal).round().clamp(-limit, limit) - current
        gain = torch.where(usable, change * (2 * rest - diagonal * change), 0.0)
        best = gain.argmax(dim=1)
        improves = gain.gather(1, best[:, None])[:, 0] > 1e-9 * diagonal[best]
        active, best = active[improves], best[improves]
        if not len(active):
            break
        step = change[improves].gather(1, best[:, None])
        chosen[active, best] += step[:, 0]
        residual[active] -= hessian[best] * step
    return chosen, (wanted * chosen).sum(1), ((chosen @ hessian) * chosen).sum(1)


def search_coefficients(target: Target, vectors: Tensor, limit: int,
                        steps: int | None = None) -> Combination:
    """Integer coefficients and a scale for every kernel of a layer.

    The error is the mean square of the layer's output error plus what the converter's code
    errors, multiplied by the coefficients, add to it; this favours few and small coefficients.
    """
    metric, power = target.metric, target.power
    kernels, chunks, _ = target.kernels.shape
    count = len(vectors)
    steps = 6 * count if steps is None else steps
    weighted = [metric[c] @ vectors.T for c in range(chunks)]
    grams = [vectors @ w for w in weighted]
    wanted = [target.kernels[:, c] @ weighted[c] for c in range(chunks)]
    # Scale at which the best single vector would have coefficient 1.
    alone = torch.stack([
        (w.abs() / g.diagonal().clamp_min(1e-300).where(g.diagonal() > 0, torch.inf)).amax(dim=1)
        for w, g in zip(wanted, grams, strict=True)]).amax(dim=0)
    alone = torch.where(alone > 0, alone, torch.ones_like(alone))
    best_error = torch.full((kernels,), torch.inf, dtype=power.dtype)
    best_scale = torch.ones(kernels, dtype=power.dtype)
    best = torch.zeros(chunks, count, kernels, dtype=power.dtype)
    for leading in LEADING:
        scale = alone / leading
        found, along, square = [], torch.zeros_like(scale), torch.zeros_like(scale)
        for gram, wish in zip(grams, wanted, strict=True):
            chosen, a, s = _descend(gram, wish / scale[:, None], target.code_noise, limit, steps)
            found.append(chosen.T)
            along, square = along + a * scale, square + s
        positive = (square > 0) & (along > 0)
        refit = torch.where(positive, along / square.clamp_min(1e-300), scale)
        error = (power - 2 * refit * along + refit**2 * square) / power
        better = error < best_error * (1 - 1e-6)
        best_error = torch.where(better, error, best_error)
        best_scale = torch.where(better, refit, best_scale)
        best = torch.where(better, torch.stack(found), best)
    return Combination(best, best_scale)


def relative_error(target: Target, vectors: Tensor, combination: Combination) -> Tensor:
    """Mean square output error of each kernel over its mean square output, without noise."""
    difference = target.kernels - _approximation(vectors, combination)
    return torch.einsum("kcr,crs,kcs->k", difference, target.metric, difference) / target.power


def _approximation(vectors: Tensor, combination: Combination) -> Tensor:
    return torch.einsum("cnk,nr,k->kcr", combination.coefficients, vectors, combination.scale)


def fit_vectors(targets: Sequence[Target], vectors: Tensor,
                combinations: Sequence[Combination]) -> Tensor:
    """Real vectors with the least relative output error for given coefficients.

    Conjugate gradient on the normal equations, from ``vectors``.
    """
    parts = []
    for target, combination in zip(targets, combinations, strict=True):
        weight = combination.scale / target.power.sqrt()
        scaled = combination.coefficients * weight
        wish = target.kernels / target.power.sqrt()[:, None, None]
        for c in range(target.kernels.shape[1]):
            parts.append((target.metric[c], scaled[c], wish[:, c]))

    def product(v: Tensor) -> Tensor:
        return sum((s @ (s.T @ v) @ m for m, s, _ in parts), torch.zeros_like(v))

    right = sum((s @ w @ m for m, s, w in parts), torch.zeros_like(vectors))
    result = vectors.clone()
    residual = right - product(result)
    direction, square = residual.clone(), residual.square().sum()
    for _ in range(GRADIENT_STEPS):
        image = product(direction)
        curvature = (direction * image).sum()
        if not float(curvature) > 0:
            break
        step = square / curvature
        result, residual = result + step * direction, residual - step * image
        previous, square = square, residual.square().sum()
        direction = residual + square / previous * direction
    return result


def fit_basis(targets: Sequence[Target], count: int, limit: int, generator: torch.Generator,
              rounds: int = 6, progress: Callable[[str, float], None] | None = None) -> Basis:
    """Basis of ``count`` vectors for all layers, by alternating least squares.

    ``limit`` is the largest coefficient magnitude. Keeps the best of ``rounds`` rounds.
    """
    vectors = normalised(initial_vectors(targets, count, generator))
    best: tuple[float, Basis] | None = None
    for done in range(rounds):
        combinations = tuple(search_coefficients(t, vectors, limit) for t in targets)
        error = sum(float(relative_error(t, vectors, c).sum())
                    for t, c in zip(targets, combinations, strict=True))
        if best is None or error < best[0]:
            best = error, Basis(vectors, combinations)
        if progress is not None:
            progress("basis", (done + 1) / rounds)
        if error < 1e-3 * sum(len(t.kernels) for t in targets) or done == rounds - 1:
            break
        vectors = normalised(fit_vectors(targets, vectors, combinations))
    assert best is not None
    return best[1]
