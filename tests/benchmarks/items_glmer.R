# Item-level effects in lme4: seconds of one fit.  Rscript items_glmer.R data.csv
suppressPackageStartupMessages(library(lme4))
d <- read.csv(commandArgs(TRUE)[1])
d$person <- factor(d$person)
d$item <- factor(d$item)
seconds <- system.time(glmer(y ~ t + (1 | person) + (t | item), d, family = binomial))[["elapsed"]]
cat(sprintf("seconds %.3f\n", seconds))
