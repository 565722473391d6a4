"""Has the package facial_emotion_recognition watch a clip picture by picture; run by its own Python.

Prints the pictures judged, and the seconds that importing, loading and watching took.
"""

import functools
import sys
import time

start = time.perf_counter()
import cv2  # noqa: E402  (the import is timed)
import torch  # noqa: E402
from facial_emotion_recognition import EmotionRecognition  # noqa: E402

imported = time.perf_counter()
torch.load = functools.partial(torch.load, map_location="cpu")  # its weights lie on a GPU otherwise
detector = EmotionRecognition(device="cpu")
loaded = time.perf_counter()
capture, n, writer = cv2.VideoCapture(sys.argv[1]), 0, None
while True:
    is_there, picture = capture.read()
    if not is_there:
        break
    annotated = detector.recognise_emotion(picture, return_type="BGR")
    if writer is None:
        size = annotated.shape[1::-1]
        writer = cv2.VideoWriter("annotated.mp4", cv2.VideoWriter.fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), size)
    writer.write(annotated)
    n += 1
writer.release()
print("peer", n, imported - start, loaded - imported, time.perf_counter() - loaded)
