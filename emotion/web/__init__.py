"""The web demo: a page on which a clip is uploaded, judged, and watched with its labels."""
