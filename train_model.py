"""Trains an emotion recogniser on the clips in dataset/ and writes a model folder under saved_models/.

python train_model.py
"""

import sys

from emotion.train import build_parser, main, run

__all__ = ["build_parser", "main", "run"]

if __name__ == "__main__":
    sys.exit(run())
