"""``crossloom train``: a trained network learns to live with noisy weights."""

from copy import deepcopy
from pathlib import Path
from typing import Annotated

import typer

from . import options, output

__all__ = ["train"]


def train(
        network: options.Network,
        file: Annotated[Path, typer.Option("-o", "--output", metavar="FILE",
                                           help="safetensors file of weights to write.")],
        weights: options.Weights = None,
        images: Annotated[Path | None, typer.Option(
            "--training-images", metavar="FILE", help=".npy file of float images to train with; "
            "digits and the ResNets otherwise take their own training set.")] = None,
        labels: options.Labels = None, data: options.Data = None,
        noise: Annotated[float, typer.Option(
            "--noise", help="Standard deviation of the weights' noise over the largest weight of "
                            "their column.")] = 0.038,
        clip: Annotated[float, typer.Option(
            "--clip", help="Weights are kept within so many times the root mean square of those "
                           "of their column.")] = 2.0,
        scaling: Annotated[str, typer.Option(
            "--scaling", help="Whose weights share a scale on the arrays: each column's or each "
                              "layer's.")] = "column",
        epochs: Annotated[int, typer.Option(
            "--epochs", min=1, help="Passes over the training images; the rate drops to a tenth "
                                    "after two thirds of them.")] = 15,
        rate: Annotated[float, typer.Option(
            "--rate", help="Rate of the gradient descent.")] = 0.01,
        cosine: Annotated[bool, typer.Option(
            "--cosine", help="The rate falls along a half cosine to zero instead.")] = False,
        teach: Annotated[float | None, typer.Option(
            "--teach", metavar="WEIGHT", help="Learn, beside the labels, the logits of the network "
            "as it was given, with this weight; 0.2 is a good one.")] = None,
        batch: Annotated[int, typer.Option("--batch", min=1, help="Images per step.")] = 128,
        precision: options.Precision = "float32", seed: options.Seed = 0) -> None:
    """Train a network further with noise on its weights, for memory devices (Joshi et al. 2020)."""
    output.check_file(file)

    from safetensors.torch import save
    import torch

    from golden.analog import CosineSchedule, NoiseAware, Schedule, Teacher, fine_tune
    from golden.batches import ShuffledBatches
    from golden.training import Recipe

    from .networks import labelled_training, load_network
    from .on_device import scaling_of
    from .progress import stages

    schedule = CosineSchedule(epochs, rate) if cosine else Schedule.of(epochs, rate)
    NoiseAware.check(noise, clip)
    shared = scaling_of(scaling)
    if teach is not None:
        Teacher.check(teach)
    dtype = Recipe(precision=precision).dtype
    with stages() as report:
        given = load_network(network, weights=weights, calibration=images, data=data, seed=seed,
                             progress=report)
        shown, truth = labelled_training(given, images, labels, data, seed)
        loader = ShuffledBatches(shown, truth, batch, seed)
        # The stubs of PyTorch know this argument for tensors alone.
        model = given.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        teacher = None if teach is None else Teacher(deepcopy(model).eval(), teach)
        aware = NoiseAware(model, noise, clip, seed, shared)
        fine_tune(model, loader, aware, schedule, report, dtype, teacher)
    output.write_bytes(file, save({name: value.contiguous()
                                   for name, value in model.state_dict().items()}))
    typer.echo(f"wrote {file}: {given.name}, {epochs} epochs with {100 * noise:.1f} % noise")
