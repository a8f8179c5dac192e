"""Dense linear algebra for matrices of a few rows, written out because a BLAS call costs more than the product."""

import math

from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

#: One set of options, so that every kernel is cached on disk and none is compiled twice. Numba optimises what a function calls
#: once more with every caller, so the few large functions between a callback and its parts have ``inline="always"`` instead: they
#: are never compiled alone, which saves a quarter of a callback's compile time.
OPTIONS = dict(cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@njit(**OPTIONS)
def cholesky(a, n):
    """Lower Cholesky factor of a[:n, :n] in its lower triangle; log determinant, or NaN if not positive definite."""
    logdet, product = 0.0, 1.0  # one logarithm for several pivots
    for j in range(n):
        d = a[j, j]
        for k in range(j):
            d -= a[j, k] * a[j, k]
        if not d > 0.0:
            return math.nan
        if not 1e-150 < product * d < 1e150:
            logdet += math.log(product)
            product = 1.0
        product *= d
        d = math.sqrt(d)
        a[j, j] = d
        for i in range(j + 1, n):
            s = a[i, j]
            for k in range(j):
                s -= a[i, k] * a[j, k]
            a[i, j] = s / d
    return logdet + math.log(product)


@njit(**OPTIONS)
def inverse_from_cholesky(r, out, n):
    """out = (R R')^-1 for a lower factor R."""
    for c in range(n):
        for i in range(n):  # R y = e_c
            s = 1.0 if i == c else 0.0
            for k in range(i):
                s -= r[i, k] * out[k, c]
            out[i, c] = s / r[i, i]
        for i in range(n - 1, -1, -1):  # R' x = y
            s = out[i, c]
            for k in range(i + 1, n):
                s -= r[k, i] * out[k, c]
            out[i, c] = s / r[i, i]


@njit(**OPTIONS)
def root(a, out, n):
    """Lower factor of a positive semidefinite matrix; a column of zeros where nothing is left of a diagonal element."""
    for j in range(n):
        d = a[j, j]
        for k in range(j):
            d -= out[j, k] * out[j, k]
        d = math.sqrt(d) if d > 1e-14 * a[j, j] else 0.0
        out[j, j] = d
        for i in range(j + 1, n):
            s = a[i, j]
            for k in range(j):
                s -= out[i, k] * out[j, k]
            out[i, j] = s / d if d > 0.0 else 0.0


@njit(**OPTIONS)
def clear(a, n, m):
    """a[:n, :m] = 0; numba takes a second to compile an assignment to a slice."""
    for i in range(n):
        for j in range(m):
            a[i, j] = 0.0


@njit(**OPTIONS)
def add_product(a, b, n, k, m, factor, out):
    """out += factor a b for a (n, k), b (k, m)."""
    for i in range(n):
        for l in range(k):
            s = factor * a[i, l]
            if s != 0.0:
                for j in range(m):
                    out[i, j] += s * b[l, j]


@njit(**OPTIONS)
def add_product_t(a, b, n, k, m, factor, out):
    """out += factor a b' for a (n, k), b (m, k)."""
    for i in range(n):
        for j in range(m):
            s = 0.0
            for l in range(k):
                s += a[i, l] * b[j, l]
            out[i, j] += factor * s


@njit(**OPTIONS)
def add_t_product(a, b, k, n, m, factor, out):
    """out += factor a' b for a (k, n), b (k, m)."""
    for l in range(k):
        for i in range(n):
            s = factor * a[l, i]
            if s != 0.0:
                for j in range(m):
                    out[i, j] += s * b[l, j]


@intrinsic
def address(typingctx, src):
    """The void pointer at an integer address."""

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(src), codegen


@njit(inline="always")
def views(user_data, ints_type, floats_type):
    """The two tables behind the user-data pointer: structure (int64) and numbers (float64)."""
    u = carray(user_data, (4,), ints_type)
    return carray(address(u[0]), (u[1],), ints_type), carray(address(u[2]), (u[3],), floats_type)


@njit(**OPTIONS)
def rejection(lp, grad):
    """What a callback of nutpie returns: 0, or a positive code for a point that is to be rejected."""
    if not math.isfinite(lp):
        return 4
    for i in range(len(grad)):
        if not math.isfinite(grad[i]):
            return 3
    return 0
