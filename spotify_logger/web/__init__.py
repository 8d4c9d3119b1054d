"""The page: what the log answers, for a browser. A process of its own, of which the daemon knows nothing."""
