"""How the shipped models are made, from folders of public data to a folder under ``saved_models/``."""
