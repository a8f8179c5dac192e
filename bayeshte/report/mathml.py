"""The LaTeX of `ModelSpec.equations` as MathML, which browsers draw without a script or a font from elsewhere.

A converter of what equations use (groups, sub- and superscripts, text, symbols) is shorter than the care a general one needs:
latex2mathml neither escapes what stands in ``\\text{}`` nor undoes its LaTeX escapes, and has no tilde or alignment.
"""

import re
from html import escape
from html.entities import html5

from markupsafe import Markup

from bayeshte.latex import plain

_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|[0-9]+(?:\.[0-9]+)?|\s+|.", re.DOTALL)
_ALIGNMENT = re.compile(r"(\\begin\{bmatrix\}.*?\\end\{bmatrix\})|(?<!\\)&")  # between the cells of a matrix it stays
_NAMES = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi", "pi"),
    *("rho", "sigma", "tau", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Sigma", "Phi", "Psi"),
    *("Omega", "varepsilon", "sim", "in", "le", "ge", "ne", "times", "top", "sum"),
)
_SYMBOLS = {name: html5[f"{name};"] for name in _NAMES} | {"cdot": "·", "infty": "∞", "dots": "…"}
_SPACES = {",": "0.17em", ";": "0.28em", " ": "0.3em", "quad": "1em", "qquad": "2em"}
_UPRIGHT = ' mathvariant="normal"'
WIDTH = 84  # characters a line, about; longer equations are broken before a plus


def display(lines: list[str]) -> Markup:
    """Equations as one MathML block, a row each; rows that are too long go on below, indented."""
    rows = []
    for line in lines:
        first, *more = _broken(_ALIGNMENT.sub(lambda m: m[1] or "", line))
        rows += [first, *(rf"\qquad {part}" for part in more)]
    cells = "".join(f"<mtr><mtd>{_row(row)}</mtd></mtr>" for row in rows)
    return Markup(f'<math displaystyle="true"><mtable>{cells}</mtable></math>')


def inline(tex: str) -> Markup:
    """A symbol as MathML in a line of text."""
    return Markup(f"<math>{_row(tex)}</math>")


def _broken(tex: str) -> list[str]:
    """An equation in pieces of about `WIDTH` characters, cut before plus signs outside all brackets."""
    depth, start, parts = 0, 0, []
    for match in _TOKEN.finditer(tex):
        depth += (match.group() in "{([") - (match.group() in "})]")
        if depth == 0 and match.group() == "+":
            parts.append(tex[start : match.start()])
            start = match.start()
    lines = [""]
    for part in [*parts, tex[start:]]:
        if lines[-1] and _length(lines[-1] + part) > WIDTH:
            lines.append("")
        lines[-1] += part
    return lines


def _length(tex: str) -> int:
    """How many characters a formula prints, about: a command counts one."""
    return len(re.sub(r"[{}^_&\s]", "", re.sub(r"\\[a-zA-Z]+", "x", tex.replace(r"\text", ""))))


def _row(tex: str) -> str:
    return f"<mrow>{_items(_TOKEN.findall(tex)[::-1])}</mrow>"


def _items(tokens: list[str]) -> str:
    """Elements up to a closing brace or the end. `tokens` is a stack, the next one on top; it is used up."""
    out = []
    while tokens:
        token = tokens.pop()
        if token == "}":
            break
        if token.strip():
            out.append(_scripted(_element(token, tokens), tokens))
    return "".join(out)


def _scripted(base: str, tokens: list[str]) -> str:
    """An element with the sub- and superscript that follow it."""
    scripts = {}
    while tokens and tokens[-1] in ("_", "^"):
        sign = tokens.pop()
        scripts[sign] = _element(tokens.pop(), tokens)
    match sorted(scripts):
        case ["^", "_"]:
            return f"<msubsup>{base}{scripts['_']}{scripts['^']}</msubsup>"
        case ["_"]:
            return f"<msub>{base}{scripts['_']}</msub>"
        case ["^"]:
            return f"<msup>{base}{scripts['^']}</msup>"
    return base


def _element(token: str, tokens: list[str]) -> str:
    """A group, a text or a symbol."""
    if token == "{":
        return f"<mrow>{_items(tokens)}</mrow>"
    if token == r"\text":
        return f"<mtext>{escape(_text(tokens))}</mtext>"
    if token == r"\begin":
        return _matrix(tokens)
    if token == r"\frac":
        return f"<mfrac>{_element(tokens.pop(), tokens)}{_element(tokens.pop(), tokens)}</mfrac>"
    if token in (r"\left", r"\right"):
        return f"<mo>{escape(tokens.pop())}</mo>"
    if token == r"\textstyle":
        return f'<mstyle displaystyle="false">{_element(tokens.pop(), tokens)}</mstyle>'
    if token.startswith("\\"):
        return _command(token[1:])
    if token[0].isdigit():
        return f"<mn>{token}</mn>"
    if token.isalpha():
        return f"<mi>{token}</mi>"
    stretchy = ' stretchy="false"' if token in "()[]" else ""
    return f"<mo{stretchy}>{escape(token.replace('-', '−'))}</mo>"


def _matrix(tokens: list[str]) -> str:
    """A bmatrix, from its name on."""
    _text(tokens)
    rows: list[list[list[str]]] = [[[]]]
    while (token := tokens.pop()) != r"\end":
        if token == r"\\":
            rows.append([[]])
        elif token == "&":
            rows[-1].append([])
        else:
            rows[-1][-1].append(token)
    _text(tokens)
    cells = ("".join(f"<mtd><mrow>{_items(cell[::-1])}</mrow></mtd>" for cell in row) for row in rows)
    return f"<mrow><mo>[</mo><mtable>{''.join(f'<mtr>{row}</mtr>' for row in cells)}</mtable><mo>]</mo></mrow>"


def _command(name: str) -> str:
    if name in _SYMBOLS:
        symbol = _SYMBOLS[name]
        if not symbol.isalpha():
            return f"<mo>{symbol}</mo>"
        return f"<mi{_UPRIGHT if symbol.isupper() else ''}>{symbol}</mi>"
    if name in _SPACES:
        return f'<mspace width="{_SPACES[name]}"/>'
    if not name.isalpha():
        return f"<mo>{escape(name)}</mo>"
    return f"<mrow><mi{_UPRIGHT}>{name}</mi><mspace width='0.17em'/></mrow>"  # exp, log, ...


def _text(tokens: list[str]) -> str:
    """What stands in the braces after ``\\text``, its LaTeX escapes undone."""
    tokens.pop()
    depth, parts = 1, []
    while tokens:
        token = tokens.pop()
        depth += (token == "{") - (token == "}")
        if depth == 0:
            break
        parts.append(token)
    return plain("".join(parts)).replace(" ", "\u00a0")
