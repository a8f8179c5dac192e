"""Model text: what the grammar refuses, with its place and what to do."""

import pytest
from model_texts import refused


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("y ~", 1, 4, "expected a variable after '~'"),
        ("~ x", 1, 1, "expected a variable before '~'"),
        ("y x", 1, 3, "expected '~', '=~' or '~~' after 'y', found 'x'"),
        ("y ~ x +", 1, 8, "expected a variable after '+'"),
        ("y ~ x + # z", 1, 8, "expected a variable after '+'"),
        ("y ~ + x", 1, 5, "expected a variable after '~', found '+'"),
        ("y ~ 2x", 1, 6, "expected '*' after '2', found 'x'"),
        ("f =~", 1, 5, "expected a variable after '=~'"),
        ("y ~ x ~ z", 1, 7, "A statement has one operator"),
        ("y ~ x +\nm ~ z", 2, 3, "The statement began in line 1"),
        ("y ~~ ", 1, 5, "expected a variable after '~~'"),
        ("y ~ x z", 1, 7, "expected '+', ';' or a new line after 'x', found 'z'"),
        ("y ~ x\n\tz", 2, 3, "expected '~', '=~' or '~~' after 'z'"),
        ("m ~ x\n\n   y ~ m *", 3, 11, "expected a variable after '*'"),
        ("y ~ -x", 1, 6, "expected a number after '-', found 'x'"),
        ("y ~ start(0.5*x", 1, 16, "expected ')' after 'x'"),
        ("y ~ start(0.5))*x", 1, 15, "It closes a '(' that is not there"),
        ("y ~ (x", 1, 7, "expected ')'"),
        ("y ~ x)", 1, 6, "It closes a '(' that is not there"),
        ("s | y", 1, 5, "a slope is s | y ~ x"),
        ("5", 1, 2, "expected '*' after '5'"),
        ("y ~ 5", 1, 5, "5 is no variable: write 5*x"),
        ("y ~ 0", 1, 5, "0*1 an intercept"),
        ("1 ~ x", 1, 1, "expected a variable before '~'"),
        ("y ~~ 1", 1, 6, "a mean is written x ~ 1"),
        ("f =~ 1 + y", 1, 6, "expected a variable after '=~'"),
        ("y ~ x,z", 1, 6, "found ','"),
        ("t := ", 1, 5, "expected a label, a number or '(' after ':='"),
        ("t := a b", 1, 8, "or the end of the expression after 'a', found 'b'"),
        ("t := (a + b", 1, 12, "expected ')' after 'b'"),
        ("t := a)", 1, 7, "It closes a '(' that is not there"),
        ("t := a +\ny ~ x", 2, 3, "found '~'"),
        ("a + b := c", 1, 7, "found ':='"),
        ("y ~ x\nt := expp(a)", 2, 6, "no function 'expp'. Did you mean 'exp'"),
        ("2*y ~ x", 1, 1, "modifiers stand on the right"),
        ("y ~ `b`*x", 1, 5, "a label is a name without quotes"),
        ("y ~ a:b*x", 1, 5, "expected a number or a label before '*'"),
        ("y ~ b*a*x", 1, 7, "b*x + start(0.3)*x"),
        ("y ~ start()*x", 1, 5, "start() takes one number"),
        ("y ~ start(1, 2)*x", 1, 5, "start() takes one number"),
        ("y ~ start(a)*x", 1, 5, "start() takes one number"),
        ("y ~ start('a')*x", 1, 5, "start() takes one number"),
        ("y ~ strt(1)*x", 1, 5, "no modifier 'strt'. Did you mean 'start'"),
        ("y ~ log(x)", 1, 5, "'log()' is no variable"),
        ("y ~ (x + z)", 1, 5, "parentheses are for derived parameters"),
        ("y ~ 1e999*x", 1, 5, "too large"),
        ("y ~ `x", 1, 5, "no closing backtick"),
        ("y ~ `a:b`", 1, 5, "rename the column"),
        ("y ~ x – z", 1, 7, "'–' is not understood"),
        ("y ~ x–z", 1, 6, "'–' cannot be in a name"),
        ("y ~ x\u200b", 1, 6, r"'\u200b' cannot be in a name"),
        ("y ~ a:b:c", 1, 5, "a product has two variables"),
        ("f =~ a:b", 1, 6, "a product stands on the right of '~' only"),
        ("x ~~ a:b", 1, 6, "a product stands on the right of '~' only"),
        ("a:b ~ x", 1, 1, "a product stands on the right of '~' only"),
        ("s | y ~ x", 1, 1, "needs two levels"),
    ],
)
def test_what_cannot_be_read_is_shown_with_its_place(text, line, column, said):
    message = refused(f"model, line {line}, column {column}: ", said, model=text)
    shown, caret = message.split("\n")[-2:]
    assert shown == "    " + text.split("\n")[line - 1].replace("\t", " ")
    assert caret == " " * (column + 3) + "^"
    for terminal in ("OPERATOR", "NEWLINE", "NAME", "Token", "$END", "__ANON"):
        assert terminal not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("y ~ (b1)*x", "without parentheses: b1*x"),
        ("y ~ c(a, b)*x", "several groups are not supported"),
        ("y ~ c(0.5, NA)*x", "several groups are not supported"),
        ("y ~ x + equal('y ~ x')*z", "one label are equal"),
        ('f =~ a + equal("f=~a")*b', "one label are equal"),
        ("y ~ label('b')*x", "write the label itself"),
        ("y ~ prior('normal(0,1)')*x", "priors are an argument"),
        ("y ~*~ y", "categorical"),
        ("f <~ x", "make a column of them"),
        ("%within%\ny ~ x", "within= and"),
        ("y ~ a*x + b*z; a == b", "one label are equal"),
        ("a < 1", "prior"),
        ("a >= 1", "prior"),
        ("y = x", "'~' for a regression"),
        ("y@0", "0.5*x"),
        ("[y]", "x ~ 1"),
        ("y ON x", "Mplus's ON is written '~'"),
        ("f by y1", "Mplus's BY is written '=~'"),
        ("level: 1\ny ~ x", "within= and between="),
        ("group: a\ny ~ x", "groups are not supported"),
    ],
)
def test_what_other_programs_have_is_refused_with_what_to_do(text, said):
    refused("model, line 1", said, model=text)


@pytest.mark.parametrize("text", ["", "  \n\t", "# y ~ x", ";;\n;"])
def test_empty_text(text):
    refused("model=", "is empty", "'y ~ x'", model=text)
    refused("between=", "is empty", within="y ~ x", between=text)
    refused("derived['a']=", "is empty", model="y ~ b*x", derived={"a": text})


@pytest.mark.parametrize("value", [3, ["y ~ x"], b"y ~ x", {"y": "x"}])
def test_other_types_than_text(value):
    refused("model=", "write it as text", model=value)
    refused("derived['a']=", "write it as text", model="y ~ b*x", derived={"a": value})


def test_texts_of_levels_that_do_not_go_together():
    refused("no model text")
    refused("between= is missing", within="y ~ x")
    refused("within= is missing", between="y ~ x")
    refused("give model= alone", model="y ~ x", within="y ~ x")
    refused("give model= alone", model="y ~ x", within="y ~ x", between="y ~ x")
    refused("between='t := b*b' has no parameters", within="y ~ b*x", between="t := b*b")


def test_errors_name_the_text():
    refused("between, line 2, column 4", within="y ~ x", between="\ny ~")
    refused("derived['t'], line 1, column 4", model="y ~ b*x", derived={"t": "b +"})
