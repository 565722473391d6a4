"""What ends the process that it is called in. Spawned processes import this, so it imports little itself."""

import os

from emotion.datasets.check.examination import Examination


def crash_on_poison(path):
    if "poison" in path:
        os._exit(11)
    return Examination(words=path)
