"""School trial of physical activity (made data with the published moments): does the effect of advantages vary between schools?

Chapter 25, Group administered interventions and cluster designs, of a textbook on randomized explanatory trials, table 25.5: the
trial of school_activity, in which the path from perceived advantages (advant) to minutes of moderate to vigorous activity (mvpa)
within schools may now differ from school to school.

Data        Those of school_activity, made to have the published covariances within and between schools. They fix the average
            slope; how much slopes vary is not in the moments, and in these data they do not (in the chapter's neither: its
            author made them so). The chapter's variance of the slopes, median 0.616 and posterior SD 0.818, 95 % interval from
            0.001 to 2.468, is that of another sample and no reference; here, too, it is piled up near zero.
Replaces    Mplus: TYPE = TWOLEVEL RANDOM; ESTIMATOR = BAYES; with vs1 | mvpa ON advant
Priors      Those of Mplus: flat on coefficients, variances and covariance matrices. bayeshte's default for the SD of the slopes,
            a wide HalfNormal, is flat near zero in the SD and not in the variance, so that slopes vary less with it.
"""

from bayeshte import SEM, gallery

SPEC = SEM(
    cluster="school",
    within="vs1 | mvpa ~ advant; mvpa ~ p2wc*peers; advant ~~ peers",
    between="mvpa ~ p3bc*advant + p4bc*peers; advant ~ p1bc*treat; peers ~ p2bc*treat; advant ~~ peers",
    derived={"medadv": "p1bc*p3bc", "medpeer": "p2bc*p4bc", "tot": "medadv + medpeer"},
    priors="mplus",
)
data = gallery.read("school_activity").data

EXPECTED = {  # tolerance: 0.3 posterior SD, since how the slopes vary is the data's own
    "between: vs1 ~1": (4.862, 0.115, "Mplus BAYES, posterior median, table 25.5"),
}
