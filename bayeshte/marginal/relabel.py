"""Label switching: which class of one draw is which class of another.

Numbering the classes of a mixture otherwise changes neither prior nor likelihood, so that draws carry arbitrary numbers. Draws
are renumbered so that their classification of the units agrees best: Stephens (2000, J. R. Stat. Soc. B 62, algorithm of
section 4.1) minimises the Kullback-Leibler divergence of every draw's class probabilities from their mean over draws.
"""

from itertools import permutations

import numpy as np

ROUNDS = 50
TINY = 1e-12


def stephens(probability: np.ndarray, first: int) -> np.ndarray:
    """Which class of each draw becomes class 0, 1, ...: (S, K).

    Parameters
    ----------
    probability : ndarray (S, U, K)
        P(class | data) of every unit at every draw.
    first : int
        The draw whose numbering the search starts from; one of high posterior density.
    """
    S, _, K = probability.shape
    every = np.array(list(permutations(range(K))))
    order = np.tile(np.arange(K), (S, 1))
    mean = probability[first]
    for _ in range(ROUNDS):
        gain = np.einsum(
            "suk,ul->skl", probability, np.log(mean + TINY), optimize=True
        )  # class k of the draw as class l
        total = gain[:, every, np.arange(K)].sum(-1)
        new = every[total.argmax(1)]
        if (new == order).all() and not np.array_equal(mean, probability[first]):
            break
        order = new
        mean = np.take_along_axis(probability, order[:, None, :], axis=2).mean(0)
    return order


def ascending(values: np.ndarray) -> np.ndarray:
    """The same for an ordering constraint: classes of each draw by ascending value of a parameter (S, K).

    The prior is the same for every numbering, so that ordered draws follow the posterior under the prior restricted to ordered
    values, with its constant K!.
    """
    return np.argsort(values, axis=1, kind="stable")
