"""How good a model is, and how we know."""
