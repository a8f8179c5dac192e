# The flagship in lme4: seconds of one REML fit (median of five).  Rscript star_lme4.R data.csv
suppressPackageStartupMessages(library(lme4))
d <- read.csv(commandArgs(TRUE)[1])
d$school <- factor(d$school)
seconds <- replicate(5, system.time(lmer(y ~ aide + small + (small | school), d))[["elapsed"]])
cat(sprintf("seconds %.3f\n", median(seconds)))
