"""Voices: features, speech and augmentation."""
