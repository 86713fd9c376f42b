"""What the cluster looks like now, kept up to date by watches."""
