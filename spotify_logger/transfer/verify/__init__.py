"""Checks whether plays, index and catalog agree, and repairs the index."""
