"""How an answer is shown: terminal, plain lines, JSON, CSV."""
