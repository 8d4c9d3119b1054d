"""What the command answers: one room for each kind of question, over the index and the catalogue."""
