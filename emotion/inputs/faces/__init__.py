"""Faces: found, followed, recognised again and cut out."""
