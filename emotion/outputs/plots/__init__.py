"""Plots of clips, trainings and scores."""
