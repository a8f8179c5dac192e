# Estimates and log likelihoods of R's MASS and lme4: Rscript fit.R data.csv
# Lines: model, name, value.
suppressMessages({library(MASS); library(lme4)})
d <- read.csv(commandArgs(TRUE)[1])
say <- function(model, names, values) cat(sprintf("%s,%s,%.12g\n", model, names, values), sep = "")
report <- function(model, fit, values, names) {
  say(model, names, values)
  say(model, "log likelihood", as.numeric(logLik(fit)))
}
d$grade <- ordered(d$grade)
for (link in c("logistic", "probit")) {
  fit <- polr(grade ~ t + x, data = d, method = link)
  report(link, fit, c(coef(fit), fit$zeta), c("t", "x", paste0("threshold", seq_along(fit$zeta))))
}
nb <- glm.nb(count ~ t + x, data = d, epsilon = 1e-12, maxit = 200)
report("nb", nb, c(coef(nb), nb$theta), c("intercept", "t", "x", "phi"))
laplace <- glmer.nb(count ~ t + x + (1 | g), data = d)
theta <- getME(laplace, "glmer.nb.theta")
mixed <- glmer(count ~ t + x + (1 | g), data = d, family = negative.binomial(theta), nAGQ = 25)
report("mixed", mixed, c(fixef(mixed), theta, sqrt(VarCorr(mixed)$g[1])), c("intercept", "t", "x", "phi", "sd"))
