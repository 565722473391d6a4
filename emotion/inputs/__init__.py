"""From media to what a network sees: faces, voices, windows. Training, evaluation and inference all enter here."""
