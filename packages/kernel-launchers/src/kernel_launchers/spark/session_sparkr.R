# SparkR, whose session is this kernel's: made when it is first used, be it by `spark`, `sc` or a function of SparkR. Returns what makes
# it.
function(tools, told) {
  own <- get(".sparkREnv", envir = asNamespace("SparkR"))
  kept <- c(".sparkRsession", ".sparkRjsc")
  is_there <- function(name) exists(name, envir = own, inherits = FALSE)
  is_lazy <- function(name) is_there(name) && bindingIsActive(name, own)

  # SparkR looks for its session there, and finds one that isn't made yet.
  wait <- function() {
    for (each in kept) local({
      name <- each
      makeActiveBinding(name, function() { session(); get(name, envir = own) }, own)
    })
  }

  session <- function() {
    lazy <- Filter(is_lazy, kept)
    if (length(lazy) || !is_there(kept[[1]])) {
      rm(list = lazy, envir = own)
      tryCatch({
        Sys.setenv(SPARKR_SUBMIT_ARGS = told()$arguments)
        SparkR::sparkR.session(enableHiveSupport = FALSE)
      }, error = function(condition) {
        rm(list = Filter(is_there, kept), envir = own)
        wait()
        stop(condition)
      })
    }
    get(kept[[1]], envir = own)
  }

  wait()
  makeActiveBinding("spark", session, tools)
  makeActiveBinding("sc", function() { session(); get(kept[[2]], envir = own) }, tools)
  session
}
