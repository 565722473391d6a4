"""Finds every face in a clip, tells its emotion and that of the voice, and writes the clip with labelled boxes.

python run_inference.py --video_path clip.mp4
"""

import sys

from emotion.infer import build_parser, main, run

__all__ = ["build_parser", "main", "run"]

if __name__ == "__main__":
    sys.exit(run())
