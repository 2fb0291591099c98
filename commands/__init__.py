"""One module a command of `prunegym`; each has `main(args)`, which returns the exit status."""
