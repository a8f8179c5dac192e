"""Every option of the manual, by command: read, or noted because it has no bearing on the result, or refused with a remedy
because it would change the model.
"""

READ = {
    "DATA": ("FILE", "FORMAT", "TYPE", "LISTWISE"),
    "VARIABLE": (
        *(
            "NAMES",
            "USEVARIABLES",
            "USEOBSERVATIONS",
            "MISSING",
            "CLUSTER",
            "WITHIN",
            "BETWEEN",
            "IDVARIABLE",
            "AUXILIARY",
        ),
        "CATEGORICAL",
    ),
    "ANALYSIS": ("TYPE", "ESTIMATOR", "MODEL", "POINT", "PREDICTOR", "LINK", "PARAMETERIZATION", "MEDIATOR"),
    "OUTPUT": ("CINTERVAL",),
    "SAVEDATA": ("FILE", "SAVE", "BPARAMETERS"),
    "PLOT": (),
}

_DYNAMIC = (
    "dynamic models are not supported: a column of the data with the value before, made beforehand, can be a covariate."
)
_ML = "it steers estimators other than BAYES"
NOTED = {
    "DATA": {
        "NOBSERVATIONS": "rows are counted in the file",
        "VARIANCES": "variances are checked",
        "NGROUPS": "there are no groups",
    },
    "VARIABLE": {},
    "ANALYSIS": {
        "CHAINS": "there are four chains, or as many as --chains says",
        "BITERATIONS": "the sampler draws what --draws says and reports whether that was enough",
        "FBITERATIONS": "the sampler draws what --draws says and reports whether that was enough",
        "THIN": "draws are nearly independent, so none is thrown away",
        "BCONVERGENCE": "convergence is judged by R-hat and effective sample size; the PSR is printed beside them",
        "BSEED": "the seed is that of --seed",
        "PROCESSORS": "all cores are used",
        "ALGORITHM": "the sampler is NUTS",
        "STVALUES": "chains start near the mode",
        "MDITERATIONS": "it concerns POINT = MODE of Mplus's own draws",
        "KOLMOGOROV": "convergence is judged by R-hat and effective sample size",
        "PRIOR": "it concerns a plot of priors",
        "INTERACTIVE": "progress is shown",
        "DISTRIBUTION": "it concerns a Kolmogorov-Smirnov test",
    }
    | dict.fromkeys(
        (
            *(
                "ITERATIONS",
                "SDITERATIONS",
                "H1ITERATIONS",
                "MITERATIONS",
                "MCITERATIONS",
                "MUITERATIONS",
                "CONVERGENCE",
            ),
            *(
                "H1CONVERGENCE",
                "MCONVERGENCE",
                "MCCONVERGENCE",
                "MUCONVERGENCE",
                "LOGCRITERION",
                "INFORMATION",
                "INTEGRATION",
            ),
            *("STARTS", "STITERATIONS", "STSCALE", "STSEED", "OPTSEED", "MCSEED", "ADAPTIVE", "CHOLESKY", "BOOTSTRAP"),
            *(
                "COVERAGE",
                "ADDFREQUENCY",
                "MIXC",
                "MIXU",
                "LOGHIGH",
                "LOGLOW",
                "UCELLSIZE",
                "TOLERANCE",
                "METRIC",
                "MATRIX",
            ),
            *("LRTSTARTS", "K-1STARTS", "LRTBOOTSTRAP", "H1STARTS", "VARIANCE", "MULTIPLIER"),
        ),
        _ML,
    ),
    "OUTPUT": {
        "STANDARDIZED": "standardized.csv is always written",
        "STDYX": "standardized.csv is always written",
        "STDY": "standardized.csv has STDYX only",
        "STD": "standardized.csv has STDYX only",
        "SAMPSTAT": "the report has the statistics of the data",
        "RESIDUAL": "bh.implied_correlations(fit) has correlations beside those of the data",
        "TECH1": "`bayeshte check` prints the parameters and their priors",
        "TECH8": "summary.csv has PSR, R-hat and effective sample size of every parameter",
        "TECH4": "bh.implied_correlations(fit) has the moments of the variables",
        "PATTERNS": "missing values are counted in the report",
        "MODINDICES": "they do not exist with BAYES; bh.implied_correlations(fit) shows where the model is off",
        "NOCHISQUARE": "all fit statistics are written",
        "NOSERROR": "all fit statistics are written",
        "FSCOEFFICIENT": "bh.factor_scores(fit) has factor scores",
        "FSDETERMINACY": "bh.factor_scores(fit) has the SD of factor scores",
        "SVALUES": "summary.csv has the estimates",
        "H1SE": "it concerns estimators other than BAYES",
        "H1TECH3": "it concerns estimators other than BAYES",
        "FSCOMPARISON": "bh.factor_scores(fit) has factor scores with their intervals",
        "BASELINE": "bh.implied_correlations(fit) has the moments of the data",
        "ENTROPY": "it concerns latent classes",
        "ALIGNMENT": "it concerns groups",
        "CROSSTABS": "it concerns categorical variables",
        "LOGLIKELIHOOD": "bh.loo(fit) has pointwise predictive densities",
    }
    | {f"TECH{k}": "nothing of it is printed" for k in (*range(2, 4), *range(5, 8), *range(9, 17))},
    "SAVEDATA": dict.fromkeys(
        (
            *(
                "FORMAT",
                "MISSFLAG",
                "RECORDLENGTH",
                "FACTORS",
                "LRESPONSES",
                "MFILE",
                "MNAMES",
                "MFORMAT",
                "MSELECT",
                "SAMPLE",
            ),
            *(
                "COVARIANCE",
                "SIGBETWEEN",
                "RESULTS",
                "ESTIMATES",
                "DIFFTEST",
                "TECH3",
                "TECH4",
                "KAPLANMEIER",
                "STDRESULTS",
            ),
            *("RANKING", "TYPE", "STDDISTRIBUTION", "SWMATRIX", "STD"),
        ),
        "it is not written; summary.csv has the estimates, fit/ all draws",
    ),
    "PLOT": dict.fromkeys(
        ("TYPE", "SERIES", "FACTORS", "LRESPONSES", "OUTLIERS", "MONITOR", "FACTOR"), "figures/ has the figures"
    ),
}

_WEIGHTS = "sampling weights are not supported: leave the option out if an unweighted analysis answers the question."
_CLASSES = "latent classes are not supported."
_LATER = "such outcomes are not supported so far; delete the option to treat the variable as continuous."
REFUSED = {
    "DATA": {"SWMATRIX": "give the raw data."},
    "VARIABLE": {
        "CENSORED": _LATER,
        "NOMINAL": _LATER,
        "COUNT": _LATER,
        "GROUPING": "groups are not supported: make 0/1 variables of them, or USEOBSERVATIONS for one group at a time.",
        "CLASSES": _CLASSES,
        "KNOWNCLASS": _CLASSES,
        "TRAINING": _CLASSES,
        "SUBPOPULATION": "it belongs to weighted designs: select rows with USEOBSERVATIONS.",
        "STRATIFICATION": "survey designs are not supported.",
        "FREQWEIGHT": "give every case its own row.",
        "TSCORES": "individually varying times are not supported: use random slopes on a time variable.",
        "CONSTRAINT": "variables in MODEL CONSTRAINT are not supported.",
        "CENTERING": "write it into DEFINE: CENTER x (GROUPMEAN); or (GRANDMEAN).",
        "LAGGED": _DYNAMIC,
        "TINTERVAL": _DYNAMIC,
    }
    | dict.fromkeys(("DSURVIVAL", "SURVIVAL", "TIMECENSORED"), "survival models are not supported.")
    | dict.fromkeys(
        ("WEIGHT", "BWEIGHT", "WTSCALE", "BWTSCALE", "B2WEIGHT", "B3WEIGHT", "REPWEIGHTS", "FINITE"), _WEIGHTS
    )
    | {"PATTERN": "designs with planned patterns need no option: code what was not asked as missing."},
    "ANALYSIS": {
        "ROTATION": "exploratory factors are not supported: write the loadings with BY.",
        "ALIGNMENT": "groups are not supported.",
        "REPSE": _WEIGHTS,
        "BASEHAZARD": "survival models are not supported.",
        "PARALLEL": "exploratory factors are not supported: write the loadings with BY.",
    },
    "OUTPUT": {},
    "SAVEDATA": {},
    "PLOT": {},
}

TYPES = {
    "MIXTURE": _CLASSES,
    "COMPLEX": "errors that depend on clusters are modelled here: use TYPE = TWOLEVEL with %WITHIN% and %BETWEEN%.",
    "THREELEVEL": "there are two levels at most.",
    "CROSSCLASSIFIED": "clusters must be nested.",
    "EFA": "exploratory factors are not supported: write the loadings with BY.",
    "IMPUTATION": "give one data file: missing values are integrated (MAR), no imputation is needed.",
    "MONTECARLO": "give one data file.",
    "LOGISTIC": "write TYPE = GENERAL and VARIABLE: CATEGORICAL = ...; the link is probit.",
}
