# What an R kernel with Spark adds to R, attached behind the user's own names: by the package for Spark that the image has.
local({
  arguments <- commandArgs(TRUE)
  folder <- dirname(arguments[[2]])
  mode <- arguments[[3]]
  python <- arguments[[4]]

  # What Spark is told of this kernel.
  told <- function() {
    said <- suppressWarnings(system2(python, c("-m", "kernel_launchers.spark.told"), stdout = TRUE))
    if (!is.null(attr(said, "status"))) stop(paste(said, collapse = "\n"), call. = FALSE)
    jsonlite::fromJSON(paste(said, collapse = "\n"))
  }

  found <- Filter(function(package) requireNamespace(package, quietly = TRUE), c("SparkR", "sparklyr"))
  way <- if (length(found)) found[[1]] else "reticulate"
  if (length(found)) suppressMessages(library(way, character.only = TRUE, warn.conflicts = FALSE))
  # A copy of an environment would have the values of active bindings, and not the bindings.
  tools <- attach(NULL, name = "kernel:spark", warn.conflicts = FALSE)
  session <- source(file.path(folder, sprintf("session_%s.R", tolower(way))), local = TRUE)$value(tools, told)

  if (identical(mode, "eager")) {
    # Before the kernel answers: while R waits for its next cell, nothing of Python's goes on.
    tryCatch(session(), error = function(condition) message("No Spark session yet: ", conditionMessage(condition)))
  }
})
