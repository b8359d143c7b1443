"""Dense kernels do what grouped and dilated ones do."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from golden.dense import dense_kernels
from golden.graph import evaluate, float_operator, import_graph


@pytest.mark.parametrize("groups, dilation", [(1, (1, 1)), (2, (1, 1)), (8, (1, 1)), (1, (2, 2)),
                                              (4, (2, 3)), (8, (1, 2))])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (3, 2)])
def test_same_outputs(groups, dilation, size):
    generator = torch.Generator().manual_seed(groups + size[1])
    weight = torch.randint(-9, 10, (16, 8 // groups, *size), generator=generator).double()
    image = torch.randint(-9, 10, (2, 8, 9, 11), generator=generator).double()
    expected = functional.conv2d(image, weight, groups=groups, dilation=dilation)
    assert torch.equal(functional.conv2d(image, dense_kernels(weight, groups, dilation)), expected)


def test_what_is_dense_already_is_left_as_it_is():
    weight = torch.ones(4, 3, 3, 3)
    assert dense_kernels(weight, 1, (1, 1)) is weight


@pytest.mark.parametrize("layer", [
    nn.Conv2d(8, 16, 3, padding=1, groups=4), nn.Conv2d(8, 8, 3, 2, 1, groups=8),
    nn.Conv2d(8, 4, 3, padding=2, dilation=2), nn.Conv2d(8, 4, 3, padding="same", dilation=2),
    nn.Conv2d(8, 8, (3, 1), padding=(2, 0), dilation=(2, 1), groups=2)])
def test_the_graph_holds_them_dense(layer):
    model = nn.Sequential(layer, nn.ReLU()).eval().requires_grad_(False)
    image = torch.rand(3, 8, 9, 7, generator=torch.Generator().manual_seed(2))
    found = evaluate(import_graph(model, (9, 7, 8)), image, float_operator)
    torch.testing.assert_close(found, model(image))
