"""A saved fit: a folder of plain files that another version, or another language, can read.

spec.json  priors.json  record.json   what was fitted, with which priors, seed, versions, format number
design.zarr  draws.zarr               the data in model form; posterior and sampler statistics
sampling.zarr                         draws while they are made; gone when the fit is complete
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import xarray as xr

from bayeshte import families
from bayeshte.errors import DataError
from bayeshte.prior import Prior
from bayeshte.spec import ModelSpec

FORMAT = 1
SPEC, PRIORS, RECORD = "spec.json", "priors.json", "record.json"
DESIGN, DRAWS, SAMPLING = "design.zarr", "draws.zarr", "sampling.zarr"


@dataclass(frozen=True)
class Saved:
    """What a folder held."""

    spec: ModelSpec
    design: xr.Dataset
    priors: Mapping[str, Prior]
    draws: xr.DataTree
    record: Mapping[str, object]
    complete: bool


def encode(value):
    """JSON form of a specification field: priors become ``{"prior": name, ...}``."""
    if isinstance(value, Prior):
        return {"prior": value.name, **dict(value.params)}
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value


def decode(value):
    """The inverse of `encode`; lists become tuples."""
    if isinstance(value, dict) and "prior" in value:
        return Prior(value["prior"], tuple((k, float(v)) for k, v in value.items() if k != "prior"))
    if isinstance(value, dict):
        return {k: decode(v) for k, v in value.items()}
    return tuple(decode(v) for v in value) if isinstance(value, list) else value


def spec_to_json(spec: ModelSpec) -> dict:
    """A specification as plain data."""
    return {"family": type(spec).__name__, "fields": {f.name: encode(getattr(spec, f.name)) for f in fields(spec)}}


def spec_from_json(data: Mapping) -> ModelSpec:
    """The specification that `spec_to_json` wrote."""
    known = {name: getattr(families, name) for name in families.__all__}
    if data["family"] not in known:
        raise DataError(
            f"The saved fit is of family {data['family']!r}, which this version does not have: {sorted(known)}."
        )
    return known[data["family"]](**{k: decode(v) for k, v in data["fields"].items()})


def begin(path, spec: ModelSpec, design: xr.Dataset, priors: Mapping[str, Prior], record: Mapping) -> Path:
    """Make the folder and write everything that is known before sampling."""
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not an empty folder; a saved fit needs a new one.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / SPEC, spec_to_json(spec))
        _write(folder / PRIORS, {k: encode(v) for k, v in priors.items()})
        _write(folder / RECORD, {"format": FORMAT, **record})
        _plain(design).to_zarr(folder / DESIGN, consolidated=False)
    except OSError as error:
        raise DataError(f"Cannot write to {folder}: {error.strerror or error}. Nothing was sampled.") from None
    return folder


def snapshot(folder: Path, draws: xr.DataTree) -> None:
    """Write the draws made so far; the snapshot before stays until this one is whole."""
    fresh, old = folder / f"{SAMPLING}.new", folder / SAMPLING
    shutil.rmtree(fresh, ignore_errors=True)
    _write_draws(fresh, draws)
    shutil.rmtree(old, ignore_errors=True)
    fresh.rename(old)


def _write_draws(folder: Path, draws: xr.DataTree) -> None:
    for name, node in draws.children.items():
        _plain(node.to_dataset()).to_zarr(folder, group=name, consolidated=False)


def _read_draws(folder: Path) -> xr.DataTree:
    groups = ("posterior", "sample_stats")
    return xr.DataTree.from_dict({g: xr.open_zarr(folder, group=g, consolidated=False).load() for g in groups})


def finish(folder: Path, draws: xr.DataTree, record: Mapping) -> None:
    """Write the draws and mark the fit as finished."""
    _write_draws(folder / DRAWS, draws)
    _write(folder / RECORD, {"format": FORMAT, **record, "finished": True})
    shutil.rmtree(folder / SAMPLING, ignore_errors=True)


def read(path) -> Saved:
    """Open a folder; see `bayeshte.load`."""
    folder = Path(path)
    if not (folder / RECORD).is_file():
        raise DataError(f"{folder} is not a saved fit: it has no {RECORD}.")
    record = _read(folder / RECORD)
    if record.get("format") != FORMAT:
        raise DataError(
            f"{folder} was saved in format {record.get('format')!r} by bayeshte {record.get('versions', {}).get('bayeshte')}; "
            f"this version reads format {FORMAT}. Open it with that version."
        )
    finished = bool(record.pop("finished", False))
    record.pop("format")
    try:
        spec = spec_from_json(_read(folder / SPEC))
        priors = {k: decode(v) for k, v in _read(folder / PRIORS).items()}
        design = xr.open_zarr(folder / DESIGN, consolidated=False).load()
        draws = _read_draws(folder / DRAWS) if finished else _made_so_far(folder)
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{folder} is cut short or damaged: {type(error).__name__}: {error}") from None
    return Saved(spec, design, priors, draws, record, finished)


def _made_so_far(folder: Path) -> xr.DataTree:
    """Draws of an unfinished run, chains cut to the shortest."""
    whole = [f for f in (folder / SAMPLING, folder / f"{SAMPLING}.new") if f.is_dir()]
    if not whole:
        raise DataError(f"{folder} holds no draws: the run ended before its first snapshot.")
    tree = _read_draws(whole[0])
    made = np.isfinite(tree["sample_stats"]["energy"].to_numpy())
    least = int(made.cumprod(axis=1).sum(axis=1).min())
    if least < 4:
        raise DataError(f"{folder} holds fewer than four draws a chain after warm-up: there is nothing to report yet.")
    return xr.DataTree.from_dict({k: v.to_dataset().isel(draw=slice(0, least)) for k, v in tree.children.items()})


def _plain(data: xr.Dataset) -> xr.Dataset:
    """Object coordinates as text, so that zarr stores them without pickling."""
    for name in data.variables:
        if data[name].dtype == object:
            data = data.assign_coords({name: data[name].astype(str)}) if name in data.coords else data
    return data.drop_encoding()


def _write(path: Path, data: Mapping) -> None:
    path.write_text(json.dumps(data, indent=1, default=_json, ensure_ascii=False), encoding="utf-8")


def _json(value):
    if isinstance(value, np.generic):
        return value.item()
    return asdict(value)


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))
