"""The programs behind ``train_model.py`` and ``run_inference.py``, and behind the commands that pip installs."""
