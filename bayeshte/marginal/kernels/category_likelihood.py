"""Log-likelihood of responses in categories given levels by arm, slopes, thresholds, mean abilities and their SD by
arm.

`categories.py` has the probabilities, `category_integral.py` the integrals. Persons with equal arm, responses
(adjacent models with slopes of one: items seen and score), cluster and covariates are one unit with a count; units
with equal arm and items seen are a pattern. Below sigma = `LEAST` (or the range of mu over `STEPS`) the
log-likelihood, which is even in sigma, is continued by the parabola that has its slope there, as in
`item_likelihood.py`.

Tables. patterns: arm of each pattern (G), its first unit and N (G + 1), its first entry in the list of items and the
end (G + 1), that list. answers: first answer of each unit and their end (N + 1), row (item and category) of each
answer (none in adjacent models with slopes of one). numbers: count (N), score sum_i y_ij (N), responses by arm and
row."""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.categories import ADJACENT
from bayeshte.marginal.kernels.category_integral import arm_of_categories
from bayeshte.marginal.kernels.item_likelihood import LEAST, STEPS
from bayeshte.marginal.kernels.linear import OPTIONS


@njit(**OPTIONS)
def scores(free, first, slope, first_answer, answers, given, out):
    """sum_i a_i y_ij of the units."""
    item = np.empty(first[len(slope)], np.int64)
    for i in range(len(slope)):
        for r in range(first[i], first[i + 1]):
            item[r] = i
    for u in range(len(out)):
        s = given[u]
        if free:
            s = 0.0
            for e in range(first_answer[u], first_answer[u + 1]):
                r = answers[e]
                s += slope[item[r]] * (r - first[item[r]])
        out[u] = s


@njit(**OPTIONS)
def likelihood_of_categories(model, sizes, tables, first, mu, sigma, level, slope, tau, accuracy, out):
    """Log-likelihood of all responses.

    model: form, link, free slopes. sizes: J, N, G, R. tables: patterns, first_answer, answers, count, score, responses.
    level (R, J). sigma: of each arm. out: dmu (set), dsigma, dlevel, dslope (in log a), dtau (added).
    """
    form, link, free = model
    J, N, G, R = sizes
    patterns, first_answer, answers, count, given, responses = tables
    arms, first_unit = patterns[:G], patterns[G : 2 * G + 1]
    first_item, items = patterns[2 * G + 1 : 3 * G + 2], patterns[3 * G + 2 :]
    dmu, dsigma, dlevel, dslope, dtau = out
    score = np.empty(N)
    if form == ADJACENT:
        scores(free, first, slope, first_answer, answers, given, score)
    low, high = math.inf, -math.inf
    for u in range(N):
        low, high = min(low, mu[u]), max(high, mu[u])
    least = max(LEAST, (high - low) / STEPS)
    ll, end = 0.0, 0
    for t in range(R):
        begin = end
        while end < G and arms[end] == t:
            end += 1
        if end == begin:
            continue
        size = abs(sigma[t])
        seen = responses[t * first[J] : (t + 1) * first[J]]
        structure = count, first_answer, answers
        value, slope_sigma = arm_of_categories(
            (form, link),
            max(size, least),
            *(level[t], slope, tau, first, (begin, end, first_item, items, first_unit), structure, (score, seen)),
            *(accuracy, mu, (dmu, dlevel[t], dslope, dtau)),
        )
        if size < least:
            value += slope_sigma * (size * size - least * least) / (2.0 * least)
            slope_sigma *= size / least
        ll += value
        dsigma[t] += slope_sigma if sigma[t] > 0.0 else -slope_sigma
    return ll
