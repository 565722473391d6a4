"""``python -m emotion.datasets``: fetch data sets, check them, and clean up their tables."""

import argparse
import sys
from pathlib import Path
from types import ModuleType

from emotion.config_files import load_config
from emotion.console import SOME_FILES_FAILED, add_progress_option, reporter_for, run_program
from emotion.datasets.check import cleaning, label_conversion, report
from emotion.datasets.check.survey import MAX_SECONDS, MIN_SECONDS, SurveyRequest
from emotion.datasets.download import download, owners
from emotion.errors import ConfigError
from emotion.labels import SEVEN_EMOTIONS
from emotion.places import DATASET_DIR

FIRST_ACTORS = {"ravdess": 1, "cremad": 1001}  # the data sets' own numbers


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emotion.datasets", description=__doc__.split(": ", 1)[1])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, what: str, module: ModuleType, run) -> argparse.ArgumentParser:
        described = module.__doc__.strip().split("\n\n")[0]
        added = commands.add_parser(name, help=what, description=described)
        added.set_defaults(run=run)
        return added

    add_download_options(command("download", "fetch a data set from its owner", download, run_download))
    what = "find everything that is wrong with a data set, and how to mend it"
    add_check_options(command("check", what, report, run_check))
    what = "list the usable clips, and the others with the reason"
    add_clean_options(command("clean", what, cleaning, run_clean))
    what = "add class indices to a table of labels"
    add_conversion_options(command("convert-labels", what, label_conversion, run_conversion))
    return parser


def main() -> int:
    args = build_parser().parse_args()
    return args.run(args)


# ---- download ----


def add_download_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what to fetch").add_argument
    add("data_set", choices=sorted(owners.SOURCES), help="the data set")
    add("--actors", metavar="LIST", help="the actors to fetch, such as 1-4,7 (default: all; 1 is CREMA-D's 1001)")
    add("--modality", choices=owners.MODALITY_CHOICES, default="both", help="sound files, video files or both "
        "(default: both)")  # fmt: skip
    add("--song", action="store_true", help="RAVDESS: the sung recordings as well")
    group = parser.add_argument_group("where it goes, and how")
    add = group.add_argument
    add("--output", type=Path, default=DATASET_DIR, metavar="DIR", help="folder to write (default: %(default)s)")
    add("--keep_archives", action="store_true", help="RAVDESS: keep the zip files after unpacking")
    add("--dry_run", action="store_true", help="only say what would be fetched, and how much it is")
    add_progress_option(group)
    add = parser.add_argument_group(
        "mirrors", "https, or http on this machine; the checksums still decide"
    ).add_argument
    add("--zenodo_url", default=owners.ZENODO_URL, help="RAVDESS's record (default: %(default)s)")
    add("--github_url", default=owners.GITHUB_URL, help="CREMA-D's repository (default: %(default)s)")
    add("--lfs_url", action="append", help="CREMA-D's Git LFS servers, tried in the order given "
        f"(default: {' and then '.join(owners.LFS_URLS)})")  # fmt: skip
    parser.epilog = (
        "Exit codes: 0 all is there; 1 it could not be fetched; 2 wrong settings or archive; 130 stopped with Ctrl-C."
    )


def run_download(args: argparse.Namespace) -> int:
    n_actors, first = owners.SOURCES[args.data_set].n_actors, FIRST_ACTORS[args.data_set]
    request = download.DownloadRequest(
        args.data_set, read_actors(args.actors, n_actors, first=first), args.modality, args.song, args.output,
        args.keep_archives, args.dry_run, args.zenodo_url, args.github_url, args.lfs_url or owners.LFS_URLS,
    )  # fmt: skip
    download.fetch_dataset(request, reporter_for(args))
    return 0


def read_actors(text: str | None, n_actors: int, *, first: int = 1) -> list[int]:
    """Reads a list such as ``1-4,7``; None stands for all.

    Args:
        first: the data set's own number for the first actor, understood as well.

    Returns:
        Numbers from 1 to ``n_actors``, sorted, each once.
    """
    if text is None:
        return list(range(1, n_actors + 1))
    actors = set()
    for piece in text.split(","):
        ends = [end.strip() for end in piece.split("-")]
        if len(ends) > 2 or not all(end.isascii() and end.isdigit() for end in ends):
            raise ConfigError(f"--actors must be a list such as 1-4,7, got {text!r}.")
        low, high = (number - first + 1 if number >= first else number for number in (int(ends[0]), int(ends[-1])))
        if not 1 <= low <= high <= n_actors:
            raise ConfigError(f"--actors must lie between 1 and {n_actors}, the smaller number first, got {piece!r}.")
        actors.update(range(low, high + 1))
    return sorted(actors)


# ---- check ----


def add_check_options(parser: argparse.ArgumentParser) -> None:
    output = add_survey_options(parser)
    output.add_argument("--json", type=Path, metavar="FILE", help="also write the whole report, with every file")


def run_check(args: argparse.Namespace) -> int:
    request = read_survey_options(args)
    if args.json and (args.json.is_dir() or not args.json.resolve().parent.is_dir()):
        raise ConfigError(f"--json {args.json}: must name a file in a folder that exists.")
    n_findings = report.report_faults(request, args.json, reporter_for(args))
    return SOME_FILES_FAILED if n_findings else 0


# ---- clean ----


def add_clean_options(parser: argparse.ArgumentParser) -> None:
    add = add_survey_options(parser).add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="folder for the two tables")
    add("--keep_faceless", action="store_true", help="keep clips that show no face, if they have sound")


def run_clean(args: argparse.Namespace) -> int:
    """Returns 0, whatever was dropped."""
    request = read_survey_options(args)
    cleaning.write_usable_clips(request, args.output, keep_faceless=args.keep_faceless, reporter=reporter_for(args))
    return 0


# ---- convert-labels ----


def add_conversion_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("tables", nargs="+", type=Path, metavar="CSV", help="tables of labels, such as MELD's train_sent_emo.csv")
    add("--output", type=Path, metavar="DIR", help="folder for the copies, which keep their names (default: beside the "
        f"tables, as NAME{label_conversion.ENDING}.csv)")  # fmt: skip
    add("--model", type=Path, metavar="RUN_FOLDER", help="the model whose order of classes counts (default: "
        f"{', '.join(SEVEN_EMOTIONS)})")  # fmt: skip
    add("--column", metavar="NAME", help="the column with the emotions (default: Emotion, emotion or label)")


def run_conversion(args: argparse.Namespace) -> int:
    """Returns 0, however many words have no class."""
    class_names = load_config(args.model / "config.json").class_names if args.model else SEVEN_EMOTIONS
    label_conversion.convert_tables(args.tables, class_names, folder=args.output, column=args.column)
    return 0


# ---- What several of them share ----


def add_survey_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds the options that ``check`` and ``clean`` share; returns the group for what is written."""
    add = parser.add_argument_group("data set").add_argument
    add("root", type=Path, metavar="ROOT", help="the data set's folder, or a manifest (CSV)")
    add("--dataset", metavar="NAME", help="its layout (default: detected)")
    add("--dataset_option", nargs="+", default=[], metavar="NAME=VALUE", help="options of the data set, such as "
        "labels=perceived (dataset/README.md lists them)")  # fmt: skip
    add("--min_seconds", type=float, default=MIN_SECONDS, help="shorter clips are faulty (default: %(default)s)")
    add("--max_seconds", type=float, default=MAX_SECONDS, help="longer clips are faulty (default: %(default)s)")
    output = parser.add_argument_group("output")
    group = parser.add_argument_group("how it runs")
    group.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: one per core)")
    add_progress_option(group)
    return output


def read_survey_options(args: argparse.Namespace) -> SurveyRequest:
    choices = tuple(args.dataset_option)
    return SurveyRequest(args.root, args.dataset, args.min_seconds, args.max_seconds, args.jobs, choices)


if __name__ == "__main__":
    sys.exit(run_program(main))
