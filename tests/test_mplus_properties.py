"""Properties of the reader of Mplus inputs: scrambled, shortened, random and senseless texts."""

import contextlib
import random
import re
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mplus_inputs import HEAD, ONE, RANDOM, build, same

from bayeshte.errors import DataError, SpecError
from bayeshte.mplus import program, source
from bayeshte.mplus.read import parse

INPUTS = [
    HEAD
    + "USEVARIABLES = y1 y2 y3 x1; MISSING = ALL (-99);\nANALYSIS: ESTIMATOR = BAYES; CHAINS = 2; PROCESSORS = 2;\n"
    "MODEL: y1 ON y2 (b1) y3 (b2) x1; y2 ON x1 (a1); y3 ON x1*0.5 (a2); y2 WITH y3;\n[y1] (m); y1 (v);\n"
    "MODEL CONSTRAINT: NEW(ind tot); ind = a1*b1 + a2*b2; tot = ind/2;\nMODEL PRIORS: b1-b2 ~ N(0, 10);\n"
    "OUTPUT: STDYX TECH8 CINTERVAL(HPD);",
    HEAD + "USEVARIABLES = y1-y4 x1 z; CLUSTER = school; WITHIN = x1; BETWEEN = z;\nANALYSIS: TYPE = TWOLEVEL RANDOM; "
    "ESTIMATOR = BAYES; BITERATIONS = (20000);\nMODEL: %WITHIN% fw BY y1-y3; s | y4 ON x1; y4 ON fw;\n"
    "%BETWEEN% fb BY y1-y3* (l1-l3); fb@1; y4 s ON z fb; y4 WITH s; [s] (ms);\nMODEL CONSTRAINT: NEW(q); q = ms*l1;",
]


def scrambled(given_text: str, rng: random.Random) -> str:
    """Other case, other blanks and ends of lines, comments; a title stays."""
    out = []
    for part in re.split(r"(\s+|[=();,*@\[\]/+|-])", given_text.split("\n", 1)[1]):
        if part.isspace():
            out.append(rng.choice([" ", "\n", "\t", "  \n", " ! y1 ON y2; comment\n"]))
        else:
            out.append("".join(c.upper() if rng.random() < 0.5 else c.lower() for c in part))
    return given_text.split("\n", 1)[0] + "\n" + "".join(out)


@pytest.mark.parametrize("given_text", INPUTS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_case_line_breaks_and_comments_change_nothing(given_text, seed):
    other = scrambled(given_text, random.Random(seed))
    assert program(parse(other, Path("a.inp"))) == program(parse(given_text, Path("a.inp")))


@pytest.mark.parametrize("given_text", INPUTS)
def test_no_statement_is_without_effect(given_text):
    cut = source.cut(given_text)
    whole = build(given_text)

    def visible(found_):
        spec, notes, s, _ = found_
        table = [(r.name, r.label, r.fixed, r.start, r.slope, r.given) for r in spec.table.rows]
        data = (s.file, s.names, s.use, s.missing, s.symbol, s.cluster, s.listwise)
        return repr((table, spec.table.derived, spec.priors, data, [n.split(": ", 1)[-1] for n in notes]))

    for k, gone in enumerate(cut.statements):
        kept = [s for j, s in enumerate(cut.statements) if j != k]
        commands = dict.fromkeys(s.command for s in kept)
        less = "\n".join(f"{c}: " + " ".join(f"{s.text};" for s in kept if s.command == c) for c in commands)
        marker = re.match(r"\s*(%\w+%)", gone.text)
        if marker:  # the level stays
            following = next((s for s in cut.statements[k + 1 :] if s.command == "MODEL"), None)
            if following is not None:
                less = less.replace(f"{following.text};", f"{marker[1]} {following.text};", 1)
        try:
            other = build(less)
        except SpecError:
            continue
        assert visible(other) != visible(whole), gone


NAMES = ("y1", "y2", "y3", "x1", "x2")


@st.composite
def models(draw):
    """A recursive path model: (lhs, op, rhs, modifier) in random order, each at most once."""
    lines = []
    for j, y in enumerate(NAMES[:3]):
        for x in NAMES[j + 1 :]:
            if draw(st.booleans()):
                lines.append((y, "~", x))
    if draw(st.booleans()):
        lines.append(("y1", "~~", "y2"))
    lines += [(v, "~~", v) for v in NAMES]
    if draw(st.booleans()):
        lines.append(("y3", "~1", ""))
    said = []
    for k, line in enumerate(draw(st.permutations(lines))):
        kind = draw(st.sampled_from(["plain", "label", "fixed", "start", "both"]))
        value = draw(st.sampled_from([0.25, 1.0, 2.5]))
        said.append((*line, kind, f"p{k}", value))
    return said


@given(models())
@settings(max_examples=60, deadline=None)
def test_a_random_model_is_read_as_it_was_meant(lines):
    mplus, lavaan = [], []
    for lhs, op, rhs, kind, label, value in lines:
        left, right = {"fixed": (f"@{value}", f"{value}*"), "start": (f"*{value}", f"start({value})*")}.get(
            kind, ("", "")
        )
        if kind == "both":
            left, right = f"*{value}", f"{label}*"
        behind = f" ({label})" if kind in ("label", "both") else ""
        right = f"{label}*" if kind == "label" else right
        words = {"~": f"{lhs} ON {rhs}{left}{behind}", "~1": f"[{lhs}{left}]{behind}"}
        words["~~"] = f"{lhs}{left}{behind}" if lhs == rhs else f"{lhs} WITH {rhs}{left}{behind}"
        mplus.append(words[op] + ";")
        target = "1" if op == "~1" else rhs
        lavaan.append(f"{lhs} {'~' if op == '~1' else op} {right}{target}")
        if kind == "both":
            lavaan.append(f"{lhs} {'~' if op == '~1' else op} start({value})*{target}")
    paths, said = [line for line in lines if line[1] == "~"], {frozenset(line[::2][:2]) for line in lines}
    exogenous, predictors = {*NAMES} - {line[0] for line in paths}, {line[2] for line in paths}
    for pair in combinations(sorted(exogenous), 2):  # what predicts nothing and is not predicted covaries as WITH says
        if not {*pair} <= predictors and frozenset(pair) not in said:
            lavaan.append(f"{pair[0]} ~~ 0*{pair[1]}")
    head = HEAD + "USEV = y1-y3 x1 x2;\n" + ONE
    same(head + "MODEL: " + " ".join(mplus), model="\n".join(lavaan))


WORDS = st.sampled_from(
    [*("MODEL:", "VARIABLE:", "ANALYSIS:", "y1", "y2", "x1", "ON", "WITH", "BY", "|", ";", "(", ")", "@", "*", "0.5", "-"),
     *("[", "]", "%WITHIN%", "%BETWEEN%", "=", "MODEL CONSTRAINT:", "NEW", "MODEL PRIORS:", "~", "N(0,1)", "IND", "y1-y3"),
     *("MODEL INDIRECT:", "USEVARIABLES", "CLUSTER", "school", "TYPE = TWOLEVEL RANDOM", "XWITH", "MISSING", "!", "\n", "'")]
)  # fmt: skip


@given(st.lists(WORDS, max_size=25))
@settings(max_examples=150, deadline=None)
def test_whatever_is_written_is_read_or_refused(words):
    with_error = HEAD + "USEV = y1-y3 x1 school;\n" + ONE + "MODEL: y1 ON x1; " + " ".join(words)
    with contextlib.suppress(SpecError, DataError):
        build(with_error)


@given(st.text(max_size=80))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_or_refused(anything):
    with contextlib.suppress(SpecError, DataError):
        build(HEAD + "USEV = y1-y3 x1;\n" + ONE + "MODEL: y1 ON x1; " + anything)


@st.composite
def two_level_models(draw):
    """Statements of a two-level model with factors, slopes, labels and fixed values, as (Mplus, model text) by level."""
    labels = iter(f"q{k}" for k in range(100))

    def said(kinds=("plain", "label", "fixed", "start")):
        kind, value = draw(st.sampled_from(kinds)), draw(st.sampled_from([0.5, 1.5]))
        label = next(labels)
        return {
            "plain": ("", "", ""),
            "label": ("", f" ({label})", f"{label}*"),
            "fixed": (f"@{value}", "", f"{value}*"),
            "start": (f"*{value}", "", f"start({value})*"),
        }[kind]

    def path(y, x):
        mark, behind, before = said()
        return f"{y} ON {x}{mark}{behind};", f"{y} ~ {before}{x}"

    within, between = [], []
    slope = draw(st.booleans())
    within.append(("s | y1 ON x1;", "s | y1 ~ x1") if slope else path("y1", "x1"))
    within += [path("y1", "y2"), path("y2", "x1")]
    between += [path("y1", "z"), path("y2", "z")]
    between.append(path("y1", "y2") if draw(st.booleans()) else ("", "y1 ~~ 0*y2"))  # RANDOM: apart unless WITH says so
    if slope:
        between.append(path("s", "z"))
        mark, behind, before = said()
        between.append((f"[s{mark}]{behind};", f"s ~ {before}1"))
        if draw(st.booleans()):
            mark, behind, before = said(("plain", "label", "start"))
            between.append((f"s WITH y1{mark}{behind};", f"s ~~ {before}y1"))
    mark, behind, before = said(("plain", "label"))
    f_within = (f"fw BY y3 y4{mark}{behind} y5;", f"fw =~ 1*y3 + {before}y4 + y5")
    f_between = ("fb BY y3-y5*; fb@1;", "fb =~ NA*y3 + y4 + y5; fb ~~ 1*fb")
    order = [draw(st.permutations(level)) for level in (within + [f_within], between + [f_between, path("fb", "z")])]
    return ["\n".join(part) for level in order for part in zip(*level, strict=True)]


@given(two_level_models())
@settings(max_examples=40, deadline=None)
def test_a_random_two_level_model_is_read_as_it_was_meant(texts):
    mplus_within, within, mplus_between, between = texts
    same(
        HEAD
        + "USEV = y1-y5 x1 z; CLUSTER = school; WITHIN = x1; BETWEEN = z;\n"
        + RANDOM
        + f"MODEL: %WITHIN%\n{mplus_within}\n%BETWEEN%\n{mplus_between}",
        within=within,
        between=between,
    )
