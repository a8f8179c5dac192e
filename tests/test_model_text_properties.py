"""Model text: properties that hold for any model and any text."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from model_texts import one

from bayeshte.errors import SpecError
from bayeshte.model_text import ParameterTable, Row, parameter_table

PATHS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda p: p[0] < p[1]), min_size=1, max_size=9, unique=True
)
MODIFIERS = st.sampled_from(["", "0.5*", "-2*", "start(1.5)*", "label"])


@st.composite
def path_models(draw):
    """Statements of a recursive path model, and its paths as rows."""
    statements, rows = [], []
    for k, (cause, effect) in enumerate(draw(PATHS)):
        modifier = draw(MODIFIERS)
        label = f"b{k}" if modifier == "label" else ""
        written = f"{label}*" if label else modifier
        statements.append(f"v{effect} ~ {written}v{cause}")
        new = Row("", f"v{effect}", "~", f"v{cause}", label)
        new = replace(new, fixed={"0.5*": 0.5, "-2*": -2.0}.get(modifier), start=1.5 if "start" in modifier else None)
        rows.append(new)
    return statements, rows


@settings(max_examples=100, deadline=None)
@given(path_models(), st.randoms(use_true_random=False), st.sampled_from(["\n", "; ", " # c\n\n"]))
def test_a_recursive_path_model_is_read_as_it_was_written(model, random, separator):
    statements, rows = model
    table = one(separator.join(statements))
    assert [r for r in table.rows if r.op == "~"] == rows
    effects, causes = {r.lhs for r in rows}, {r.rhs for r in rows}
    assert {r.lhs for r in table.rows if r.kind == "variance"} == effects
    assert {r.lhs for r in table.rows if r.op == "~1"} == effects
    last = sorted(effects - causes)
    pairs = {(a, b) for i, a in enumerate(last) for b in last[i + 1 :]}
    assert {(r.lhs, r.rhs) for r in table.rows if r.kind == "covariance"} == pairs
    random.shuffle(statements)
    assert {*one(separator.join(statements)).rows} == {*table.rows}


STATEMENTS = {
    "within": ["f =~ a + b + c", "y ~ f + x", "s | y ~ z", "x ~~ u", "m ~ x + z", "d ~ x", "w1 := l*l"],
    "between": ["f =~ a + l*b + c", "y ~ f + t", "s ~ t", "x ~~ m", "y ~~ s", "q ~ t", "m ~ 0*1 + t"],
}


@settings(max_examples=50, deadline=None)
@given(st.permutations(STATEMENTS["within"]), st.permutations(STATEMENTS["between"]))
def test_the_order_of_statements_does_not_change_the_rows(within, between):
    table = parameter_table(within="\n".join(within), between=";".join(between))
    usual = parameter_table(**{level: "\n".join(texts) for level, texts in STATEMENTS.items()})
    assert {*table.rows} == {*usual.rows}
    order = [(table.levels.index(r.level), ("=~", "~", "~~", "~1").index(r.op), not r.given) for r in table.rows]
    assert order == sorted(order)
    assert len({r.key for r in table.rows}) == len(table.rows)


PIECES = (
    ["y", "x", "f", "s", "b", "NA", "start", "c", "exp", "1", "0", "-1", "2.5", "`a b`", "'q'", "é", "."]
    + list("+-*/^():;|,=<%#!@`\n \t")
    + ["~", "~", "~", "~~", "=~", ":=", "*", "+", "\n"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14), st.booleans())
def test_any_text_makes_a_table_or_a_spec_error(pieces, two_levels):
    text = "".join(pieces)
    try:
        table = parameter_table(within=text, between="y ~ w") if two_levels else parameter_table(model=text)
    except SpecError:
        return
    assert isinstance(table, ParameterTable)
    assert repr(table)
