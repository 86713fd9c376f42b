spark_config <- function() list()

spark_connect <- function(master, spark_home, app_name, config) {
  # As the real one makes spark-submit's arguments.
  arguments <- unlist(lapply(names(config), function(name) {
    lapply(as.list(config[[name]]), function(value) list(sub("sparklyr.shell.", "--", name, fixed = TRUE), value))
  }))
  cat("connected to", master, "by", spark_home, "as", app_name, "with", arguments, "\n")
  list(open = TRUE)
}

connection_is_open <- function(sc) isTRUE(sc$open)
spark_session <- function(sc) "the session"
sdf_sql <- function(sc, query) paste("sparklyr ran", query)
