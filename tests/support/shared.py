"""What the workers of one test session make once and share."""

import fcntl
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any


def make_once(tmp_path_factory, name: str, make: Callable[[Path], Any]) -> Any:
    """Returns what ``make`` returned for the session's folder of this name; the first worker that asks calls it.

    Tests must not change what lies in the folder. The lock ends with its process: a killed worker stops no other.
    """
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    folder, result = session / "shared" / name, session / "shared" / f"{name}.pickle"
    folder.mkdir(parents=True, exist_ok=True)
    with open(session / "shared" / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.is_file():
            result.write_bytes(pickle.dumps(make(folder)))
    return pickle.loads(result.read_bytes())
