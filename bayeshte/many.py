"""The same models fitted to many data sets: in parallel, resumable, one table of all effects.

A fit that ends, well or badly, leaves one file in the folder of results, written at once; a second call with the same models
reads these and fits what is missing. A trial that a model refuses, or that does not converge, is a row like the others.
"""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from bayeshte import store
from bayeshte.design import fingerprint
from bayeshte.effects import effects
from bayeshte.errors import ConvergenceWarning, DataError, SpecError
from bayeshte.fit import fit, summary
from bayeshte.progress import Bar
from bayeshte.sampler import CHAINS, Progress
from bayeshte.spec import ModelSpec

MODEL = "model"  # what a model is called that is the only one
SETTINGS = "settings.json"
READERS = {".csv": pd.read_csv, ".parquet": pd.read_parquet}


@dataclass(frozen=True)
class Trials:
    """What `fit_many` found.

    Attributes
    ----------
    fits : DataFrame
        One row a fit: ``trial, model, status`` (``"ok"``, ``"not converged"`` or ``"refused"``), ``said`` (the verdict of the
        diagnosis, or why the data were refused), ``rows, seconds``.
    effects : DataFrame
        ``trial, model, status``, then the columns of `bayeshte.effects`.
    parameters : DataFrame
        ``trial, model, status``, then the columns of `bayeshte.summary`.
    """

    fits: pd.DataFrame
    effects: pd.DataFrame
    parameters: pd.DataFrame

    @cached_property
    def verdict(self) -> str:
        """One sentence: how many fits there are, and which cannot be used."""
        n = self.fits["status"].value_counts()
        bad = self.fits[self.fits["status"] != "ok"]
        text = f"{n.get('ok', 0)} of {len(self.fits)} fits of {self.fits['trial'].nunique()} trials converged."
        if bad.empty:
            return text
        names = [f"{t} ({s})" for t, s in zip(bad["trial"], bad["status"], strict=True)]
        return f"{text} NOT TO BE USED: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}."

    def __repr__(self):
        return f"{self.verdict}\n{self.fits.to_string(index=False, float_format='%.1f', max_colwidth=60)}"


def fit_many(
    specs: ModelSpec | Mapping[str, ModelSpec],
    datasets: Mapping[str, pd.DataFrame] | str | Path,
    path: str | Path | None = None,
    *,
    draws: int = 1000,
    tune: int = 500,
    chains: int = CHAINS,
    seed: int = 0,
    cores: int | None = None,
    target_accept: float = 0.9,
    progress: bool = True,
) -> Trials:
    """Fit one or several models to every one of many data sets.

    Parameters
    ----------
    specs : ModelSpec, or mapping of names to ModelSpec
    datasets : mapping of names to DataFrame, or a folder
        Of a folder every ``.csv`` and ``.parquet`` file is a data set, called by its name; each is read when its turn comes.
    path : str or Path, optional
        A folder for the results, one file a fit. A second call goes on from what is there, after an interruption say.
    draws, tune, chains, target_accept
        As in `bayeshte.fit`.
    seed : int
        The seed of a fit follows from it and from the names of trial and model: neither order nor number of data sets matters.
    cores : int, optional
        Fits that run at the same time, each on one core; as many as there are cores by default.
    progress : bool
        Show a progress bar, on a terminal or in a notebook.

    Returns
    -------
    Trials

    Raises
    ------
    SpecError
        Something that is no specification; no data sets.
    DataError
        `path` holds the results of other models or settings, or of other data of the same name.

    Notes
    -----
    Fits run in processes of their own (joblib). They are not kept, only their tables: what deserves a closer look is fitted again
    by `bayeshte.fit` with the seed in its file.
    """
    models = {MODEL: specs} if isinstance(specs, ModelSpec) else dict(specs)
    if not models or not all(isinstance(s, ModelSpec) for s in models.values()):
        raise SpecError("specs: a specification such as bh.ItemResponse(...), or a mapping of names to specifications.")
    sources = _sources(datasets)
    options = {"draws": draws, "tune": tune, "chains": chains, "target_accept": target_accept}
    folder = _folder(path, models, options | {"seed": seed}) if path is not None else None
    done, todo = {}, []
    for trial, source in sources.items():
        for name, spec in models.items():
            saved = folder / _file(trial, name) if folder else None
            if saved is not None and saved.is_file():
                done[trial, name] = _read(saved, source)
            else:
                todo.append(
                    delayed(_one)(trial, name, spec, source, options | {"seed": _seed(seed, trial, name)}, saved)
                )
    start = time.perf_counter()
    with Bar(progress) as bar:
        found = Parallel(n_jobs=cores or os.cpu_count(), return_as="generator_unordered")(todo)
        for k, result in enumerate(found, start=1):
            done[result["trial"], result["model"]] = result
            bar.sampling(Progress(k, len(todo), 0, time.perf_counter() - start))
    return _table([done[trial, name] for trial in sources for name in models])


def _sources(datasets) -> dict[str, pd.DataFrame | Path]:
    """Data frames by name, or the files of a folder."""
    if isinstance(datasets, Mapping):
        wrong = [k for k, v in datasets.items() if not isinstance(v, pd.DataFrame)]
        if wrong:
            raise SpecError(f"datasets[{wrong[0]!r}] is no DataFrame but {type(datasets[wrong[0]]).__name__}.")
        out = {str(k): v for k, v in datasets.items()}
    else:
        folder = Path(datasets).expanduser()
        if not folder.is_dir():
            raise DataError(f"There is no folder {folder}.")
        out = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix in READERS}
        if len(out) < sum(p.suffix in READERS for p in folder.iterdir()):
            raise DataError(f"Two files of {folder} have one name but for their ending: rename one.")
    if not out:
        raise SpecError(
            f"No data sets: {'the mapping is empty' if isinstance(datasets, Mapping) else 'no .csv or .parquet file'}."
        )
    return out


def _folder(path, models: Mapping[str, ModelSpec], options: dict) -> Path:
    """The folder of results, made or found to be that of the same analysis."""
    folder = Path(path).expanduser()
    settings = {"models": {k: store.spec_to_json(v) for k, v in models.items()}, **options}
    settings = json.loads(json.dumps(settings))
    file = folder / SETTINGS
    if file.is_file():
        before = json.loads(file.read_text())
        changed = [k for k in settings if before.get(k) != settings[k]]
        if changed:
            raise DataError(
                f"{folder} holds results of another analysis ({', '.join(changed)} differ): name another folder."
            )
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and holds something else: name a new folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"Cannot write to {folder}: {error.strerror or error}.") from None
    _write(file, settings)
    return folder


def _file(trial: str, model: str) -> str:
    """Name of a file; a hash stands for what a file's name cannot hold."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in f"{trial}.{model}")[:100]
    return f"{plain}.{hashlib.sha256(f'{trial}/{model}'.encode()).hexdigest()[:8]}.json"


def _seed(seed: int, trial: str, model: str) -> int:
    words = np.frombuffer(hashlib.sha256(f"{seed}/{trial}/{model}".encode()).digest(), np.uint32)
    return int(np.random.SeedSequence(words.tolist()).generate_state(1)[0])


def _one(trial: str, model: str, spec: ModelSpec, source, options: dict, saved: Path | None) -> dict:
    """Fit one model to one data set; what there is to tell of it."""
    begin = time.perf_counter()
    out: dict[str, object] = {"trial": trial, "model": model, "rows": 0, "effects": [], "parameters": [], **options}
    try:
        data = source if isinstance(source, pd.DataFrame) else READERS[source.suffix](source)
        out |= {"rows": len(data), "data": fingerprint(data)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the diagnosis is in the table
            made = fit(spec, data, **options, cores=1, progress=False)
        out |= {"status": "ok" if made.diagnosis.ok else "not converged", "said": made.diagnosis.verdict}
        out |= {"effects": _records(effects(made)), "parameters": _records(summary(made))}
    except (DataError, SpecError) as error:
        out |= {"status": "refused", "said": str(error)}
    out["seconds"] = time.perf_counter() - begin
    if saved is not None:
        _write(saved, out)
    return out


def _records(table: pd.DataFrame) -> list[dict]:
    return json.loads(table.to_json(orient="records", double_precision=15))


def _write(file: Path, content: dict) -> None:
    """Replaced at once, so that no interruption leaves a torn file."""
    new = file.with_name(file.name + ".new")
    new.write_text(json.dumps(content))
    new.replace(file)


def _read(saved: Path, source) -> dict:
    """The result of a fit that was made before, of these data."""
    out = json.loads(saved.read_text())
    data = source if isinstance(source, pd.DataFrame) else READERS[source.suffix](source)
    if out.get("data") != fingerprint(data):
        raise DataError(
            f"{saved} is the result of other data of {out['trial']!r}: name another folder, or delete that file."
        )
    return out


def _table(results: list[dict]) -> Trials:
    said = ["trial", "model", "status", "said", "rows", "seconds"]
    parts = {}
    for key in ("effects", "parameters"):
        rows = [{k: r[k] for k in said[:3]} | row for r in results for row in r[key]]
        parts[key] = pd.DataFrame(rows, columns=None if rows else said[:3])
    return Trials(pd.DataFrame([{k: r[k] for k in said} for r in results]), **parts)
