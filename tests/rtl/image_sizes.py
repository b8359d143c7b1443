"""Sizes of images and windows, drawn so that their ends are met often."""

__all__ = ["often_one", "random_images"]


def often_one(generator, most):
    """A size up to ``most``."""
    return 1 if generator.random() < 0.4 else generator.randint(1, most)


def random_images(generator, stride, *windows):
    """A size of the image for each (positions, padding before it, kernel).

    It ends close to where the last window begins, or anywhere.
    """
    return [max(1, (out - 1) * stride - pad + generator.randint(-2, kernel + 1))
            if generator.random() < 0.5 else generator.randint(1, out * stride + kernel)
            for out, pad, kernel in windows]
