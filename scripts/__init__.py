"""The command line: one module per command, thin, with no logic of its own."""

__all__ = ["__version__"]

#: Version of the distribution.
__version__ = "0.1.0"
