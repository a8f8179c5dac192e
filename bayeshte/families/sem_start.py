"""Where the chains of a structural equation model start, and which SDs are sampled with a sign."""

from collections.abc import Mapping

import numpy as np

from bayeshte.families.sem_priors import Scales
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.density import is_even, unconstrain
from bayeshte.prior import Prior


def signed_sds(structure: Structure, priors: Mapping[str, Prior]) -> list[int]:
    """SDs that are sampled with a sign: their priors are even, and those of single correlations that change sign with them."""
    kept = set()
    for p in structure.parameters:
        if p.variable == "corr" and priors[p.key]["lower"] != -priors[p.key]["upper"]:
            kept |= {(r.level, v) for r in p.rows for v in (r.lhs, r.rhs)}
    for _, (level, *places) in structure.covariances_in_blocks:  # whose priors have the Jacobian sd_1 sd_2, a kink at 0
        name = structure.levels[level]
        kept |= {(name, structure.variables(name)[k]) for k in places}
    return [
        k
        for k, p in enumerate(structure.parameters)
        if p.variable == "sd" and is_even(priors[p.key]) and not kept & {(r.level, r.lhs) for r in p.rows}
    ]


def guess(
    structure: Structure, priors: list[Prior], signed: list[int], scales: Scales, correlations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates near the mode: no paths, means and SDs of the data; and how far each may be off."""
    start, unit = np.zeros(len(priors) + correlations), np.full(len(priors) + correlations, 0.5)
    within, room = _covariances(structure, priors, scales)
    for k, (p, prior) in enumerate(zip(structure.parameters, priors, strict=True)):
        row = p.rows[0]
        mean, s = scales.of(row.level, row.lhs)
        value = {"intercept": mean, "threshold": scales.threshold(row), "sd": 0.7 * s * room.get(p.key, 1.0)}.get(
            p.variable, within.get(p.key, 0.0)
        )
        if p.variable == "loading":
            value = scales.of(row.level, row.rhs)[1] / s
        start[k] = value if k in signed else unconstrain(prior, value)
        match p.variable:
            case "path":
                unit[k] = 0.5 * s / scales.of(row.level, row.rhs)[1]
            case "loading":
                unit[k] = 0.5 * value
            case "intercept":
                unit[k] = s
            case "threshold":
                unit[k] = 0.5
            case "sd":
                unit[k] = 0.3 * value if k in signed else 0.3
            case "cov" if prior.support == "real":
                unit[k] = 0.3 * s * scales.of(row.level, row.rhs)[1]
    return start, unit


def _covariances(
    structure: Structure, priors: list[Prior], scales: Scales
) -> tuple[dict[str, float], dict[str, float]]:
    """Values of covariances within the bounds of their priors, near 0, and factors by which SDs leave room for them, by key."""
    values, room = {}, {}
    for p, prior in zip(structure.parameters, priors, strict=True):
        if p.variable != "cov" or prior.support != "interval":
            continue
        margin = 0.05 * (prior["upper"] - prior["lower"])
        values[p.key] = c = float(np.clip(0.0, prior["lower"] + margin, prior["upper"] - margin))
        for row in p.rows:
            ends = [structure.sd(row.level, v) for v in (row.lhs, row.rhs)]
            sds = [0.7 * scales.of(row.level, r.lhs)[1] for r in ends]
            for r in ends:
                key = f"sd[{structure.label(r)}]"
                room[key] = max(room.get(key, 1.0), np.sqrt(1.5 * abs(c) / np.prod(sds)))
    return values, room
