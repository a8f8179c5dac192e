# Estimates of a probit factor model (lavaan, WLSMV) and of a two-level probit regression with a random slope (lme4):
# Rscript fit.R factor.csv clusters.csv prints model,name,estimate,standard error.
suppressMessages({library(lavaan); library(lme4)})
files <- commandArgs(trailingOnly = TRUE)
factor_data <- read.csv(files[1])
fit <- cfa("f =~ NA*u1 + u2 + u3 + u4 + u5; f ~~ 1*f", factor_data, ordered = TRUE, parameterization = "theta", estimator = "WLSMV")
p <- parameterEstimates(fit)
p <- p[p$op == "=~" | p$op == "|", ]
cat(sprintf("lavaan,%s %s %s,%.8f,%.8f\n", p$lhs, p$op, p$rhs, p$est, p$se), sep = "")
d <- read.csv(files[2])
m <- glmer(y ~ x + z + (x | g), d, family = binomial("probit"))
cat(sprintf("glmer,%s,%.8f,%.8f\n", names(fixef(m)), fixef(m), sqrt(diag(as.matrix(vcov(m))))), sep = "")
v <- as.data.frame(VarCorr(m))
cat(sprintf("glmer,sd %s %s,%.8f,0\n", v$var1, ifelse(is.na(v$var2), "", v$var2), v$sdcor), sep = "")
