"""Kernels as plain Python, new arrays filled with NaN: ``python plain_kernels.py FILE`` for densities that `pickled` wrote.

Compiled, an array that was not written holds what the memory held before: zeros as a rule, so a kernel that reads it is right
until it is not.
"""

import importlib
import math
import pickle
import sys
from pathlib import Path

import numpy as np

from bayeshte.marginal.density import Density

NEVER = -(2**40)  # an index or a count that nothing survives


def pickled(densities: dict[str, Density], path: Path) -> None:
    """Write densities, each at a point of its own, with their values, gradients and parameters there."""
    rng, out = np.random.default_rng(1), {}
    for name, d in densities.items():
        z = rng.normal(0, 0.3, d.n_dim)
        values = np.concatenate([v.ravel() for v in d.parameters(z).values()])
        out[name] = d.log_density._pyfunc.__module__, z, d.ints, d.floats, *d(z), values
    path.write_bytes(pickle.dumps(out))


def with_nan(make):
    """`np.empty` or `np.empty_like`, filled."""

    def filled(*args, **options):
        out = make(*args, **options)
        out.fill(np.nan if out.dtype.kind == "f" else NEVER)
        return out

    return filled


def plain(module: str):
    """A kernel whose callbacks take arrays, and mathematical functions are those of Python."""
    found = importlib.import_module(module)
    for name, other in list(sys.modules.items()):
        if name.startswith("bayeshte.marginal.kernels."):
            for function in {"exp", "log", "log1p", "expm1"} & set(vars(other)):
                setattr(other, function, getattr(math, function))
            vars(other).update(carray=lambda array, shape: array[: shape[0]], views=lambda tables, *_: tables)
    return found


def main(path: Path) -> None:
    """Name, and the largest differences of density, gradient and parameters, of every density that was written."""
    asked = pickle.loads(path.read_bytes())
    kernels = {module: plain(module) for module, *_ in asked.values()}
    np.empty, np.empty_like = with_nan(np.empty), with_nan(np.empty_like)
    for name, (module, z, ints, floats, lp, grad, values) in asked.items():
        found = np.empty(1), np.empty(len(z)), np.empty(len(values))
        kernels[module].log_density_c(len(z), z, found[1], found[0], (ints, floats))
        kernels[module].expand_c(len(z), len(values), z, found[2], (ints, floats))
        differences = [np.abs(a - b).max(initial=0) for a, b in zip(found, ([lp], grad, values), strict=True)]
        print(name, *differences, sep="\t")


if __name__ == "__main__":
    import numba

    numba.cfunc = lambda *_, **__: lambda function: function
    main(Path(sys.argv[1]))
