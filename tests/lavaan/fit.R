# Fits every NAME.lav of a folder (lavaan's model text) to NAME.csv by maximum likelihood.  Rscript fit.R folder
#
# NAME.dcf has the options: Cluster, Group, Missing ("listwise", "ml"), Fixed.x, Fit ("no": the parameter table only).
# Written are NAME.table.csv (the parameter table with estimates), NAME.vcov.csv (covariances of the estimates, by the observed
# information, in the order of the table's free rows) and NAME.fit.csv (log likelihood, parameters, rows that were used).
suppressPackageStartupMessages(library(lavaan))
folder <- commandArgs(TRUE)[1]

fitted <- function(name) {
  path <- function(ending) file.path(folder, paste0(name, ending))
  o <- read.dcf(path(".dcf"))[1, ]
  args <- list(
    model = paste(readLines(path(".lav"), warn = FALSE), collapse = "\n"), data = read.csv(path(".csv")), meanstructure = TRUE,
    missing = o[["Missing"]], fixed.x = o[["Fixed.x"]] == "yes", information = "observed", do.fit = o[["Fit"]] == "yes"
  )
  if (nzchar(o[["Cluster"]])) args$cluster <- o[["Cluster"]]
  if (nzchar(o[["Group"]])) args$group <- o[["Group"]]
  fit <- suppressWarnings(do.call("sem", args)) # it warns that rows without covariates are dropped
  write.csv(parTable(fit), path(".table.csv"), row.names = FALSE, na = "")
  if (!args$do.fit) return()
  table <- data.frame(
    converged = lavInspect(fit, "converged"), log_likelihood = as.numeric(logLik(fit)),
    parameters = unname(fitMeasures(fit, "npar")), rows = lavInspect(fit, "ntotal")
  )
  write.csv(format(table, digits = 15), path(".fit.csv"), row.names = FALSE)
  write.csv(unclass(vcov(fit)), path(".vcov.csv"), row.names = FALSE)
}

for (file in list.files(folder, pattern = "[.]lav$")) fitted(sub("[.]lav$", "", file))
