"""Model texts and what their tables say, for the tests of the model text."""

import pytest

from bayeshte.errors import SpecError
from bayeshte.model_text import parameter_table

WITHIN = "mvpa ~ w1*advant + w2*peers;  advant ~~ peers"
BETWEEN = "mvpa ~ b3*advant + b4*peers;  advant ~ b1*treat;  peers ~ b2*treat;  advant ~~ peers"


def one(text, **kwargs):
    return parameter_table(model=text, **kwargs)


def names(table, level="", given=None):
    """Names of the rows of a level without the level; ``given`` keeps the written or the added ones."""
    rows = [row for row in table.at(level) if given in (None, row.given)]
    return [row.name.removeprefix(f"{level}: ") for row in rows]


def row(table, name):
    (found,) = [r for r in table.rows if r.name == name]
    return found


def refused(*said, **texts):
    """The texts are refused with a SpecError that says all of `said`."""
    with pytest.raises(SpecError) as caught:
        parameter_table(**texts)
    for words in said:
        assert words in str(caught.value), str(caught.value)
    return str(caught.value)
