"""Foundations for all other packages: errors, log lines, clocks, atomic files, the lock file, processes."""
