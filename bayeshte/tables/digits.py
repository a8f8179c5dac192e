"""Numbers as APA prints them: a true minus sign, no zero before the point of what is bounded by one, digits that are known."""

import numpy as np

MINUS, DASH = "−", "—"


def number(value: float, decimals: int, bounded: bool = False) -> str:
    """A number with `decimals`, a true minus sign, commas between thousands, no leading zero if it is `bounded` by one."""
    if np.isnan(value):
        return DASH
    if np.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if decimals > 6 or abs(value) >= 1e15:
        text = f"{value:.2e}"
    else:
        text = f"{value:,.{decimals}f}"
        if float(text.replace(",", "")) == 0:
            text = text.removeprefix("-")
        if bounded and decimals:
            text = text.replace("0.", ".", 1) if text.removeprefix("-").startswith("0.") else text
    return text.replace("-", MINUS)


def significant(value: float) -> str:
    """A number with three significant digits, whole numbers in full."""
    return number(value, 0 if not np.isfinite(value) or value == round(value) else three_digits(abs(value)))


def probability(value: float, draws: float = np.inf) -> str:
    """A probability in APA style: three decimals, ``< .001``; fewer if so few (effective) `draws` cannot tell.

    One decimal below 100 draws, two below 1,000.
    """
    if np.isnan(value):
        return DASH
    decimals = 3 if draws >= 1000 else 2 if draws >= 100 else 1
    least = 10.0**-decimals
    if value < least:
        return f"< {number(least, decimals, True)}"
    if value > 1 - least:
        return f"> {number(1 - least, decimals, True)}"
    return number(value, decimals, True)


def percent(share: float) -> str:
    """A share as ``12.3 %``."""
    return f"{100 * share:.1f} %"


def two_digits(value: float) -> str:
    """A positive number with two significant digits; all digits before the point."""
    return number(value, max(0, 1 - int(np.floor(np.log10(value)))))


def supported_decimals(posterior_sd: float, mcse: float) -> int:
    """Decimals to report: two, or as many as give the SD two significant digits, but no digit that is Monte Carlo noise."""
    wanted = max(2, 1 - int(np.floor(np.log10(posterior_sd)))) if 0 < posterior_sd < np.inf else 2
    if 0 < mcse < np.inf:
        wanted = min(wanted, int(np.floor(-np.log10(mcse))))
    return max(0, wanted)


def three_digits(value: float) -> int:
    """Decimals that show three significant digits."""
    return max(0, 2 - int(np.floor(np.log10(value)))) if value > 0 else 0
