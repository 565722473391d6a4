"""How the models in ``saved_models/`` are made."""
