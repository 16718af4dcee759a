"""`mbrl`: the command line."""
