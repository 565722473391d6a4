"""Checks a data set: what is wrong with it, and how to mend it."""
