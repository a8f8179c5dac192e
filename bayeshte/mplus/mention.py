"""What MODEL says of each parameter, as the reader passes it on."""

import re
from dataclasses import dataclass, field

from bayeshte.model_text import Row
from bayeshte.mplus.source import Statement

#: what relates the two sides of a statement
KEYWORD = re.compile(r"(?<![\w.])(BY|ON|WITH|PON|PWITH|XWITH)(?![\w.])", re.I)


@dataclass(frozen=True)
class Mention:
    """A parameter as a statement has it.

    `row` has its fixed value, start and label; `freed` is whether ``*`` frees it; `statement` is where it stands.
    """

    row: Row
    freed: bool
    statement: Statement


@dataclass
class Model:
    """What MODEL says.

    Attributes
    ----------
    mentions : dict
        By key of the row; later mentions have taken the place of earlier ones.
    products : dict
        Name of an XWITH variable to its level and its two factors.
    factors : dict
        Latent variables to the levels that they are defined at ("" with one level).
    slopes : list of str
        Random slopes.
    labels : dict
        Label as written, in lower case, to the label in the model text.
    notes : list of str
    """

    mentions: dict[tuple, Mention] = field(default_factory=dict)
    products: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    factors: dict[str, set[str]] = field(default_factory=dict)
    slopes: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Item:
    """A name of a list with its modifier, and the line of the statement that it stands in."""

    name: str
    line: int
    fixed: float | None = None
    start: float | None = None
    freed: bool = False


@dataclass(frozen=True)
class Group:
    """Items and the labels in the parenthesis behind them, which begins in `line`."""

    items: tuple[Item, ...]
    labels: tuple[str, ...] = ()
    line: int = 0
