"""Whole networks on analog arrays: mapping, ranges, compensation, state, measures."""

from dataclasses import replace
import json

import pytest
from safetensors.torch import load_file
import torch
from torch import nn
from torch.nn import functional

from golden.analog import map_network
from golden.analog.accuracy import accuracy, attribute, only_effects
from golden.analog.compensation import compensate, readout
from golden.analog.export import export_state, tile_map
from golden.analog.mapping import Scaling
from golden.analog.state import load_state, save_state
from golden.analog.statistics import conversion_statistics
from golden.analog.training import CosineSchedule, NoiseAware, Schedule, Teacher, fine_tune
from golden.arrays import BitSlicing
from golden.arrays.converter import Magnitudes, best_range, levels
from golden.chip import PRESETS
from golden.devices import IdealDevice, PhaseChangeMemory

LARGE = PRESETS["large"]
CHIP = replace(LARGE, name="test", array=replace(LARGE.array, rows=64, row_granule=32),
               converter=replace(LARGE.converter, bits=10))


class Residual(nn.Module):
    """Convolutions with groups and dilation, norms, a residual sum, views, two linear layers."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.norm2 = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.hidden = nn.Linear(8 * 16, 16)
        self.norm3 = nn.BatchNorm1d(16)
        self.linear = nn.Linear(16, 4)

    def forward(self, images):
        first = functional.relu(self.norm1(self.conv1(images)))
        second = functional.relu(self.norm2(self.conv2(first)) + first)
        third = self.conv3(self.pool(second))
        hidden = self.norm3(self.hidden(third.view(third.size(0), -1)))
        return self.linear(torch.sigmoid(hidden))


class Attention(nn.Module):
    """One head; the products of activations stay digital."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(12, 12) for _ in range(3))
        self.out = nn.Linear(12, 12)

    def forward(self, tokens):
        scores = self.query(tokens) @ self.key(tokens).transpose(1, 2) / 12 ** 0.5
        return self.out(torch.softmax(scores, -1) @ self.value(tokens))


def residual(seed=0):
    torch.manual_seed(seed)
    model = Residual()
    model.train()
    for _ in range(3):
        model(torch.randn(32, 3, 8, 8))
    return model.eval()


IMAGES = torch.randn(48, 3, 8, 8, generator=torch.Generator().manual_seed(9))
BATCHES = [(IMAGES[:24], torch.arange(24) % 4), (IMAGES[24:], torch.arange(24) % 4)]


def mapped(device, model=None, **options):
    return map_network(model or residual(), CHIP, device, **options).calibrate(BATCHES)


def relative_error(result, expected):
    return ((result - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("options", [
    {}, {"active_rows": 16}, {"slicing": BitSlicing(4)}, {"slicing": BitSlicing(2),
                                                          "bit_serial": True}])
def test_ideal_devices_compute_the_model(options):
    model = residual()
    with torch.no_grad():
        expected = model(IMAGES)
    network = mapped(IdealDevice(), model, **options).program(0)
    assert relative_error(network(IMAGES), expected) < 0.03


def test_without_conversions_the_model_is_exact():
    model = residual()
    network = only_effects(mapped(PhaseChangeMemory(), model), []).program(0)
    with torch.no_grad():
        assert torch.allclose(network(IMAGES), model(IMAGES), atol=2e-5)


@pytest.mark.parametrize("conversion", ["input_conversion", "output_conversion"])
def test_one_conversion_alone_costs_a_rounding(conversion):
    """Steps of the outputs are multiples of the inputs', whether these are rounded or not."""
    model = residual()
    network = only_effects(mapped(PhaseChangeMemory(), model), [conversion]).program(0)
    with torch.no_grad():
        assert 0 < relative_error(network(IMAGES), model(IMAGES)) < 0.03


def test_attention():
    torch.manual_seed(0)
    model, tokens = Attention().eval(), torch.randn(6, 5, 12)
    network = map_network(model, CHIP, IdealDevice()).calibrate([tokens]).program(0)
    with torch.no_grad():
        assert relative_error(network(tokens), model(tokens)) < 0.03


def test_model_is_left_alone_and_norms_are_folded():
    model = residual()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    network = mapped(PhaseChangeMemory(), model).program(1).at(3600.0)
    network(IMAGES)
    compensate(network, "adabs", [IMAGES])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert isinstance(model.conv1, nn.Conv2d)
    assert list(network.layers) == ["conv1", "conv2", "conv3", "hidden", "linear"]
    assert [layer.norm is not None for layer in network.layers.values()] == [True, True, False,
                                                                             True, False]


def test_a_norm_with_another_reader_stays():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

        def forward(self, images):
            result = self.conv(images)
            return self.norm(result) + result

    torch.manual_seed(0)
    model = Both().eval()
    model.norm.running_mean.fill_(3.0)
    images = torch.randn(4, 2, 3, 3)
    network = map_network(model, CHIP, IdealDevice()).calibrate([images]).program(0)
    assert network.layers["conv"].norm is None
    with torch.no_grad():
        assert relative_error(network(images), model(images)) < 0.02


def test_a_norm_over_positions_is_not_one_of_outputs():
    """A norm over as many positions as there are outputs cannot be told from one of these."""
    torch.manual_seed(0)
    tokens = torch.randn(6, 3, 5)
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(3)).eval()
    model[1].running_mean.copy_(torch.tensor([1.0, -2.0, 0.5]))
    network = map_network(model, CHIP, IdealDevice()).calibrate([tokens]).program(0)
    assert network.layers["0"].norm is None
    with torch.no_grad():
        assert relative_error(network(tokens), model(tokens)) < 0.02
    square = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)).eval()
    with pytest.raises(ValueError, match=r"'0': inputs must be \[batch, features\]"):
        map_network(square, CHIP, IdealDevice()).calibrate([tokens])


def test_batch_size_does_not_change_results():
    network = mapped(PhaseChangeMemory()).program(3)
    whole = network.at(3600.0)(IMAGES)
    network.at(3600.0)
    parts = torch.cat([network(IMAGES[:7]), network(IMAGES[7:8]), network(IMAGES[8:])])
    # Sums of floats depend on the batch in the last bit; a code may then round the other way.
    assert relative_error(parts, whole) < 1e-3
    network.at(3600.0)
    later = torch.cat([network(IMAGES[8:]), network(IMAGES[:8])]).roll(8, 0)
    assert relative_error(later, whole) > 1e-3


def test_chips_differ_and_repeat():
    network = mapped(PhaseChangeMemory())
    first, again = (network.program(5).at(100.0)(IMAGES) for _ in range(2))
    other = network.program(6).at(100.0)(IMAGES)
    cycle = network.program(5, cycle=1).at(100.0)(IMAGES)
    assert torch.equal(first, again)
    assert not torch.equal(first, other) and not torch.equal(first, cycle)


def test_ranges_are_registers():
    """What arrives at the converters does not move their ranges."""
    network = mapped(IdealDevice()).program(0)
    ranges = [(layer.input_range, layer.output_ranges) for layer in network.layers.values()]
    with_outlier = IMAGES.clone()
    with_outlier[0] *= 100
    result = network(with_outlier)
    assert ranges == [(layer.input_range, layer.output_ranges)
                      for layer in network.layers.values()]
    assert torch.allclose(result[1:], network.at(0.0)(IMAGES)[1:], atol=1e-3)


def test_unsigned_inputs_are_found():
    network = mapped(IdealDevice())
    assert [layer.signed_inputs for layer in network.layers.values()] == [True, False, False,
                                                                          True, False]


@pytest.mark.parametrize("bits", [4, 8])
def test_best_range_is_the_best(bits):
    torch.manual_seed(0)
    values = torch.randn(200_000)
    seen = Magnitudes()
    for part in values.split(50_000):
        seen.add(part)
    assert seen.total == 200_000

    def error(limit):
        step = limit / levels(bits)
        return ((values / step).round().clamp(-levels(bits), levels(bits)) * step
                - values).square().mean().item()

    best = error(best_range(seen, bits))
    assert best <= 1.02 * min(error(values.abs().max().item() * share)
                              for share in torch.linspace(0.05, 1, 60).tolist())


def test_gain_undoes_uniform_drift():
    device = PhaseChangeMemory(programming_error=False, read_noise=False)
    model = nn.Linear(8, 4, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    inputs = torch.rand(10, 8)
    network = map_network(model, CHIP, device).calibrate([inputs]).program(0)
    layer = network.layers["0"]
    start = readout(layer, device.first_time)
    network.at(86400.0)
    compensate(network, "gdc")
    assert start == pytest.approx(1.0)
    assert layer.gain == pytest.approx((86400 / 20) ** 0.049, rel=0.02)
    with torch.no_grad():
        assert relative_error(network(inputs), model(inputs)) < 0.03
    compensate(network, "none")
    with torch.no_grad():
        assert relative_error(network(inputs), model(inputs)) > 0.25


def test_adaptive_normalisation_is_layer_by_layer():
    """Statistics equal those found by running everything before each norm, in order."""
    network = mapped(PhaseChangeMemory(read_noise=False)).program(2).at(2592000.0)
    compensate(network, "adabs", BATCHES)
    layers = [layer for layer in network.layers.values() if layer.norm is not None]
    adapted = [(layer.norm.running_mean.clone(), layer.norm.running_var.clone())
               for layer in layers]
    compensate(network, "gdc")
    for layer, (mean, variance) in zip(layers, adapted, strict=True):
        assert not torch.allclose(layer.norm.running_mean, mean, rtol=1e-2)
        seen = []
        raw = layer.raw
        layer.raw = lambda inputs, raw=raw, layer=layer, seen=seen: seen.append(
            raw(inputs)) or seen[-1]
        for images, _ in BATCHES:
            network(images)
        del layer.raw
        bias = 0 if layer.bias is None else layer.bias
        values = torch.cat(seen).transpose(0, 1).flatten(1) * layer.unit[:, None]
        assert torch.allclose((values.mean(1) + bias).float(), mean, atol=1e-4)
        assert torch.allclose(values.var(1).float(), variance, rtol=1e-3)
        layer.norm.running_mean.copy_(mean)
        layer.norm.running_var.copy_(variance)


def test_compensation_restores_and_checks():
    network = mapped(PhaseChangeMemory())
    norm = network.layers["conv1"].norm
    trained = norm.running_mean.clone()
    with pytest.raises(ValueError, match="conv1.*program"):
        compensate(network, "gdc")
    network.program(0)
    compensate(network, "adabs", [IMAGES])
    assert not torch.equal(norm.running_mean, trained)
    compensate(network, "none")
    assert torch.equal(norm.running_mean, trained) and network.layers["conv1"].gain == 1
    for method, loader, named in (("gcd", None, "gcd"), ("adabs", None, "loader"),
                                  ("gdc", [IMAGES], "loader"), ("adabs", [], "batch")):
        with pytest.raises(ValueError, match=named):
            compensate(network, method, loader)


def test_state_round_trip(tmp_path):
    network = mapped(PhaseChangeMemory()).program(7).at(3600.0)
    compensate(network, "adabs", [IMAGES])
    network.at(3600.0)
    path = tmp_path / "chip.safetensors"
    save_state(network, path)
    expected = network(IMAGES)
    other = map_network(residual(), CHIP, PhaseChangeMemory())
    load_state(other, path)
    assert torch.equal(other(IMAGES), expected)
    assert not list(tmp_path.glob("*.part"))
    for stranger, named in ((map_network(residual(), CHIP, IdealDevice()), "mapping"),
                            (map_network(residual(1), CHIP, PhaseChangeMemory()), "model")):
        with pytest.raises(ValueError, match=named):
            load_state(stranger, path)
    with pytest.raises(ValueError, match="no state file"):
        load_state(other, tmp_path / "none")
    (tmp_path / "text").write_text("text")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_state(other, tmp_path / "text")


def test_accuracy_resumes(tmp_path):
    network, path = mapped(PhaseChangeMemory()), tmp_path / "rows.json"
    said = []
    rows = accuracy(network, BATCHES, [25.0, 3600.0], [0, 1], ["none", "adabs"], [IMAGES], path,
                    {"device": "pcm"}, lambda text, share: said.append(share))
    assert len(rows) == 8 and said == [(i + 1) / 8 for i in range(8)]
    assert rows[0].keys() == {"seed", "time", "compensation", "correct", "images", "accuracy"}
    stored = json.loads(path.read_text())
    assert stored["rows"] == rows
    stored["rows"] = stored["rows"][:5]
    path.write_text(json.dumps(stored))
    said.clear()
    again = accuracy(network, BATCHES, [25.0, 3600.0], [0, 1], ["none", "adabs"], [IMAGES], path,
                     {"device": "pcm"}, lambda text, share: said.append(share))
    assert again == rows and len(said) == 3
    with pytest.raises(ValueError, match="other settings"):
        accuracy(network, BATCHES, [25.0], [0], path=path, settings={"device": "reram"})


@pytest.mark.parametrize("changes, named", [
    ({"times": []}, "times"), ({"seeds": [1, 1]}, "seeds"),
    ({"compensations": ["nothing"]}, "nothing"), ({"compensations": ["adabs"]}, "calibration"),
    ({"calibration": [IMAGES]}, "calibration"), ({"times": [1.0]}, "time after programming")])
def test_accuracy_names_bad_input(changes, named):
    arguments = {"times": [25.0], "seeds": [0]} | changes
    with pytest.raises(ValueError, match=named):
        accuracy(mapped(PhaseChangeMemory()), BATCHES, **arguments)


def test_attribution():
    network = mapped(PhaseChangeMemory())
    with torch.no_grad():
        labels = [(images, residual()(images).argmax(1)) for images, _ in BATCHES]
    result = attribute(network, labels, 31536000.0, [0, 1])
    assert list(result) == ["none", "programming_error", "drift", "read_noise",
                            "input_conversion", "output_conversion", "all"]
    assert result["none"] == [1.0, 1.0]
    assert result["all"] < result["none"]
    assert all(len(values) == 2 for values in result.values())


def test_conversion_statistics():
    network = mapped(IdealDevice()).program(0)
    whole = conversion_statistics(network, [IMAGES])
    halves = conversion_statistics(network.at(0.0), BATCHES)
    for name, seen in whole.items():
        assert torch.equal(seen.output_codes, halves[name].output_codes)
        assert 0 <= seen.outputs_clipped < 0.02
    conv1 = whole["conv1"]
    assert conv1.input_codes.sum() == IMAGES.numel()
    assert conv1.output_codes.sum() == 48 * 8 * 64 and len(conv1.output_codes) == 1024
    network.layers["conv1"].output_ranges = [1e-3]
    network.at(0.0)
    assert conversion_statistics(network, [IMAGES])["conv1"].outputs_clipped > 0.9


@pytest.mark.parametrize("scaling", Scaling)
def test_weight_noise_and_clipping(scaling):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2000, 30), nn.ReLU(), nn.Linear(30, 4))
    model[0].weight.data *= torch.linspace(0.1, 1, 30)[:, None]
    clean = [weight.detach().clone() for weight in NoiseAware(model).weights]
    aware = NoiseAware(model, noise=0.05, clip=1.5, seed=1, scaling=scaling)
    with aware.noisy():
        added = model[0].weight.detach() - clean[0]
        model(torch.randn(5, 2000)).square().sum().backward()
    each = scaling is Scaling.COLUMN
    largest = clean[0].abs().amax(1) if each else clean[0].abs().max().expand(30)
    assert torch.allclose(added.std(1), 0.05 * largest, rtol=0.1)
    assert all(torch.equal(a, b) for a, b in zip(aware.weights, clean, strict=True))
    assert model[0].weight.grad is not None
    with pytest.raises(RuntimeError), aware.noisy():
        raise RuntimeError
    assert all(torch.equal(a, b) for a, b in zip(aware.weights, clean, strict=True))
    aware.clip_weights()
    size = clean[0].square().mean(1).sqrt() if each else clean[0].square().mean().sqrt().expand(30)
    clipped = clean[0].clamp(-1.5 * size[:, None], 1.5 * size[:, None])
    assert torch.allclose(model[0].weight, clipped)
    assert torch.allclose(clipped.abs().amax(1), 1.5 * size) == each


def test_a_column_of_one_weight_is_not_clipped():
    model = nn.Linear(1, 3)
    before = model.weight.detach().clone()
    NoiseAware(model).clip_weights()
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize("schedule", [
    Schedule(epochs=6, rate=0.1), CosineSchedule(epochs=6, rate=0.2, warm_up=5)])
def test_fine_tuning_learns(schedule):
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    points = torch.randn(400, 2)
    loader = list(zip(points.split(40), (points[:, 0] > 0).long().split(40), strict=True))
    said = []
    fine_tune(model, loader, NoiseAware(model, clip=None), schedule,
              lambda text, share: said.append(share))
    assert (model(points).argmax(1) == (points[:, 0] > 0)).double().mean() > 0.95
    assert said[-1] == 1 and not model.training


def test_a_teacher_is_followed_where_labels_say_nothing():
    torch.manual_seed(0)
    model, taught = nn.Linear(2, 2), nn.Linear(2, 2)
    before = [parameter.clone() for parameter in taught.parameters()]
    points = torch.randn(400, 2)
    random = torch.randint(0, 2, (400,), generator=torch.Generator().manual_seed(0))
    loader = list(zip(points.split(40), random.split(40), strict=True))
    fine_tune(model, loader, NoiseAware(model, clip=None), CosineSchedule(20, 0.05, 5),
              teacher=Teacher(taught, weight=20.0))
    same = model(points).argmax(1) == taught(points).argmax(1)
    assert same.double().mean() > 0.95
    assert all(torch.equal(a, b) for a, b in zip(before, taught.parameters(), strict=True))


def test_rates():
    step, cosine = Schedule.of(3, 0.1), CosineSchedule(4, 0.1, warm_up=2)
    assert [step.rate_at(epoch, 0, None) for epoch in range(3)] == [0.1, 0.1, 0.1 / 10]
    rates = [cosine.rate_at(0, number, 8) for number in range(8)]
    assert rates[0] == pytest.approx(0.05) and rates[4] == pytest.approx(0.05)
    assert rates[1:] == sorted(rates[1:], reverse=True) and rates[-1] < 0.005


class DataDependent(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, values):
        return self.linear(values) if values.sum() > 0 else values


class DirectCall(nn.Module):
    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(2, 2, 1, 1))

    def forward(self, values):
        return functional.conv2d(values, self.kernel)


def with_nan():
    model = residual()
    with torch.no_grad():
        model.conv2.weight[0, 0, 0, 0] = float("nan")
    return model


@pytest.mark.parametrize("build, named", [
    (lambda: mapped(IdealDevice(), nn.Sequential(nn.ConvTranspose2d(3, 3, 3))),
     "'0': ConvTranspose2d"),
    (lambda: mapped(IdealDevice(), nn.Sequential(nn.Conv1d(3, 3, 3))), "'0': Conv1d"),
    (lambda: mapped(IdealDevice(), nn.Sequential(nn.GRU(3, 3))), "'0': GRU"),
    (lambda: mapped(IdealDevice(), DirectCall()), "'kernel'.*conv2d"),
    (lambda: mapped(IdealDevice(), DataDependent()), "DataDependent cannot be traced"),
    (lambda: mapped(IdealDevice(), nn.Sequential(nn.ReLU())), "no Conv2d or Linear"),
    (lambda: mapped(IdealDevice(), with_nan()), "'conv2': weights must be finite"),
    (lambda: mapped(IdealDevice(), digital=["conv9"]), "'conv9'"),
    (lambda: mapped(IdealDevice(), digital="conv1"), "collection"),
    (lambda: map_network(IMAGES, CHIP, IdealDevice()), "model"),
    (lambda: map_network(residual(), CHIP, IdealDevice())(IMAGES), "'conv1'.*not programmed"),
    (lambda: map_network(residual(), CHIP, IdealDevice()).program(0)(IMAGES),
     "'conv1'.*never calibrated"),
    (lambda: map_network(residual(), CHIP, IdealDevice()).calibrate([]), "batch"),
    (lambda: mapped(PhaseChangeMemory()).program(0).at(10.0), "'conv1': time after programming"),
    (lambda: mapped(PhaseChangeMemory()).at(100.0), "'conv1'.*not programmed"),
    (lambda: mapped(IdealDevice()).program(-1), "seed"),
    (lambda: mapped(IdealDevice()).train(), "train"),
    (lambda: mapped(IdealDevice()).program(0)(IMAGES[0]), "'conv1'.*four dimensions"),
    (lambda: NoiseAware(residual(), noise=-1), "noise"),
    (lambda: NoiseAware(nn.ReLU()), "no Conv2d"),
    (lambda: NoiseAware(residual(), scaling="column"), "scaling"),
    (lambda: Schedule(epochs=0), "epochs"),
    (lambda: Schedule(drop_epoch=-1), "drop_epoch"),
    (lambda: CosineSchedule(rate=0.0), "rate"),
    (lambda: CosineSchedule(warm_up=0), "warm_up"),
    (lambda: Teacher(residual(), weight=0.0), "weight"),
    (lambda: Teacher(residual(), temperature=-1.0), "temperature"),
    (lambda: fine_tune(residual(), iter([]), NoiseAware(residual()), CosineSchedule()), "length"),
    (lambda: fine_tune(residual(), [], NoiseAware(residual()), CosineSchedule()), "length"),
    (lambda: map_network(residual(), CHIP, IdealDevice()).calibrate([IMAGES * float("nan")]),
     "finite"),
])
def test_bad_input_is_named(build, named):
    with pytest.raises(ValueError, match=named):
        build()


def test_misspelled_option_is_an_error():
    with pytest.raises(TypeError, match="bitserial"):
        map_network(residual(), CHIP, IdealDevice(), bitserial=True)


def test_digital_layers_stay():
    network = mapped(PhaseChangeMemory(), digital=["conv1", "linear"])
    assert list(network.layers) == ["conv2", "conv3", "hidden"]
    assert isinstance(network.graph.conv1, nn.Conv2d)


def test_export_computes_the_layer(tmp_path):
    """From the files alone: codes = round(input codes x conductances / step), per tile."""
    network = mapped(PhaseChangeMemory(read_noise=False)).program(1)
    target = tmp_path / "chip"
    export_state(network, target, IMAGES[:2])
    conductances = load_file(target / "conductances.safetensors")
    vectors = load_file(target / "vectors.safetensors")
    registers = json.loads((target / "registers.json").read_text())["hidden"]
    tiles = [tile for tile in json.loads((target / "tiles.json").read_text())
             if tile["layer"] == "hidden"]
    codes = vectors["hidden/input"].double()
    pieces = sorted({tuple(tile["channels"]) for tile in tiles})
    assert [end for _, end in pieces] == [64, 128] and len(tiles) == 4
    for number, (first, last) in enumerate(pieces):
        total = 0
        for tile in (tile for tile in tiles if tile["channels"] == [first, last]):
            cells = conductances[f"hidden/0/{tile['part']}/programmed"].double() / 25
            total = total + tile["coefficient"] * codes[:, first:last] @ cells[:, first:last].T
        sums = total / registers["output_steps"][0]
        assert ((sums - vectors[f"hidden/code{number}"]).abs() <= 0.5001).all()
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(ValueError, match="exists"):
        export_state(network, target, IMAGES)


def test_tile_map_covers_every_weight_once():
    network = mapped(PhaseChangeMemory(), active_rows=16)
    for name, layer in network.layers.items():
        for p in range(2):
            covered = torch.zeros(layer.shape).flatten(2) if len(layer.shape) == 4 \
                else torch.zeros(*layer.shape, 1)
            for tile in tile_map(network):
                if tile["layer"] == name and tile["part"] == p:
                    block = [slice(*tile[key]) for key in ("outputs", "channels", "taps")]
                    covered[tuple(block)] += 1
                    assert covered[tuple(block)][0].numel() == tile["rows"][1] <= 16
            assert (covered == 1).all()


def test_single_reads_belong_to_chip_and_time():
    torch.manual_seed(0)
    model, images = Residual().eval(), torch.randn(4, 3, 8, 8)
    network = map_network(model, CHIP, PhaseChangeMemory(programming_error=False, drift=False),
                          single_read=True).calibrate([images])

    def reads(seed, time):
        network.program(seed).at(time)
        means = torch.cat([tile.mean.flatten() for layer in network.layers.values()
                           for tile in layer.weights])
        return means, network(images)

    first, output = reads(0, 25.0)
    assert torch.equal(reads(0, 25.0)[0], first)
    assert torch.equal(network(images), output) and torch.equal(network.at(25.0)(images), output)
    for seed, time in ((1, 25.0), (0, 26.0)):
        other, different = reads(seed, time)
        assert not torch.equal(other, first) and not torch.equal(different, output)
