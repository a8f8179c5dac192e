"""From fits of many trials to the columns of the published summary, which the figures of many trials take."""

import pandas as pd

from bayeshte.errors import SpecError, near
from bayeshte.many import Trials

_FROM_EFFECTS = {
    "ate_std": "standardised ATE",
    "sigma_zeta_std": "standardised SD of item effects",
    "rho": "correlation of easiness and effect",
    "sd_ratio": "ratio of item SDs",
}
ITEM = "standardised item effect"


def trial_tables(
    trials: Trials, least: float = 0.1, models: tuple[str, str, str] = ("A", "B", "C")
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fits of models A, B and C to many trials as tables for `bayeshte.plot_trials` and `bayeshte.plot_interaction_bias`.

    Parameters
    ----------
    trials : Trials
        From `bayeshte.fit_many`, two-arm trials; fits that were refused or did not converge are left out.
    least : float
        An effect varies over items if the 95 % interval of its SD over items, in SDs of abilities, lies above this value. The SD
        is positive in every draw, so that zero would never be excluded.
    models : tuple of str
        Names of the models with item effects, with an interaction, and with both. Only the first one must be there.

    Returns
    -------
    summary : DataFrame
        A row a trial: ``tab, n_items, ate_std, sigma_zeta_std, rho, sd_ratio, sig_il_hte`` (posterior medians of A), ``beta3_b,
        beta3_c, delta_beta3`` (missing without B and C).
    items : DataFrame
        A row an item: ``tab, item, total_std``, its effect in SDs of abilities.

    Raises
    ------
    SpecError
        No converged fit of the first model.
    """
    a, b, c = models
    good = trials.effects[(trials.effects["status"] == "ok") & (trials.effects["model"] == a)]
    if good.empty:
        known = trials.fits["model"].unique()
        raise SpecError(f"There is no converged fit of model {a!r}.{near(a, known)} See .fits for what there is.")
    summary = pd.DataFrame({"n_items": good[good["estimand"] == ITEM].groupby("trial", sort=False).size()})
    for column, estimand in _FROM_EFFECTS.items():
        rows = good[good["estimand"] == estimand].set_index("trial")
        summary[column] = rows["estimate"]
        if column == "sigma_zeta_std":
            summary["sig_il_hte"] = rows["lower"] > least
    parameters = trials.parameters[trials.parameters["status"] == "ok"]
    interaction = parameters[parameters["parameter"].str.startswith("beta3[")]
    for column, model in (("beta3_b", b), ("beta3_c", c)):
        summary[column] = interaction[interaction["model"] == model].set_index("trial")["estimate"]
    summary["delta_beta3"] = summary["beta3_b"] - summary["beta3_c"]
    rows = good[good["estimand"] == ITEM]
    items = pd.DataFrame({"tab": rows["trial"], "item": rows["contrast"], "total_std": rows["estimate"]})
    return summary.rename_axis("tab").reset_index(), items.reset_index(drop=True)
