"""The grammar of model text, and errors that show the place.

A statement is parsed by itself: the text is cut into tokens, a line that goes on is joined with the next one, and what stands
between separators is a statement. The grammar reads more than a model may say; `reading` refuses the rest by name.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lark import Lark, Token, Transformer, UnexpectedToken, v_args

from bayeshte.errors import SpecError
from bayeshte.model_text.expressions import Program

GRAMMAR = r"""
statement: terms OPERATOR terms                 -> formula
         | NAME "|" terms OPERATOR terms        -> random_slope
         | NAME "|" terms                       -> thresholds
         | QUOTED "|" terms                     -> thresholds
         | NAME DEFINE sum                      -> definition

terms: term ("+" term)*
term: factor ("*" factor)*
factor: MINUS? NUMBER                           -> number
      | variable (":" variable)*                -> variables
      | NAME "(" [argument ("," argument)*] ")" -> call
      | LPAR sum ")"                            -> group
?variable: NAME | QUOTED | PART
?argument: sum | STRING

?sum: product | sum (PLUS | MINUS) product      -> binary
?product: unary | product (STAR | SLASH) unary  -> binary
?unary: power | MINUS unary                     -> unary
?power: atom | atom POWER unary                 -> binary
?atom: NUMBER                                   -> constant
     | NAME                                     -> label
     | NAME "(" sum ")"                         -> function
     | "(" sum ")"

OPERATOR: /~\*~|=~|~~|~/
DEFINE: ":="
COLON: ":"
VBAR: "|"
PLUS: "+"
MINUS: "-"
STAR: "*"
SLASH: "/"
POWER: "**" | "^"
LPAR: "("
RPAR: ")"
COMMA: ","
NUMBER: /(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/
PART.1: /(mean|centred)[^\S\n]*\([^\S\n]*([^\W\d]([^\s\x00-\x7f]|\w|\.+(?=[^\s\x00-\x7f]|\w))*|`[^`\n]+`)[^\S\n]*\)/
NAME: /[^\W\d]([^\s\x00-\x7f]|\w|\.+(?=[^\s\x00-\x7f]|\w))*/
QUOTED: /`[^`\n]+`/
STRING: /"[^"\n]*"|'[^'\n]*'/
NEWLINE: "\n"
SEMICOLON: ";"
REFUSED: /<~|<=|>=|==|[%<>=@\[\]]/
UNKNOWN.-1: /./
%ignore /[^\S\n]+/
%ignore /[#!][^\n]*/
"""

#: what follows these tokens belongs to the same statement, also on the next line
OPEN = {"OPERATOR", "DEFINE", "COLON", "VBAR", "PLUS", "MINUS", "STAR", "SLASH", "POWER", "COMMA"}

REMEDIES = {
    "<~": "factors that are made of their indicators are not supported: make a column of them, their mean say.",
    "%": "levels are not named in the text: give one text as within= and the other as between=.",
    "==": "constraints are not supported: parameters with one label are equal, as in y ~ b*x1 + b*x2.",
    "=": "write '~' for a regression, '=~' for a factor, '~~' for a covariance, ':=' for a derived parameter.",
    "@": "a number before '*' fixes a parameter: 0.5*x (Mplus: x@0.5).",
    "[": "a mean or an intercept is written x ~ 1 (Mplus: [x]).",
    "]": "a mean or an intercept is written x ~ 1 (Mplus: [x]).",
    "`": "the name has no closing backtick in this line.",
} | dict.fromkeys(("<", ">", "<=", ">="), "bounds are not supported: give the parameter a prior within them.")
MPLUS = {"ON": "~", "BY": "=~", "WITH": "~~"}


class Source(NamedTuple):
    """A text and the name of the argument that it was given as."""

    name: str
    text: str

    def error(self, position: int, message: str) -> SpecError:
        """The error of a place, which is counted in characters from the beginning of the text."""
        line = self.text.count("\n", 0, position)
        column = position - (self.text.rfind("\n", 0, position) + 1)
        shown = self.text.split("\n")[line].replace("\t", " ")
        return SpecError(
            f"{self.name}, line {line + 1}, column {column + 1}: {message}\n    {shown}\n    {' ' * column}^"
        )


class Factor(NamedTuple):
    """A part of a term: "number", "variables" (two of them are a product), "call" or "group" in parentheses.

    `value` is the number, the names as tokens, or the function's name and its arguments as programs and tokens.
    """

    kind: str
    position: int
    value: object


class Formula(NamedTuple):
    """``left operator right``; a term is a tuple of factors that are joined by ``*``."""

    left: tuple[tuple[Factor, ...], ...]
    operator: Token
    right: tuple[tuple[Factor, ...], ...]


class RandomSlope(NamedTuple):
    """``name | left operator right``."""

    name: Token
    path: Formula


class Thresholds(NamedTuple):
    """``variable | terms``."""

    variable: Token
    terms: tuple[tuple[Factor, ...], ...]


class Definition(NamedTuple):
    """``name := expression``; labels and functions in its program are tokens. `text` is the expression's."""

    name: Token
    program: Program
    text: str = ""


@v_args(inline=True)
class _Reader(Transformer):
    """What the rules of the grammar make."""

    def formula(self, left, operator, right):
        return Formula(left, operator, right)

    def random_slope(self, name, left, operator, right):
        return RandomSlope(name, Formula(left, operator, right))

    def thresholds(self, variable, terms):
        return Thresholds(variable, terms)

    def definition(self, name, _, program):
        return Definition(name, program)

    def terms(self, *terms):
        return terms

    def term(self, *factors):
        return factors

    def number(self, *tokens):
        return Factor("number", tokens[0].start_pos, float("".join(tokens)))

    def variables(self, *names):
        return Factor("variables", names[0].start_pos, names)

    def call(self, name, *arguments):
        return Factor("call", name.start_pos, (name, arguments))

    def group(self, parenthesis, _):
        return Factor("group", parenthesis.start_pos, None)

    def binary(self, left, operator, right):
        return (*left, *right, ("binary", str(operator)))

    def unary(self, operator, program):
        return (*program, ("unary", str(operator)))

    def function(self, name, program):
        return (*program, ("unary", name))

    def constant(self, number):
        return (("number", float(number)),)

    def label(self, name):
        return (("label", name),)


class _Lines:
    """Joins lines: an end of line is dropped after what cannot end a statement, before a ``+``, and around the text."""

    always_accept = ("NEWLINE", "SEMICOLON", "REFUSED", "UNKNOWN")

    def process(self, tokens: Iterator[Token]) -> Iterator[Token]:
        previous = newline = None
        for token in tokens:
            if token.type == "NEWLINE":
                newline = token
                continue
            if newline and previous and token.type != "PLUS" and previous.type not in OPEN:
                yield newline
            newline = None
            yield token
            previous = token


_PARSER = Lark(
    GRAMMAR,
    parser="lalr",
    lexer="basic",
    postlex=_Lines(),
    start=["statement", "sum"],
    transformer=_Reader(),
    maybe_placeholders=False,
)


def as_source(name: str, text: str) -> Source:
    """The text of an argument; SpecError if it is not text or says nothing."""
    example = "b1*b2" if name.startswith("derived") else "y ~ x"
    if not isinstance(text, str):
        raise SpecError(f"{name}={text!r}: write it as text, such as {example!r}.")
    text = re.sub(r"\r\n?", "\n", text)
    if not any(token.type not in ("NEWLINE", "SEMICOLON") for token in _PARSER.lex(text)):
        raise SpecError(f"{name}={text!r} is empty: write something such as {example!r}.")
    return Source(name, text)


def statements(source: Source) -> Iterator[Formula | RandomSlope | Thresholds | Definition]:
    """The statements of a model text; SpecError at the place where one cannot be read."""
    statement: list[Token] = []
    for token in [*_PARSER.lex(source.text), Token("NEWLINE", "\n")]:
        if token.type not in ("NEWLINE", "SEMICOLON"):
            statement.append(token)
        elif statement:
            parsed = _parse(source, statement, "statement")
            if isinstance(parsed, Definition):
                text = source.text[statement[1].end_pos : statement[-1].end_pos]
                parsed = parsed._replace(text=one_line(text))
            yield parsed
            statement = []


def one_line(text: str) -> str:
    """An expression without its comments and ends of lines."""
    return " ".join(re.sub(r"[#!][^\n]*", "", text).split())


def expression(source: Source) -> Program:
    """The program of a text that is one expression; its labels and functions are tokens."""
    return _parse(source, list(_PARSER.lex(source.text)), "sum")


def is_name(text: str) -> bool:
    """Whether a text is a name as it stands, without backticks."""
    tokens = [*_PARSER.lex(text)]
    return [token.type for token in tokens] == ["NAME"] and tokens[0] == text and not _odd_characters(text)


def _parse(
    source: Source, tokens: Sequence[Token], start: str
) -> Formula | RandomSlope | Thresholds | Definition | Program:
    parser = _PARSER.parse_interactive(start=start)
    for k, token in enumerate(tokens):
        _check_token(source, tokens, k)
        try:
            parser.feed_token(token)
        except UnexpectedToken:
            raise _unexpected(source, tokens, k, start, parser.accepts()) from None
    try:
        return parser.feed_eof(tokens[-1])
    except UnexpectedToken:
        raise _unexpected(source, tokens, len(tokens), start, parser.accepts()) from None


def _check_token(source: Source, tokens: Sequence[Token], k: int) -> None:
    """Refuse what has another meaning elsewhere, characters of no meaning, and numbers that are too large."""
    token = tokens[k]
    if token == "~*~":
        raise source.error(token.start_pos, "scales (~*~) belong to categorical variables: leave this out.")
    if token.type in ("REFUSED", "UNKNOWN"):
        remedy = REMEDIES.get(token, "leave it out, or put a column's name with such a character into backticks.")
        raise source.error(token.start_pos, f"{str(token)!r} is not understood here: {remedy}")
    if token.type == "NAME":
        for i in _odd_characters(token):
            raise source.error(
                token.start_pos + i,
                f"{token[i]!r} cannot be in a name: write the name in backticks if it is part of a column's name.",
            )
    if token.type == "NUMBER" and float(token) == float("inf"):
        raise source.error(token.start_pos, f"{token} is too large.")


def _odd_characters(name: str) -> list[int]:
    """Where a name has what no Python identifier has, points aside."""
    return [i for i, character in enumerate(name) if character != "." and not f"_{character}".isidentifier()]


def _in_expression(before: Sequence[Token]) -> bool:
    return any(token.type == "DEFINE" for token in before)


def _unexpected(source: Source, tokens: Sequence[Token], k: int, start: str, accepts: set[str]) -> SpecError:
    """The error of the token `k`, which is none of those that the parser accepts; ``k = len(tokens)`` is the end."""
    found = tokens[k] if k < len(tokens) else None
    position = found.start_pos if found else tokens[-1].end_pos
    if k == 0:
        what = "a variable" if start == "statement" else "a label or a number"
        return source.error(position, f"expected {what} before '{found}'.")
    message = f"expected {_words(tokens[:k], start, accepts)} after '{tokens[k - 1]}'"
    if found and found.type != "NEWLINE":
        message += f", found '{found}'"
    return source.error(position, f"{message}.{_hint(tokens, k, accepts)}")


def _words(before: Sequence[Token], start: str, accepts: set[str]) -> str:
    """What could have come, in words."""
    opened = sum(t.type == "LPAR" for t in before) - sum(t.type == "RPAR" for t in before)
    arithmetic = start == "sum" or _in_expression(before) or opened > 0
    if "NAME" in accepts:
        return "a label, a number or '('" if arithmetic else "a variable"
    if accepts == {"NUMBER"}:
        return "a number"
    if "RPAR" in accepts:
        return "')'"
    if arithmetic:
        return "'+', '-', '*', '/', '^' or the end of the expression"
    if before[-1].type == "NUMBER" and before[-1] != "1":
        return "'*'"
    if "OPERATOR" in accepts:
        return "'~'" if any(t.type == "VBAR" for t in before) else "'~', '=~' or '~~'"
    return "'+', ';' or a new line"


def _hint(tokens: Sequence[Token], k: int, accepts: set[str]) -> str:
    """What else could help, after a sentence."""
    if len(tokens) > 1 and tokens[0] in ("level", "group", "block") and tokens[1] == ":":
        return " The levels are separate texts, within= and between=; groups are not supported."
    if k == len(tokens):
        return ""
    found = tokens[k]
    if found.upper() in MPLUS and "OPERATOR" in accepts:
        return f" Mplus's {found.upper()} is written '{MPLUS[found.upper()]}' here."
    if found.type == "RPAR" and "RPAR" not in accepts:
        return " It closes a '(' that is not there."
    if found.type in ("OPERATOR", "DEFINE") and any(t.type in ("OPERATOR", "DEFINE") for t in tokens[:k]):
        if found.line != tokens[0].line:
            return (
                f" The statement began in line {tokens[0].line}: a line that ends with '+' or '~' goes on in the next."
            )
        return " A statement has one operator: write two statements."
    return ""
