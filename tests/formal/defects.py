"""Components with a planted defect, to see that a proof finds it."""

import importlib
import inspect
import types

from amaranth.lib.wiring import Component

__all__ = ["defective"]


def defective(component: type[Component], old: str, new: str) -> type[Component]:
    """``component`` from the same source, where ``new`` stands for the one place of ``old``.

    Raises ValueError unless ``old`` stands in the source exactly once.
    """
    original = importlib.import_module(component.__module__)
    source = inspect.getsource(original)
    if source.count(old) != 1:
        raise ValueError(f"old must stand once in {original.__name__}, not "
                         f"{source.count(old)} times: {old!r}")
    module = types.ModuleType(original.__name__)
    module.__package__ = original.__package__
    module.__file__ = original.__file__
    exec(compile(source.replace(old, new), f"<defective {original.__name__}>", "exec"),
         module.__dict__)
    return getattr(module, component.__name__)
