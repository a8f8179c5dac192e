"""Arithmetic over labels: the derived parameters of a model, such as an indirect effect."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

#: An expression in postfix order: ("number", 2.0), ("label", "b1"), ("unary", "exp"), ("binary", "*").
Program = tuple[tuple[str, str | float], ...]

FUNCTIONS: dict[str, Callable] = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs, "pnorm": ndtr}
UNARY: dict[str, Callable] = {"-": np.negative, **FUNCTIONS}
BINARY: dict[str, Callable] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
    "^": np.power,
}


@dataclass(frozen=True)
class Expression:
    """A function of parameters, elementwise on draws.

    Attributes
    ----------
    text : str
        As written.
    program : tuple
        What it computes, in postfix order; see `Program`.

    Examples
    --------
    >>> table = parameter_table(model="m ~ a*x; y ~ b*m; indirect := a*b")
    >>> table.derived[0][1]({"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])})
    array([3., 8.])
    """

    text: str
    program: Program

    @property
    def names(self) -> tuple[str, ...]:
        """Labels and derived parameters that it uses, in order of appearance."""
        return tuple(dict.fromkeys(value for kind, value in self.program if kind == "label"))

    def __call__(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Its value for each draw; `values` holds arrays of one shape by name, and the result has that shape.

        Where it is undefined (the logarithm of a negative number) it is not a number, without a warning.
        """
        stack: list[np.ndarray] = []
        with np.errstate(all="ignore"):
            for kind, value in self.program:
                match kind:
                    case "number":
                        stack.append(np.asarray(value))
                    case "label":
                        stack.append(np.asarray(values[value], float))
                    case "unary":
                        stack.append(UNARY[value](stack.pop()))
                    case _:
                        right, left = stack.pop(), stack.pop()
                        stack.append(BINARY[value](left, right))
        return stack[0]

    def __str__(self):
        return self.text
