"""The one home of the version; CITATION.cff and CHANGELOG.md repeat it, and a test compares."""

__version__ = "0.9.0"
