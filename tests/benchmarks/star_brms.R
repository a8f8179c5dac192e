# The flagship in brms (rstan), same model and priors: seconds of sampling and smallest bulk ESS of the parameters.
# Rscript star_brms.R data.csv
suppressPackageStartupMessages({ library(brms); library(posterior) })
d <- read.csv(commandArgs(TRUE)[1])
priors <- c(
  set_prior("normal(0, 3)", class = "b"), set_prior("normal(0, 3)", class = "sd"),
  set_prior("normal(0, 6)", class = "sigma"), set_prior("lkj(2)", class = "cor")
)
formula <- bf(y ~ 0 + Intercept + aide + small + (small | school))
begin <- proc.time()[["elapsed"]]
empty <- suppressMessages(brm(formula, d, prior = priors, chains = 0, refresh = 0))
compiled <- proc.time()[["elapsed"]]
fit <- suppressMessages(update(empty, chains = 4, cores = 2, iter = 1500, warmup = 500, seed = 1, refresh = 0, recompile = FALSE))
done <- proc.time()[["elapsed"]]
times <- rstan::get_elapsed_time(fit$fit)
parameters <- c("b_Intercept", "b_aide", "b_small", "sd_school__Intercept", "sd_school__small", "cor_school__Intercept__small", "sigma")
ess <- summarise_draws(as_draws_array(fit, variable = parameters), "ess_bulk")$ess_bulk
cat(sprintf("compile %.2f\nsampling %.2f\ncpu %.2f\ness %.1f\n", compiled - begin, done - compiled, sum(times), min(ess)))
