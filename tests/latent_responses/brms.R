# The two-level probit regression in brms with normal(0, 1) and half-normal(1) priors and LKJ(2):
# Rscript brms.R clusters.csv prints name,mean,SD,Monte Carlo error of the mean.
suppressPackageStartupMessages({ library(brms); library(posterior) })
d <- read.csv(commandArgs(TRUE)[1])
priors <- c(
  set_prior("normal(0, 1)", class = "b"), set_prior("normal(0, 1)", class = "sd"), set_prior("lkj(2)", class = "cor")
)
fit <- suppressMessages(brm(
  y ~ 0 + Intercept + x + z + (x | g), d, bernoulli("probit"), prior = priors,
  chains = 4, cores = 2, iter = 2500, warmup = 500, seed = 1, refresh = 0
))
draws <- as_draws_array(fit, variable = c("^b_", "^sd_", "^cor_"), regex = TRUE)
s <- summarise_draws(draws, "mean", "sd", mcse_mean)
cat(sprintf("%s,%.8f,%.8f,%.8f\n", s$variable, s$mean, s$sd, s$mcse_mean), sep = "")
