# Data sets of lavaan, each as NAME.csv in a folder.  Rscript data.R folder Demo.twolevel PoliticalDemocracy
suppressPackageStartupMessages(library(lavaan))
args <- commandArgs(TRUE)
for (name in args[-1]) {
  write.csv(get(name), file.path(args[1], paste0(name, ".csv")), row.names = FALSE, na = "")
}
