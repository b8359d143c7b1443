"""Import of torch modules: equal to the module, or one error that names the operator."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from golden.graph import Add, UnmappableError, Weighted, evaluate, float_operator, import_graph


class _Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


class _Residual(nn.Module):
    """Everything that can be mapped, in one network."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8),
                                   nn.ReLU())
        self.second = nn.Conv2d(8, 16, (3, 1), stride=2, padding=(1, 0))
        self.norm = nn.BatchNorm2d(16, affine=False)
        self.shortcut = _Lambda(lambda x: functional.pad(x[:, :, ::2, ::2],
                                                         (0, 0, 0, 0, 4, 4), "constant", 0))
        self.third = nn.Conv2d(16, 16, 3, padding="same")
        self.pool = nn.AvgPool2d(2, padding=1, stride=1)
        self.dropout = nn.Dropout(0.5)
        self.hidden = nn.Linear(16 * 9, 12)
        self.hidden_norm = nn.BatchNorm1d(12)
        self.output = nn.Linear(12, 5)

    def forward(self, images):
        first = self.first(images)
        second = self.norm(self.second(first))
        joined = functional.relu(self.shortcut(first) + second)
        joined = torch.add(joined, self.third(joined))
        pooled = functional.max_pool2d(self.pool(joined), 3, 2, 1)
        flat = self.dropout(pooled).view(pooled.size(0), -1)
        return self.output(self.hidden_norm(self.hidden(flat)).relu())


def _randomised(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 1)
    return model


def test_import_equals_the_module():
    model = _randomised(_Residual()).eval()
    graph = import_graph(model, (9, 9, 3))
    images = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = evaluate(graph, images, float_operator).flatten(1)
        torch.testing.assert_close(found, model(images), rtol=1e-4, atol=1e-4)


def test_norms_relus_and_shapes_leave_no_node():
    graph = import_graph(_Residual(), (9, 9, 3))
    assert [node.name for node in graph.weighted] == [
        "first.0", "second", "third", "hidden", "output"]
    assert [node.relu for node in graph.weighted] == [True, False, False, True, False]
    shortcut = next(node for node in graph.nodes if isinstance(node, Add))
    assert (shortcut.relu, shortcut.second_stride, shortcut.second_offset) == (True, 2, 4)
    assert shortcut.inputs == ("second", "first.0")
    linear = graph["hidden"]
    assert isinstance(linear, Weighted) and tuple(linear.weight.shape) == (12, 16, 3, 3)


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_left_as_it_was(training):
    model = _Residual().train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    import_graph(model, (9, 9, 3))
    assert model.training is training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


_CONV = nn.Conv2d(4, 4, 3, padding=1)


@pytest.mark.parametrize("model, words", [
    (nn.Sequential(_CONV, nn.Sigmoid()), ["1: cannot map Sigmoid"]),
    (nn.Sequential(nn.Conv2d(4, 8, 3, stride=(1, 2))), ["0: cannot map Conv2d", "stride"]),
    (nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect")), ["padding_mode"]),
    (nn.Sequential(nn.BatchNorm2d(4), _CONV), ["0: cannot map BatchNorm2d", "follow"]),
    (nn.Sequential(_CONV, nn.ReLU(), nn.BatchNorm2d(4)), ["2: cannot map BatchNorm2d"]),
    (nn.Sequential(nn.ReLU(), _CONV), ["0: cannot map ReLU"]),
    (nn.Sequential(_CONV, nn.Linear(8, 2)), ["1: cannot map Linear", "flattened"]),
    (nn.Sequential(_CONV, nn.AvgPool2d(2, padding=1, count_include_pad=False)),
     ["1: cannot map AvgPool2d", "count_include_pad"]),
    (nn.Sequential(_CONV, nn.AdaptiveAvgPool2d(3)), ["1: cannot map AdaptiveAvgPool2d", "3"]),
    (nn.Sequential(_CONV, _Lambda(lambda x: x * 2)), ["1.mul: cannot map mul"]),
    (nn.Sequential(_CONV, _Lambda(lambda x: x.mean(1))), ["cannot map Tensor.mean"]),
    (nn.Sequential(_CONV, _Lambda(lambda x: x[:, :2])), ["cannot map getitem"]),
    (nn.Sequential(_CONV, _Lambda(lambda x: x[:, :, ::2, ::2]), nn.Conv2d(4, 4, 1)),
     ["2: cannot map Conv2d", "residual"]),
    (nn.Sequential(_CONV, _Lambda(lambda x: functional.pad(x, (1, 1, 1, 1)))),
     ["cannot map pad"]),
    (nn.Sequential(_CONV, _Lambda(functional.dropout)), ["cannot map dropout", "training"]),
    (nn.Sequential(_CONV, _Lambda(lambda x: x + 1)), ["cannot map add", "activations"]),
    (nn.Sequential(_CONV, _Lambda(lambda x: x + functional.relu(x))), ["cannot map relu"]),
    (nn.Sequential(_CONV, _Lambda(lambda x: x if x.sum() > 0 else -x)), ["cannot trace"]),
    (nn.Identity(), ["must end with a layer"]),
])
def test_what_cannot_be_mapped_is_named(model, words):
    with pytest.raises(UnmappableError) as caught:
        import_graph(model, (8, 8, 4))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_relu_after_another_reader_is_refused():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, images):
            result = self.conv(images)
            pooled = functional.max_pool2d(result, 1)
            return functional.relu(result) + pooled

    with pytest.raises(UnmappableError, match="relu"):
        import_graph(Reader(), (8, 8, 4))
