"""Drawn faces and synthetic voices, for the demonstration and the tests."""
