"""Check that plays, index and catalog agree, and repair the index."""
