"""Basis and coefficients."""

from itertools import product

import pytest
import torch

from golden.basis import (
    Target, fit_basis, fit_vectors, initial_vectors, normalised, plain_basis, relative_error,
    search_coefficients,
)


def _target(kernels, chunks, rows, seed=0, noise=0.0):
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 60, (200, chunks, rows), generator=generator).double()
    moments = torch.einsum("pcr,pcs->crs", codes, codes) / len(codes)
    weights = torch.randn(kernels, chunks, rows, generator=generator, dtype=torch.float64)
    return Target(weights, moments, noise)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_normalised_vectors_peak_at_127():
    vectors = normalised(torch.tensor([[0.5, -0.25, 0.0], [0.0, 0.0, 0.0]]).double())
    assert vectors.tolist() == [[127.0, -64.0, 0.0], [0.0, 0.0, 0.0]]


def test_plain_mapping_where_it_fits():
    targets = [_target(6, 1, 12), _target(2, 2, 12, seed=1)]
    targets[0].kernels[2] = 0  # takes no vector
    targets[1].kernels[0, 1] /= 10  # shares the scale of its kernel's other chunk
    assert plain_basis(targets, 8) is None
    basis = fit_basis(targets, 9, 7, _generator())
    first, second = (c.coefficients for c in basis.combinations)
    assert first.sum(dim=(0, 1)).tolist() == [1, 1, 0, 1, 1, 1]
    assert second.sum(dim=1).tolist() == [[1, 1], [1, 1]]
    assert (first.sum(dim=(0, 2)) + second.sum(dim=(0, 2))).tolist() == [1] * 9
    for target, combination in zip(targets, basis.combinations, strict=True):
        built = torch.einsum("cnk,nr,k->kcr", combination.coefficients, basis.vectors,
                             combination.scale)
        error = (built - target.kernels).abs() / combination.scale[:, None, None]
        assert float(error.max()) <= 0.5 + 1e-9


def test_search_is_as_good_as_every_combination_for_orthogonal_vectors():
    vectors = 127 * torch.eye(3, dtype=torch.float64)
    target = Target(torch.randn(4, 1, 3, generator=_generator(1), dtype=torch.float64),
                    torch.eye(3, dtype=torch.float64)[None], 0.0)
    found = search_coefficients(target, vectors, 3)
    errors = relative_error(target, vectors, found)
    every = torch.tensor(list(product(range(-3, 4), repeat=3))).double() @ vectors
    for kernel, error in enumerate(errors):
        wanted = target.kernels[kernel, 0]
        # For the scale that was found, no other combination is better.
        distance = (wanted - found.scale[kernel] * every).square().sum(dim=1).min()
        assert float(error) <= float(distance / wanted.square().sum()) * (1 + 1e-2)


@pytest.mark.parametrize("limit", [1, 7])
def test_coefficients_are_integers_within_the_limit(limit):
    target = _target(20, 2, 12)
    basis = fit_basis([target], 6, limit, _generator(), rounds=3)
    assert torch.equal(basis.vectors, basis.vectors.round())
    assert float(basis.vectors.abs().max()) == 127
    coefficients = basis.combinations[0].coefficients
    assert torch.equal(coefficients, coefficients.round())
    assert float(coefficients.abs().max()) <= limit


def test_more_vectors_and_more_rounds_give_less_error():
    target = _target(40, 2, 12)

    def error(count, rounds):
        basis = fit_basis([target], count, 7, _generator(), rounds)
        return float(relative_error(target, basis.vectors, basis.combinations[0]).sum())

    assert error(12, 1) < error(6, 1)
    assert error(6, 6) < error(6, 1)


def test_converter_noise_keeps_the_noise_gain_small():
    vectors = normalised(torch.randn(30, 12, generator=_generator(3), dtype=torch.float64))
    gains = []
    for noise in (0.0, 1e8):
        found = search_coefficients(_target(20, 1, 12, noise=noise), vectors, 7)
        gains.append(float((found.coefficients * found.scale).square().sum()))
    assert gains[1] < gains[0] / 2


def test_vectors_that_already_fit_stay():
    generator = _generator(4)
    vectors = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    target = _target(30, 1, 12)
    found = search_coefficients(target, vectors, 7)
    exact = torch.einsum("cnk,nr,k->kcr", found.coefficients, vectors, found.scale)
    refit = fit_vectors([Target(exact, target.moments, 0.0)], vectors, [found])
    torch.testing.assert_close(refit, vectors)


def test_clusters_treat_opposite_chunks_as_one_direction():
    directions = torch.eye(3, 12, dtype=torch.float64)
    sign = torch.tensor([1.0, -1.0]).double()
    kernels = (directions[None] * sign[:, None, None]).reshape(6, 1, 12).repeat(3, 1, 1)
    target = Target(kernels, torch.eye(12, dtype=torch.float64)[None], 0.0)
    centres = initial_vectors([target], 6, _generator(), rounds=5)
    likeness = (centres @ directions.T).abs().amax(dim=1)
    torch.testing.assert_close(likeness, torch.ones_like(likeness))
