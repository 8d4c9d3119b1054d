"""Answers and their renderers: terminal, plain text, JSON and CSV."""
