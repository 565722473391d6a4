"""The one home of the version; CITATION.cff, CHANGELOG.md and conda/recipe.yaml repeat it, and a test compares."""

__version__ = "1.0.0"
