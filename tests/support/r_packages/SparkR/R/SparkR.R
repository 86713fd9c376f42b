# As the real one keeps its session, and asks for it.
.sparkREnv <- new.env()

sparkR.session <- function(..., enableHiveSupport = TRUE) {
  if (!exists(".sparkRjsc", envir = .sparkREnv)) {
    cat("started with", Sys.getenv("SPARKR_SUBMIT_ARGS"), "and Hive", enableHiveSupport, "\n")
    if (nzchar(Sys.getenv("SPARK_FAILS"))) stop("JVM is not ready")
    assign(".sparkRjsc", "the context", envir = .sparkREnv)
  }
  if (exists(".sparkRsession", envir = .sparkREnv)) {
    session <- get(".sparkRsession", envir = .sparkREnv)
  } else {
    session <- "the session"
    assign(".sparkRsession", session, envir = .sparkREnv)
  }
  invisible(session)
}

sparkR.session.stop <- function() rm(".sparkRjsc", ".sparkRsession", envir = .sparkREnv)

sql <- function(query) {
  if (!exists(".sparkRsession", envir = .sparkREnv)) stop("SparkSession not initialized")
  paste(get(".sparkRsession", envir = .sparkREnv), "ran", query)
}
