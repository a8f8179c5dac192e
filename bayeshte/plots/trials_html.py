"""The figures of many trials as pages of one file: SVG with a box of details under the pointer, no library, no network."""

from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator

from bayeshte.plots.style import GREY, INK, shorten
from bayeshte.plots.trials import CONSTANT, CRITERION, RHO, VARIES, interactions, ordered

WIDTH, LINE = 900, 14  # pixels: of a figure, and of a trial
LEFT, RIGHT, TOP, BOTTOM = 190, 30, 46, 46
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px/1.4 system-ui, sans-serif; color: {ink}; margin: 1.5rem auto; max-width: {width}px; }}
h1 {{ font-size: 1.1rem; font-weight: 600; margin: 0; }} p {{ margin: .3rem 0 .6rem; }}
svg {{ width: 100%; height: auto; }} svg text {{ font: 11px system-ui, sans-serif; fill: {ink}; }}
svg text.name {{ font-size: 9px; }}
[data-tip] {{ cursor: pointer; }} [data-tip]:hover, [data-tip]:focus {{ stroke: {ink}; stroke-width: 1.5; outline: none; }}
#tip {{ position: fixed; display: none; pointer-events: none; background: #fff; border: 1px solid {grey}; border-radius: 4px;
  padding: .4rem .6rem; font-size: 12px; white-space: pre; box-shadow: 0 2px 6px #0003; }}
</style></head><body><h1>{title}</h1><p>{caption}</p>
<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}">{marks}</svg><div id="tip"></div><script>
const tip = document.getElementById("tip");
function show(event) {{
  const mark = event.target.closest("[data-tip]");
  if (!mark) {{ tip.style.display = "none"; return; }}
  tip.textContent = mark.dataset.tip;
  tip.style.display = "block";
  const box = mark.getBoundingClientRect(), x = Math.min(box.right + 8, innerWidth - tip.offsetWidth - 8);
  tip.style.left = x + "px";
  tip.style.top = Math.max(4, Math.min(box.top, innerHeight - tip.offsetHeight - 8)) + "px";
}}
for (const kind of ["mouseover", "focusin"]) document.addEventListener(kind, show);
document.addEventListener("focusout", () => tip.style.display = "none");
</script></body></html>
"""


def trials_html(summary: pd.DataFrame, items: pd.DataFrame, path: str | Path, criterion: str = CRITERION) -> Path:
    """`bayeshte.plot_trials` as one HTML file, with the details of a trial under the pointer.

    Parameters
    ----------
    summary, items, criterion
        As for `bayeshte.plot_trials`; of `summary` also ``n_persons``, if it is there.
    path : str or Path
        Of the file, which is overwritten.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        Columns, values or trials that are missing.
    """
    trials = ordered(summary, items)
    table, n = trials.table, len(trials.table)
    height = max(400, TOP + BOTTOM + n * LINE)
    x = _Scale(np.concatenate([trials.effect, table["ate_std"], [0.0]]), LEFT, WIDTH - RIGHT)
    y = _Scale(np.array([-1.0, float(n)]), height - BOTTOM, TOP, margin=0.0)
    colours = np.where(table["sig_il_hte"].to_numpy(bool), VARIES, CONSTANT)
    marks = [*_axis(x, height, "effect of treatment in SDs of abilities"), _line(x(0), TOP, x(0), height - BOTTOM)]
    for place, effect in zip(trials.place, trials.effect, strict=True):
        marks.append(f'<circle cx="{x(effect):.1f}" cy="{y(place):.1f}" r="2" fill="{colours[place]}" opacity=".4"/>')
    for place, row in enumerate(table.itertuples()):
        marks.append(
            f'<text class="name" x="{LEFT - 8}" y="{y(place) + 3:.1f}" text-anchor="end">{_text(row.tab)}</text>'
        )
        marks.append(_dot(x(row.ate_std), y(place), 5, colours[place], _of_trial(row)))
    marks += _legend([(VARIES, "effect varies over items"), (CONSTANT, "effect not shown to vary over items")])
    varies = int(table["sig_il_hte"].astype(bool).sum())
    caption = (
        f"Small: effects on items; large: average effect. In {varies} of {n} trials the effect varies ({criterion})."
    )
    return _write(path, "Effects on items, and on average", caption, height, marks)


def interaction_html(summary: pd.DataFrame, path: str | Path) -> Path:
    """`bayeshte.plot_interaction_bias` as one HTML file, with the details of a trial under the pointer.

    Parameters
    ----------
    summary : DataFrame
        As for `bayeshte.plot_interaction_bias`, also ``n_persons``, if it is there.
    path : str or Path
        Of the file, which is overwritten.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        Columns or values that are missing.
    """
    shown, left_out = interactions(summary)
    height, left, right = 560, 80, 120
    x = _Scale(np.append(shown["sd_ratio"].to_numpy(float), 1.0), left, WIDTH - right)
    y = _Scale(np.append(shown["delta_beta3"].to_numpy(float), 0.0), height - BOTTOM, TOP)
    marks = [*_axis(x, height, "SD of the easiness of items: treated over reference arm")]
    marks += _upright(y, left, "interaction: constant item effects − item effects (β₃ of B − C)")
    marks += [_line(left, y(0), WIDTH - right, y(0)), _line(x(1), TOP, x(1), height - BOTTOM, dashed=True)]
    for row in shown.sort_values("n_items", ascending=False).itertuples():
        colour = to_hex(RHO((row.rho + 1) / 2))
        marks.append(
            _dot(x(row.sd_ratio), y(row.delta_beta3), 1.3 * np.sqrt(row.n_items), colour, _of_interaction(row))
        )
    marks += _colour_bar(WIDTH - right + 40, height)
    verb = "trial without an interaction is" if left_out == 1 else "trials without an interaction are"
    missing = f" {left_out} {verb} left out." if left_out else ""
    caption = f"{len(shown)} trials; diameter: root of the number of items; colour: ρ of easiness and effect.{missing}"
    return _write(path, "What constant item effects do to an interaction", caption, height, marks)


class _Scale:
    """From values to pixels, with round ticks inside."""

    def __init__(self, values: np.ndarray, first: float, last: float, margin: float = 0.04):
        low, high = float(values.min()), float(values.max())
        room = margin * (high - low) or (0.0 if high > low else 1.0)
        self.low, self.high, self.first, self.last = low - room, high + room, first, last

    def __call__(self, value: float) -> float:
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)

    @property
    def ticks(self) -> list[float]:
        found = MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        return [float(v) for v in found if self.low <= v <= self.high]


def _of_trial(row) -> str:
    lines = [f"ATE: {_number(row.ate_std)} SD", f"σζ: {_number(row.sigma_zeta_std)} SD", f"ρ: {_number(row.rho, 2)}"]
    varies = "yes" if row.sig_il_hte else "no"
    return "\n".join([str(row.tab), *lines, *_sizes(row), f"effect varies over items: {varies}"])


def _of_interaction(row) -> str:
    lines = [f"Δβ₃: {_number(row.delta_beta3)}", f"ratio of SDs: {_number(row.sd_ratio)}", f"ρ: {_number(row.rho, 2)}"]
    return "\n".join([str(row.tab), *lines, *_sizes(row)])


def _sizes(row) -> list[str]:
    """Numbers of items and, where the table has it, of persons."""
    persons = [f"persons: {row.n_persons:,}"] if "n_persons" in row._fields else []
    return [f"items: {row.n_items:,}", *persons]


def _number(value: float, digits: int = 3) -> str:
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def _text(value) -> str:
    return escape(shorten(value, 30))


def _dot(x: float, y: float, radius: float, colour: str, tip: str) -> str:
    label = escape(tip, quote=True).replace("\n", "&#10;")
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}" stroke="#fff" stroke-width=".7" tabindex="0" '
        f'data-tip="{label}" aria-label="{label}"/>'
    )


def _line(x0: float, y0: float, x1: float, y1: float, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{GREY}" stroke-width=".8"{dash}/>'


def _axis(x: _Scale, height: float, label: str) -> Iterator[str]:
    base = height - BOTTOM
    yield _line(x.first, base, x.last, base)
    for value in x.ticks:
        yield _line(x(value), base, x(value), base + 4)
        yield f'<text x="{x(value):.1f}" y="{base + 16}" text-anchor="middle">{f"{value:g}".replace("-", "−")}</text>'
    yield f'<text x="{(x.first + x.last) / 2:.0f}" y="{base + 36}" text-anchor="middle">{label}</text>'


def _upright(y: _Scale, left: float, label: str) -> Iterator[str]:
    yield _line(left, y.first, left, y.last)
    for value in y.ticks:
        yield _line(left - 4, y(value), left, y(value))
        yield f'<text x="{left - 7}" y="{y(value) + 4:.1f}" text-anchor="end">{f"{value:g}".replace("-", "−")}</text>'
    middle = (y.first + y.last) / 2
    yield f'<text transform="translate({left - 55} {middle:.0f}) rotate(-90)" text-anchor="middle">{label}</text>'


def _legend(entries: list[tuple[str, str]]) -> Iterator[str]:
    for k, (colour, label) in enumerate(entries):
        at = LEFT + 240 * k
        yield f'<circle cx="{at}" cy="20" r="5" fill="{colour}"/><text x="{at + 10}" y="24">{label}</text>'


def _colour_bar(x: float, height: float) -> Iterator[str]:
    top, low = TOP + 40, height - BOTTOM - 120
    stops = "".join(f'<stop offset="{k / 10}" stop-color="{to_hex(RHO(1 - k / 10))}"/>' for k in range(11))
    yield f'<linearGradient id="rho" x1="0" y1="0" x2="0" y2="1">{stops}</linearGradient>'
    yield f'<rect x="{x}" y="{top}" width="14" height="{low - top}" fill="url(#rho)"/>'
    yield f'<text x="{x}" y="{top - 10}">ρ</text>'
    for value in (1, 0.5, 0, -0.5, -1):
        at = top + (1 - value) / 2 * (low - top)
        yield f'<text x="{x + 20}" y="{at + 4:.1f}">{f"{value:g}".replace("-", "−")}</text>'


def _write(path: str | Path, title: str, caption: str, height: float, marks: list[str]) -> Path:
    path = Path(path)
    words = {"title": escape(title), "caption": escape(caption), "marks": "\n".join(marks)}
    path.write_text(_PAGE.format(**words, width=WIDTH, height=height, ink=INK, grey=GREY), encoding="utf-8")
    return path
