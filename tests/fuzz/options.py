"""The options that ``fuzz.py`` and ``crash.py`` share."""

import argparse
from collections.abc import Iterable


def parse_options(description: str, kinds: Iterable[str], *, n: int) -> argparse.Namespace:
    """Reads the command line; ``n`` cases by default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=n, help="how many cases (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default: %(default)s)")
    parser.add_argument("--case", type=int, help="run this case alone; fuzz.py prints how it ends")
    parser.add_argument("--kinds", nargs="+", choices=list(kinds), default=list(kinds), help="of cases (default: all)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time")
    return parser.parse_args()
