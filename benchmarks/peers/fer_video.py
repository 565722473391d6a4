"""Has the package fer watch a clip, as its README does, with the faster of its two detectors; run by its own Python.

Prints the pictures judged, and the seconds that importing, loading and watching took.
"""

import sys
import time

start = time.perf_counter()
from fer.classes import Video  # noqa: E402  (the import is timed)
from fer.fer import FER  # noqa: E402

imported = time.perf_counter()
detector = FER(mtcnn=False)
loaded = time.perf_counter()
found = Video(sys.argv[1]).analyze(detector, display=False)
print("peer", len(found), imported - start, loaded - imported, time.perf_counter() - loaded)
