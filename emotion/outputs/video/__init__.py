"""The annotated video: what is drawn, where, and how it is written."""
