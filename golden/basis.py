"""Global basis vectors and quantised coefficients (BasisN, Eldebiky et al., ICCAD 2024).

Every chunk of every kernel of every layer is approximated by a sum of basis vectors, which all
layers share, times small integer coefficients and one scale per kernel. The paper gives the idea;
the method here is a reconstruction: alternating least squares, in the metric of what the
approximation does to the layer's output, with the coefficients found as integers from the start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .quantise import CODE_LIMIT

__all__ = ["Target", "Combination", "Basis", "normalised", "plain_basis", "initial_vectors",
           "search_coefficients", "fit_vectors", "fit_basis"]

#: Share of a row's mean second moment added to all rows: activations that the calibration
#: images never switch on still cost something.
RIDGE = 1e-3
#: Kernel scales tried: the scale at which the best single vector has this coefficient.
LEADING = (1, 2, 3, 4, 5, 6, 7, 9, 12, 16, 24)
#: Factors on the scale tried when a search starts from a known combination.
NEARBY = (1.0, 0.84, 1.19)
#: Output error relative to the output, both mean square, that is good enough: what rounding to
#: eight bits does to the activations anyway (a step of 1/127 over a deviation of 1/4: 8e-5).
GOOD_ENOUGH = 1e-4
#: Kernels of a layer on which `LEADING` is tried; all try the best few.
SAMPLE_KERNELS = 8
#: Most steps of the search for a kernel's coefficients, per basis vector.
STEPS_PER_VECTOR = 6
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
    def chunk_power(self) -> Tensor:
        """Mean square that every chunk adds to a kernel's output, [kernels, chunks]."""
        return torch.einsum("kcr,crs,kcs->kc", self.kernels, self.metric, self.kernels)

    @property
    def power(self) -> Tensor:
        """Mean square output of every kernel, [kernels]; one where a kernel is zero."""
        power = self.chunk_power.sum(dim=1)
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


def plain_basis(targets: Sequence[Target], count: int) -> Basis | None:
    """The mapping without combinations: every chunk of a kernel is a vector, coefficient one.

    The chunks of a kernel share its scale, at which the largest weight is 127. None if there are
    more than ``count`` chunks (those that are zero take no vector).
    """
    used = [t.kernels.transpose(0, 1).ne(0).any(dim=2) for t in targets]
    if sum(int(u.sum()) for u in used) > count:
        return None
    rows = targets[0].kernels.shape[2]
    vectors = torch.zeros(count, rows, dtype=targets[0].kernels.dtype)
    combinations, first = [], 0
    for target, use in zip(targets, used, strict=True):
        peak = target.kernels.abs().amax(dim=(1, 2)) / CODE_LIMIT
        scale = torch.where(peak > 0, peak, torch.ones_like(peak))
        chunk, kernel = use.nonzero(as_tuple=True)
        place = first + torch.arange(len(chunk))
        vectors[place] = (target.kernels[kernel, chunk] / scale[kernel, None]).round()
        coefficients = torch.zeros(use.shape[0], count, use.shape[1], dtype=vectors.dtype)
        coefficients[chunk, place, kernel] = 1
        combinations.append(Combination(coefficients, scale))
        first += len(chunk)
    return Basis(vectors, tuple(combinations))


def initial_vectors(targets: Sequence[Target], count: int, generator: torch.Generator,
                    rounds: int = 10) -> Tensor:
    """``count`` directions for the kernels' chunks, [count, rows].

    The centres of clusters of chunks, where a vector and its negative are the same direction.
    There must be at least ``count`` chunks.
    """
    chunks = _unit_chunks(targets)
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


def _descend(gram: Tensor, wanted: Tensor, own: Tensor, start: Tensor, enough: Tensor,
             penalty: float, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Greedy coordinate descent over integers, many problems at once.

    Minimises ``error + penalty |c|**2``, error = ``own - 2 wanted c + c gram c``, for every row
    of ``wanted`` [problems, N], from the integers ``start``: each step changes, in each problem,
    the coefficient that gains most, until none gains or the error is below ``enough``. Returns
    the coefficients, ``wanted . c`` and ``c (gram + penalty) c``.
    """
    hessian = gram + penalty * torch.eye(len(gram), dtype=gram.dtype)
    diagonal = hessian.diagonal().clamp_min(torch.finfo(gram.dtype).tiny)
    usable = gram.diagonal() > 0
    chosen = start.clone()
    residual = wanted - start @ hessian
    active = torch.arange(len(wanted))
    for _ in range(STEPS_PER_VECTOR * len(gram)):
        current, rest = chosen[active], residual[active]
        error = own[active] - (current * (wanted[active] + rest)).sum(1) - penalty * (
            current.square().sum(1))
        change = (current + rest / diagonal).round().clamp(-limit, limit) - current
        gain = torch.where(usable, change * (2 * rest - diagonal * change), 0.0)
        best = gain.argmax(dim=1)
        improves = (gain.gather(1, best[:, None])[:, 0] > 1e-9 * own[active]) & (
            error > enough[active])
        active, best = active[improves], best[improves]
        if not len(active):
            break
        step = change[improves].gather(1, best[:, None])
        chosen[active, best] += step[:, 0]
        residual[active] -= hessian[best] * step
    return chosen, (wanted * chosen).sum(1), ((chosen @ hessian) * chosen).sum(1)


@dataclass(frozen=True, eq=False)
class _Problem:
    """The least-squares problem of some kernels of a layer.

    Per chunk: ``grams`` [N, N] of the vectors, ``wanted`` [kernels, N], the kernels against them,
    and ``own`` [kernels], the kernels against themselves. ``power`` [kernels] is the mean square
    output.
    """

    grams: list[Tensor]
    wanted: list[Tensor]
    own: list[Tensor]
    power: Tensor
    penalty: float
    limit: int

    def part(self, kernels: slice) -> "_Problem":
        return replace(self, wanted=[w[kernels] for w in self.wanted],
                       own=[o[kernels] for o in self.own], power=self.power[kernels])

    def attempt(self, scale: Tensor, amounts: Tensor) -> tuple[Tensor, Combination]:
        """Relative error [kernels] and coefficients found with a step of ``scale`` [kernels].

        The search starts from ``amounts`` [chunks, N, kernels], coefficients times scale; the
        scale that is returned is the best for the coefficients found.
        """
        found, along, square = [], torch.zeros_like(scale), torch.zeros_like(scale)
        enough = GOOD_ENOUGH * self.power / scale**2 / len(self.grams)
        for gram, wish, own, amount in zip(self.grams, self.wanted, self.own, amounts,
                                           strict=True):
            start = (amount / scale).round().clamp(-self.limit, self.limit).T
            chosen, a, s = _descend(gram, wish / scale[:, None], own / scale**2, start, enough,
                                    self.penalty, self.limit)
            found.append(chosen.T)
            along, square = along + a * scale, square + s
        positive = (square > 0) & (along > 0)
        refit = torch.where(positive, along / square.clamp_min(1e-300), scale)
        error = (self.power - 2 * refit * along + refit**2 * square) / self.power
        return error, Combination(torch.stack(found), refit)

    def leading_scale(self) -> Tensor:
        """Scale at which the best single vector would have coefficient 1, [kernels]."""
        alone = torch.stack([
            (w.abs() / g.diagonal().where(g.diagonal() > 0, torch.inf)).amax(dim=1)
            for w, g in zip(self.wanted, self.grams, strict=True)]).amax(dim=0)
        return torch.where(alone > 0, alone, torch.ones_like(alone))


def search_coefficients(target: Target, vectors: Tensor, limit: int,
                        near: Combination | None = None) -> Combination:
    """Integer coefficients and a scale for every kernel of a layer.

    The error is the mean square of the layer's output error plus what the converter's code
    errors, multiplied by the coefficients, add to it; this favours few and small coefficients.
    The search starts from ``near``, whose coefficients need not be integers, where it is given;
    else scales are tried on some of the kernels first.
    """
    kernels, chunks, _ = target.kernels.shape
    weighted = [target.metric[c] @ vectors.T for c in range(chunks)]
    problem = _Problem([vectors @ w for w in weighted],
                       [target.kernels[:, c] @ weighted[c] for c in range(chunks)],
                       list(target.chunk_power.T), target.power, target.code_noise, limit)
    if near is not None:
        scales = [near.scale * factor for factor in NEARBY]
        amounts = near.coefficients * near.scale
    else:
        alone = problem.leading_scale()
        amounts = torch.zeros(chunks, len(vectors), kernels, dtype=alone.dtype)
        some = slice(None, None, max(1, kernels // SAMPLE_KERNELS))
        trial = problem.part(some)
        errors = [float(trial.attempt(alone[some] / leading, amounts[..., some])[0].sum())
                  for leading in LEADING]
        step = GOOD_ENOUGH * len(trial.power)
        order = sorted(range(len(LEADING)), key=lambda i: (errors[i] // step, i))
        scales = [alone / LEADING[i] for i in sorted(order[:len(NEARBY)])]
    least, best = problem.attempt(scales[0], amounts)
    for scale in scales[1:]:
        error, found = problem.attempt(scale, amounts)
        better = error < least - GOOD_ENOUGH
        least = torch.where(better, error, least)
        best = Combination(torch.where(better, found.coefficients, best.coefficients),
                           torch.where(better, found.scale, best.scale))
    return best


def _rescaled(combination: Combination, peaks: Tensor) -> Combination:
    """The same kernels over vectors divided by ``peaks`` [N], with about the same coefficients."""
    moved = combination.coefficients * peaks[:, None]
    before, after = (c.abs().amax(dim=(0, 1)) for c in (combination.coefficients, moved))
    ratio = torch.where(after > 0, after / before.clamp_min(1e-300), torch.ones_like(after))
    return Combination(moved / ratio, combination.scale * ratio)


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
    """Basis of ``count`` vectors for all layers.

    The plain mapping where it fits; else alternating least squares, the best of ``rounds``
    rounds. ``limit`` is the largest coefficient magnitude.
    """
    plain = plain_basis(targets, count)
    if plain is not None:
        return plain
    vectors = normalised(initial_vectors(targets, count, generator))
    best: tuple[float, Basis] | None = None
    near: Sequence[Combination | None] = [None] * len(targets)
    for done in range(rounds):
        combinations = tuple(search_coefficients(target, vectors, limit, start)
                             for target, start in zip(targets, near, strict=True))
        error = sum(float(relative_error(t, vectors, c).sum())
                    for t, c in zip(targets, combinations, strict=True))
        if best is None or error < best[0]:
            best = error, Basis(vectors, combinations)
        if progress is not None:
            progress("basis", (done + 1) / rounds)
        if done == rounds - 1:
            break
        fitted = fit_vectors(targets, vectors, combinations)
        peaks = fitted.abs().amax(dim=1) / CODE_LIMIT
        near = [_rescaled(combination, peaks) for combination in combinations]
        vectors = normalised(fitted)
    assert best is not None
    return best[1]
