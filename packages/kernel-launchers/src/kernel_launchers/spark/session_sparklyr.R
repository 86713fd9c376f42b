# sparklyr, whose connection is this kernel's: `sc`, made when it is first used, and what is made of it. Returns what makes it.
function(tools, told) {
  connection <- NULL
  session <- function() {
    if (is.null(connection) || !sparklyr::connection_is_open(connection)) {
      known <- told()
      config <- sparklyr::spark_config()
      config[["sparklyr.shell.conf"]] <- paste(names(known$settings), unlist(known$settings), sep = "=")
      for (option in names(known$options)) config[[paste0("sparklyr.shell.", option)]] <- known$options[[option]]
      connection <<- sparklyr::spark_connect(
        master = known$settings[["spark.master"]],
        spark_home = Sys.getenv("SPARK_HOME"),
        app_name = known$settings[["spark.app.name"]],
        config = config
      )
    }
    connection
  }

  makeActiveBinding("sc", session, tools)
  makeActiveBinding("spark", function() sparklyr::spark_session(session()), tools)
  tools$sql <- function(query, ...) sparklyr::sdf_sql(session(), query, ...)
  session
}
