"""Writes results as videos with faces marked, tables and plots. Knows no model."""
