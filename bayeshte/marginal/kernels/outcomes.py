"""Log-likelihood of rows of any family of outcomes, given their linear predictors.

`shape` are the parameters of an outcome beside eta: sigma and nu (Student t), sigma and alpha (skew normal), phi (negative
binomial), the widths of the inner categories (ordered), none for the others.
"""

from numba import njit

from bayeshte.marginal.kernels.counts import negative_binomial_rows
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.ordered import ordered_rows
from bayeshte.marginal.kernels.rows import (
    LOGIT,
    POISSON,
    PROBIT,
    SKEW_NORMAL,
    STUDENT,
    logit_rows,
    poisson_rows,
    probit_rows,
    skew_normal_constant,
    skew_normal_rows,
    student_constant,
    student_rows,
)

NEGATIVE_BINOMIAL, ORDERED_LOGIT, ORDERED_PROBIT = 6, 7, 8


@njit(**OPTIONS)
def rows_of_family(family, eta, n, s, shape, score, dshape):
    """Log-likelihood of rows without the constant of their density, their score, and derivatives in shape added."""
    if family == LOGIT:
        return logit_rows(eta, n, s, score)
    if family == PROBIT:
        return probit_rows(eta, n, s, score)
    if family == POISSON:
        return poisson_rows(eta, n, s, score)
    if family == STUDENT:
        return student_rows(eta, s, shape[0], shape[1], score, dshape)
    if family == SKEW_NORMAL:
        return skew_normal_rows(eta, s, shape[0], shape[1], score, dshape)
    if family == NEGATIVE_BINOMIAL:
        return negative_binomial_rows(eta, n, s, shape[0], score, dshape)
    return ordered_rows(PROBIT if family == ORDERED_PROBIT else LOGIT, eta, n, s, shape, score, dshape)


@njit(**OPTIONS)
def constant_of_family(family, N, shape, dshape):
    """What N densities have in common that depends on shape only, its derivatives added."""
    if family == STUDENT:
        return student_constant(N, shape[0], shape[1], dshape)
    if family == SKEW_NORMAL:
        return skew_normal_constant(N, shape[0], shape[1], dshape)
    return 0.0


@njit(**OPTIONS)
def has_residual(family):
    """Whether shape[0] is the scale of a residual."""
    return family in (STUDENT, SKEW_NORMAL)
