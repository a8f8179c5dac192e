"""Model text: derived parameters, expressions of labels."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_texts import one, refused
from scipy.special import ndtr

from bayeshte.model_text import Expression, parameter_table


def test_derived_parameters_use_those_before_them():
    table = one(
        "ind := a*b # the indirect effect\nm ~ a*x; y ~ b*m + c*x\ntot := ind +\n c", derived={"share.1": "ind / tot"}
    )
    assert [(name, e.text) for name, e in table.derived] == [
        ("ind", "a*b"),
        ("tot", "ind + c"),
        ("share.1", "ind / tot"),
    ]
    values = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0]), "c": np.array([1.0, 0.0])}
    for name, expression in table.derived:
        values[name] = expression(values)
    np.testing.assert_allclose(values["share.1"], [0.75, 1.0])
    two = parameter_table(
        within="y ~ w*x; d := w - b", between="y ~ b*x; r := b / w + d", derived={"t": "\n d\n + r \n"}
    )
    assert [name for name, _ in two.derived] == ["d", "r", "t"]
    assert two.derived[2][1].text == "d + r"
    assert two.derived[2][1].names == ("d", "r")


@pytest.mark.parametrize(
    ("derived", "said"),
    [
        ({"t": "b1 * c2"}, ["derived['t'], line 1, column 6", "'c2' is neither", "'b2'", "'b1'"]),
        ({"t": "zzzzzz"}, ["Known: 'b1', 'b2'"]),
        ({"t": "b1*x"}, ["'x' is neither", "It is a variable", "b*x"]),
        ({"t": "u + b1", "u": "b1"}, ["'u' is neither", "defined before"]),
        ({"t": "t + b1"}, ["'t' is neither"]),
        ({"b1": "b2 + 1"}, ["'b1' is also the label of y ~ x"]),
        ({"x": "b2"}, ["'x' is also a variable"]),
        ({"t t": "b2"}, ["a name has letters"]),
        ({1: "b2"}, ["a name has letters"]),
        ({"t": "b1; b2"}, ["found ';'"]),
        ({"t": "b1\nb2"}, ["or the end of the expression after 'b1'"]),
        ({"t": "* b1"}, ["expected a label or a number before '*'"]),
        ({"t": "b1 ** "}, ["expected a label, a number or '(' after '**'"]),
        ({"t": "log(b1, b2)"}, ["expected ')' after 'b1'", "found ','"]),
        ({"t": "sqroot(b1)"}, ["no function 'sqroot'"]),
        ("b1", ["derived='b1'", "a mapping"]),
    ],
)
def test_refused_derived_parameters(derived, said):
    refused(*said, model="y ~ b1*x + b2*z", derived=derived)


def test_derived_names_across_texts():
    refused("'t' is also defined before", model="y ~ b*x; t := b; t := 2*b")
    refused("'t' is also defined before", model="y ~ b*x; t := b", derived={"t": "b"})
    refused("'s' is also a variable", within="s | y ~ x", between="y ~ b*w", derived={"s": "b"})
    refused("No parameter has a label", model="y ~ x", derived={"t": "b"})


LABELS = {"a": 1.7, "b": -0.4, "c.d": 2.2}
PYTHON = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs, "pnorm": ndtr}


@st.composite
def expressions(draw, depth=4):
    """An expression, as it is written and as Python has it."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        leaf = draw(st.sampled_from([*LABELS, "2", "0.5", "1e-1", "3."]))
        return leaf, f"np.float64(v[{leaf!r}])" if leaf in LABELS else f"np.float64({leaf})"
    match draw(st.sampled_from(["binary", "binary", "power", "minus", "parentheses", "function"])):
        case "binary":
            (a, p), (b, q) = draw(expressions(depth=depth - 1)), draw(expressions(depth=depth - 1))
            operator = draw(st.sampled_from("+-*/"))
            return f"{a} {operator} {b}", f"{p} {operator} {q}"
        case "power":
            (a, p), (b, q) = draw(expressions(depth=depth - 1)), draw(expressions(depth=depth - 1))
            return f"({a}){draw(st.sampled_from(['**', '^']))}{b}", f"({p})**{q}"
        case "minus":
            a, p = draw(expressions(depth=depth - 1))
            return f"-{a}", f"-{p}"
        case "parentheses":
            a, p = draw(expressions(depth=depth - 1))
            return f"({a})", f"({p})"
        case _:
            a, p = draw(expressions(depth=depth - 1))
            function = draw(st.sampled_from(sorted(PYTHON)))
            return f"{function}({a})", f"{function}({p})"


@settings(max_examples=100, deadline=None)
@given(expressions().filter(lambda texts: "v[" in texts[1]))
def test_expressions_are_those_of_python(texts):
    text, python = texts
    model = "y ~ a*x1 + b*x2 + c.d*x3"
    ((_, expression),) = one(model, derived={"t": text}).derived
    with np.errstate(all="ignore"):
        expected = eval(python, {"np": np, "v": LABELS, **PYTHON})
    values = {label: np.full(2, value) for label, value in LABELS.items()}
    np.testing.assert_allclose(expression(values), np.full(2, expected), rtol=1e-12)
    ((_, written),) = one(f"{model}; t := {text}").derived
    assert written == expression


def test_pnorm_is_the_normal_distribution_function():
    ((_, expression),) = one("y ~ a*x", derived={"t": "pnorm(a)"}).derived
    assert expression({"a": 1.7}) == pytest.approx(NormalDist().cdf(1.7))


def test_expressions_take_draws_of_any_shape_and_do_not_warn():
    ((_, e),) = one("y ~ a*x", derived={"t": "log(a) / (a - a)"}).derived
    assert isinstance(e, Expression)
    value = e({"a": np.full((4, 10), -1)})
    assert value.shape == (4, 10)
    assert np.isnan(value).all()
    ((_, long),) = one("y ~ a*x", derived={"t": " + ".join(["a"] * 3000)}).derived
    assert long({"a": np.float64(2)}) == 6000
    ((_, deep),) = one("y ~ a*x", derived={"t": "(" * 3000 + "a" + ")" * 3000}).derived
    assert deep({"a": np.float64(2)}) == 2
