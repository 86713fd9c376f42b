"""The container runtimes, each behind the same small interface."""
