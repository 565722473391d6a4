"""Scores two classical baselines on the same folds as our models, and compares both.

pip install -r benchmarks/requirements.txt
python benchmarks/baselines.py --dataset_dir dataset
"""

import argparse
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Python puts this file's folder on its path, not the one above, which holds the packages.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from emotion.config import RunConfig, TrainConfig
from emotion.console import (
    SOME_FILES_FAILED,
    add_progress_option,
    command_line,
    quiet_import,
    reporter_for,
    run_program,
)
from emotion.datasets import DATASETS
from emotion.errors import ConfigError
from emotion.places import CACHE_DIR
from emotion.training.options import DataRequest

SYSTEM_NAMES = ("mfcc_svm", "compare_logreg")
FOLD_PROTOCOLS = ("kfold", "random")
LIBRARIES = ("numpy", "scikit-learn", "librosa", "opensmile", "av")
REPORT_FILE, TABLE_FILE, PLOT_FILE = "report.json", "table.md", "protocols.png"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit codes: 0 done; 1 openSMILE is missing; 2 wrong settings or no data; 3 done, but some clips could "
        "not be read.",
    )
    add = parser.add_argument
    add("--dataset", choices=sorted(DATASETS), help="the data set (default: detected from the folder layout)")
    add("--dataset_dir", "--root", dest="root", type=Path, metavar="DIR", help="its folder (default: dataset)")
    add("--manifest", type=Path, metavar="FILE", help="CSV table of clips, instead of --dataset")
    add("--folds", type=int, default=5, help="folds of each protocol (default: %(default)s)")
    add("--protocols", nargs="+", choices=FOLD_PROTOCOLS, default=FOLD_PROTOCOLS, help="kfold keeps speakers apart; "
        "random does not, and its scores are optimistic (default: both)")  # fmt: skip
    add("--seed", type=int, default=TrainConfig().seed, help="seed of the folds, as in training (default: %(default)s)")
    add("--systems", nargs="+", choices=SYSTEM_NAMES, default=SYSTEM_NAMES, help="baselines to score (default: both)")
    add("--compare", nargs="+", type=Path, default=[], metavar="FOLDER", help="cross-validations of our models to "
        "compare, from python -m emotion.evaluate folds or protocols")  # fmt: skip
    add("--output", type=Path, default=CACHE_DIR / "benchmarks", help="folder to write; features are kept in it "
        "(default: %(default)s)")  # fmt: skip
    add_progress_option(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    args = build_parser().parse_args(arguments)
    data = DataRequest(args.dataset, args.root, args.manifest)
    settings = TrainConfig(seed=args.seed)
    if args.output.exists() and not args.output.is_dir():
        raise ConfigError(f"--output {args.output}: is a file. Name a folder.")
    with quiet_import():
        from benchmarks.features import extract_features
        from benchmarks.results import HOW, describe_row, find_cross_validations, load_compared, run_protocol
        from benchmarks.systems import SYSTEMS
        from emotion.evaluation.judging import write_predictions
    from emotion.datasets.protocols import split_folds
    from emotion.labels import class_index
    from emotion.training.workflows import describe_data

    # First whatever may be missing, before anything takes time.
    systems = {name: SYSTEMS[name] for name in dict.fromkeys(args.systems)}
    feature_sets = {name: system.build_features() for name, system in systems.items()}
    compared = [found for folder in args.compare for found in find_cross_validations(folder)]
    clips, source = data.load(reporter_for(args))
    class_names = describe_data(RunConfig(), clips, source).class_names
    clips = [clip for clip in clips if class_index(clip.emotion, class_names) is not None]

    features, failures = {}, {}
    for name, feature_set in feature_sets.items():
        features[name] = extract_features(clips, feature_set, args.output, reporter=reporter_for(args))
        failures |= features[name].failures
    # As in training, clips with neither face nor voice are left out before the split. A clip with only a face stays in
    # and counts as unanswered.
    silent = set.intersection(*(set(found.without_sound) for found in features.values()))
    failures |= {
        clip.clip_id: f"{clip.audio_path}: holds no sound to speak of, and the clip no picture."
        for clip in clips
        if clip.clip_id in silent and clip.video_path is None
    }
    clips = [clip for clip in clips if clip.clip_id not in failures]
    fractions = {"validation_fraction": settings.validation_fraction, "seed": settings.seed}
    splits = {
        protocol: split_folds(clips, protocol, n_folds=args.folds, **fractions)
        for protocol in dict.fromkeys(args.protocols)
    }

    args.output.mkdir(parents=True, exist_ok=True)
    rows, reports, notes = [], {}, []
    by_id = {clip.clip_id: clip for clip in clips}
    for name, system in systems.items():
        for protocol, folds in splits.items():
            reporter_for(args).say(f"{system.title}, {protocol}: fitting {len(folds)} folds")
            report, judgements = run_protocol(
                system, folds, by_id, features[name].rows, class_names, n_skipped=len(failures)
            )
            rows.append(describe_row(system.title, protocol, report))
            reports.setdefault(name, {})[protocol] = report
            write_predictions(judgements, class_names, args.output / f"predictions_{name}_{protocol}.csv")
        n_silent = len([clip_id for clip_id in features[name].without_sound if clip_id not in failures])
        if n_silent:
            notes.append(f"{system.title}: {n_silent} clips hold too little sound and are not scored.")
    for folder in compared:
        row, differences = load_compared(folder, splits, class_names)
        rows.append(row)
        notes += [f"{row['system']}, {row['protocol']} ({folder}): {words}." for words in differences]

    result = {
        "command": command_line(),
        "data": {"name": source.name, "licence": source.licence, "n_clips": len(clips), "classes": list(class_names)},
        "settings": {
            **{"folds": args.folds, **fractions, "refit": HOW},
            "grids": {name: system.grid for name, system in systems.items()},
            "features": {name: feature_set.source for name, feature_set in feature_sets.items()},
        },
        "versions": find_versions(),
        "notes": notes,
        "unreadable": failures,
        "rows": rows,
        "reports": reports,
    }
    write_results(result, args.output)
    for clip_id, reason in failures.items():
        print(f"left out {clip_id}: {reason}", file=sys.stderr)
    return SOME_FILES_FAILED if failures else 0


def write_results(result: dict[str, Any], output: Path) -> None:
    """Prints the table; writes it, all reports and the plot."""
    from benchmarks.results import format_rows, name_apart
    from emotion.outputs.plots.comparison import write_protocol_comparison

    rows, data = name_apart(result["rows"]), result["data"]
    table = "\n".join([format_rows(rows), "", result["settings"]["refit"], *result["notes"]])
    (output / REPORT_FILE).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (output / TABLE_FILE).write_text(table + "\n", encoding="utf-8")
    write_protocol_comparison(
        rows,
        output / PLOT_FILE,
        f"{data['name']}, {data['n_clips']} clips",
        human_accuracy=find_human_accuracy(data["name"]),
        chance=1 / len(data["classes"]),
    )
    print(table)
    print(f"written: {output}")


def find_versions() -> dict[str, str | None]:
    """Returns the releases of the libraries used; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = None
    return found


def find_human_accuracy(dataset_name: str) -> float | None:
    """Returns the accuracy of human raters on a data set's sound, or None if unknown."""
    module = next((module for module in DATASETS.values() if getattr(module, "NAME", None) == dataset_name), None)
    return getattr(module, "HUMAN_ACCURACY", {}).get("audio")


if __name__ == "__main__":
    sys.exit(run_program(main))
