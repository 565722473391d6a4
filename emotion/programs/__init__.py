"""The programs that a user starts: ``train_model.py`` and ``run_inference.py``, ``emotion-train`` and ``emotion-infer``."""
