"""What everything else stands on: errors, log lines, clocks, atomic files, the lock file, processes."""
