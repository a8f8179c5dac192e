"""Points of an item response model: as draws, in the coordinates of the kernel and in those of the joint graph."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from cases import EVALUATE

from bayeshte.families.item_response_arrays import Arrays
from bayeshte.marginal.density import is_even
from bayeshte.marginal.kernels.item_coordinates import HEADER


def as_draws(density, points, design) -> xr.Dataset:
    """Parameters at several points as one chain of draws."""
    values = [density.parameters(z) for z in points]
    data = {o.name: (("chain", "draw", *o.dims), np.array([v[o.name] for v in values])[None]) for o in density.outputs}
    coords = {d: design[d].to_numpy() for o in density.outputs for d in o.dims}
    return xr.Dataset(data, {"chain": [0], "draw": np.arange(len(points))} | coords)


def free(density, design, z) -> np.ndarray:
    """Parameters in which PyMC's distributions are densities: of a factor what is below the diagonal, of u that sums to zero its
    coordinates in an orthonormal basis."""
    out = []
    for name, v in density.parameters(z).items():
        if name.endswith("_factor"):
            v = v[np.tril_indices(len(v), -1)]
        elif name == "u" and Arrays(design).fixed:
            v = np.linalg.svd(np.ones((1, len(v))))[2][1:] @ v
        out.append(v.ravel())
    return np.concatenate(out)


def log_posterior(density, design, priors, z) -> float:
    """The kernel's log density at z as one of the parameters, in the measure of PyMC's distributions; Jacobian numerically."""
    coarse, fine = (
        np.column_stack([(free(density, design, z + h) - free(density, design, z - h)) / (2 * e) for h in steps])
        for e, steps in ((e, e * np.eye(density.n_dim)) for e in (1e-4, 5e-5))
    )
    d = density.n_top
    scale = density.floats[density.at + d : density.at + d + d * d].reshape(d, d)
    others = ("rho", "corr", "rho_theta", "gap", "tau", *(("b", "zeta") if Arrays(design).fixed else ()))
    names = [v for v in priors if v.split("[")[0] not in others]
    codes = density.ints[HEADER : HEADER + len(names)]
    twice = sum(is_even(priors[v]) and code == 3 for v, code in zip(names, codes, strict=True))
    constant = np.linalg.slogdet((4 * fine - coarse) / 3)[1] - np.linalg.slogdet(scale)[1]
    return density(z)[0] + twice * np.log(2) - constant


def joint_value(model: pm.Model, values: dict, dims: dict) -> dict:
    """Values in the coordinates of a PyMC graph."""
    point = {}
    for rv in model.free_RVs:
        value, transform = np.asarray(values[rv.name]), model.rvs_to_transforms[rv]
        if rv.name in ("u", "_z") and model.named_vars_to_dims.get(rv.name) != dims[rv.name]:
            value = value.T
        if transform is not None:
            value = transform.forward(pt.as_tensor(value), *rv.owner.inputs).eval(mode=EVALUATE)
        point[model.rvs_to_values[rv].name] = np.asarray(value)
    return point
