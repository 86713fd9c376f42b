# Spark's Python interface, spoken with by reticulate: `spark`, `sc`, `sql`, and helpers for data frames. Returns what makes the session.
function(tools, told) {
  sessions <- NULL
  python <- function() {
    if (is.null(sessions)) {
      module <- reticulate::import("kernel_launchers.spark.r_session")
      module$prepare(function(text) { cat(text); flush.console(); NULL })
      sessions <<- list(module = module, own = module$RSessions())
    }
    sessions
  }
  session <- function() python()$own$session()

  makeActiveBinding("spark", session, tools)
  makeActiveBinding("sc", function() session()$sparkContext, tools)

  tools$sql <- function(query, ...) session()$sql(query, ...)

  vector_of <- function(column) {
    values <- unlist(column$values)
    values <- switch(column$kind,
      logical = as.logical(values),
      integer = as.integer(values),
      double = as.double(values),
      Date = as.Date(as.double(values), origin = "1970-01-01"),
      POSIXct = as.POSIXct(as.double(values), origin = "1970-01-01"),
      as.character(values)
    )
    values[unlist(column$missing)] <- NA
    values
  }

  tools$collect <- function(x, ...) {
    collected <- python()$module$collect(x)
    frame <- lapply(collected, vector_of)
    names(frame) <- vapply(collected, function(column) column$name, "")
    as.data.frame(frame, optional = TRUE, stringsAsFactors = FALSE)
  }

  tools$createDataFrame <- function(data, ...) {
    data <- as.data.frame(data)
    plain <- lapply(data, function(column) if (is.factor(column)) as.character(column) else column)
    rows <- lapply(seq_len(nrow(data)), function(row) {
      unname(lapply(plain, function(column) if (is.na(column[[row]])) NULL else column[[row]]))
    })
    session()$createDataFrame(rows, as.list(names(data)), ...)
  }

  frame <- "pyspark.sql.dataframe.DataFrame"
  registerS3method("as.data.frame", frame, function(x, ...) tools$collect(x), envir = baseenv())
  registerS3method("head", frame, function(x, n = 6L, ...) tools$collect(x$limit(as.integer(n))), envir = asNamespace("utils"))
  registerS3method("dim", frame, function(x) c(x$count(), length(x$columns)), envir = baseenv())

  session
}
