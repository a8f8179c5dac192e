"""A saved fit: a folder of plain files that another version, or another language, can read.

spec.json  priors.json  record.json   what was fitted, with which priors, seed, versions, format number
design.zarr  draws.zarr               the data in model form; posterior and sampler statistics
sampling.zarr                         draws while they are made; gone when the fit is complete

Whatever moment a run is killed at, the folder can be opened: files are replaced, never rewritten, and the record of a
finished fit lists the files of its arrays, so that a missing one is not taken for missing values.
"""

import json
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import xarray as xr

from bayeshte import families
from bayeshte.errors import DataError
from bayeshte.prior import Prior
from bayeshte.sampler import FEWEST
from bayeshte.spec import ModelSpec

FORMAT = 1
SPEC, PRIORS, RECORD = "spec.json", "priors.json", "record.json"
DESIGN, DRAWS, SAMPLING = "design.zarr", "draws.zarr", "sampling.zarr"
COPY_AGAIN = " Copy the whole folder again, or fit again: the seed is in record.json."


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
        return {"prior": value.name, **encode(dict(value.params))}
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    return [encode(v) for v in value] if isinstance(value, tuple) else value


def decode(value):
    """The inverse of `encode`; lists become tuples."""
    if isinstance(value, dict) and "prior" in value:
        params = ((k, decode(v) if isinstance(v, list) else float(v)) for k, v in value.items() if k != "prior")
        return Prior(value["prior"], tuple(params))
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
    folder = Path(path).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not an empty folder; a saved fit needs a new one.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / SPEC, spec_to_json(spec))
        _write(folder / PRIORS, {k: encode(v) for k, v in priors.items()})
        _write(folder / RECORD, {"format": FORMAT, **record})
        _plain(design).to_zarr(folder / DESIGN, consolidated=False)
    except OSError as error:
        raise DataError(
            f"Cannot write to {folder}: {error.strerror or error}. Name a folder that can be made."
        ) from None
    return folder


def snapshot(folder: Path, draws: xr.DataTree) -> None:
    """Write the draws made so far; the snapshot before stays until this one is whole. A full disk does not stop the sampler."""
    fresh, now, old = (folder / f"{SAMPLING}{part}" for part in (".new", "", ".old"))
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        _write_draws(fresh, draws)
        if now.exists():
            now.rename(old)
        fresh.rename(now)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        warnings.warn(f"The draws so far cannot be written to {folder} ({error}); sampling goes on.", stacklevel=2)


def _write_draws(folder: Path, draws: xr.DataTree) -> None:
    for name, node in draws.children.items():
        data = _plain(node.to_dataset())
        data.assign_attrs(order=list(data.data_vars)).to_zarr(folder, group=name, consolidated=False)


def _read_draws(folder: Path) -> xr.DataTree:
    groups = {g: xr.open_zarr(folder, group=g, consolidated=False).load() for g in ("posterior", "sample_stats")}
    return xr.DataTree.from_dict({g: data[data.attrs.pop("order")] for g, data in groups.items()})  # zarr sorts by name


def finish(folder: Path, draws: xr.DataTree, record: Mapping) -> None:
    """Write the draws and mark the fit as finished."""
    try:
        _write_draws(folder / DRAWS, draws)
        files = {k: v for part in (DESIGN, DRAWS) for k, v in _files(folder, part).items()}
        _write(folder / RECORD, {"format": FORMAT, **record, "finished": True, "files": files})
    except OSError as error:
        raise DataError(f"The draws cannot be written to {folder}: {error.strerror or error}.") from None
    for part in ("", ".new", ".old"):
        shutil.rmtree(folder / f"{SAMPLING}{part}", ignore_errors=True)


def _files(folder: Path, part: str) -> dict[str, int]:
    """Files of an array store and their sizes; 0 for text, whose line ends may change on the way."""
    found = sorted(f for f in (folder / part).rglob("*") if f.is_file())
    return {f.relative_to(folder).as_posix(): 0 if f.suffix == ".json" else f.stat().st_size for f in found}


def read(path) -> Saved:
    """Open a folder; see `bayeshte.load`."""
    folder = Path(path).expanduser()
    if not (folder / RECORD).is_file():
        raise DataError(f"{folder} is not a saved fit: it has no {RECORD}.")
    try:
        record = _read(folder / RECORD)
        if record.get("format") != FORMAT:
            version = record.get("versions", {}).get("bayeshte")
            raise DataError(
                f"{folder} was saved in format {record.get('format')!r} by bayeshte {version}; this version reads format "
                f"{FORMAT}. Open it with that version."
            )
        finished, files = bool(record.pop("finished", False)), record.pop("files", {})
        record.pop("format")
        found = _files(folder, DESIGN) | _files(folder, DRAWS)
        lost = [name for name, size in files.items() if found.get(name) != size]
        if lost:
            raise DataError(f"{folder} is cut short: {len(lost)} of {len(files)} files, such as {lost[0]}.{COPY_AGAIN}")
        spec = spec_from_json(_read(folder / SPEC))
        priors = {k: decode(v) for k, v in _read(folder / PRIORS).items()}
        design = xr.open_zarr(folder / DESIGN, consolidated=False).load()
        draws = _read_draws(folder / DRAWS) if finished else _made_so_far(folder)
    except DataError:
        raise
    except Exception as error:  # JSON, zarr and xarray raise many types of their own
        raise DataError(f"{folder} is damaged: {type(error).__name__}: {error}.{COPY_AGAIN}") from None
    return Saved(spec, design, priors, draws, record, finished)


def _made_so_far(folder: Path) -> xr.DataTree:
    """Draws of an unfinished run. A killed process leaves at least one of the two snapshots whole."""
    whole = [f for f in (folder / SAMPLING, folder / f"{SAMPLING}.old") if f.is_dir()]
    if not whole:
        raise DataError(
            f"{folder} holds no draws: the run ended before its first snapshot, {FEWEST} draws after warm-up. Fit again to "
            "another folder."
        )
    draws = _read_draws(whole[0])
    if any(v.isnull().any() for v in draws["posterior"].data_vars.values()):
        raise DataError(f"{folder} is cut short: draws are missing from {whole[0].name}.{COPY_AGAIN}")
    return draws


def _plain(data: xr.Dataset) -> xr.Dataset:
    """Object coordinates as text, so that zarr stores them without pickling."""
    for name in data.variables:
        if data[name].dtype == object:
            data = data.assign_coords({name: data[name].astype(str)}) if name in data.coords else data
    return data.drop_encoding()


def _write(path: Path, data: Mapping) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(data, indent=1, default=_json, ensure_ascii=False), encoding="utf-8")
    os.replace(fresh, path)


def _json(value):
    if isinstance(value, np.generic):
        return value.item()
    return asdict(value)


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))
