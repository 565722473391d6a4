"""Files that come inside installed packages: found without importing the package, and known by their SHA-256."""

import hashlib
import importlib.util
from pathlib import Path

from emotion.errors import EmotionError


def find_packaged_file(package: str, name: str, sha256: str, *, what: str) -> Path:
    """Returns where a file of an installed package lies, after checking that it is the expected one.

    Args:
        package: that carries it. It is not imported, which would cost time and bring nothing.
        name: of the file, beside the package's ``__init__.py``.
        sha256: of its content.
        what: it is, as an error is to call it.

    Raises:
        EmotionError: if it is not installed or is another file.
    """
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / name if spec and spec.origin else None
    if path is None or not path.is_file():
        raise EmotionError(
            f"{what} {name} is not installed. It comes with the package {package.replace('_', '-')}: pip install -r "
            "requirements.txt"
        )
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise EmotionError(
                f"{path} is not {what[0].lower()}{what[1:]} that this program was tested with: pip install "
                "--force-reinstall -r requirements.txt"
            )
    return path
