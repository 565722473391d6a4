"""``python -m emotion.fuse``: joins a model of voices and a model of faces, trained apart, into one."""

import argparse
import sys
from pathlib import Path

from emotion.config import CROSS_VALIDATED, DEFAULT_ARCHITECTURE, MODALITIES
from emotion.console import SOME_FILES_FAILED, quiet_import, run_program
from emotion.errors import ConfigError
from emotion.models.export_onnx import write_onnx
from emotion.models.names import resolve_model
from emotion.models.run_folder import check_new_folder, check_run, load_run
from emotion.training.options import (
    add_data_options,
    add_fusion_options,
    build_config,
    check_data_options,
    reporter_for,
)

PROGRAM = "python -m emotion.fuse"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Joins a model of voices and a model of faces, trained apart by train_model.py --modality audio "
        "and --modality video. The weights are found on clips with both that neither model learned from: those of "
        "their validation sides. The clips of their test sides, if any, score the result.",
        epilog="Exit codes: 0 done; 2 wrong settings, models that do not go together, or no data.",
    )
    add = parser.add_argument
    add("--audio", required=True, metavar="RUN", help="model folder of the voices' expert")
    add("--video", required=True, metavar="RUN", help="model folder of the faces' expert")
    add("--out", "--output", dest="output", type=Path, required=True, metavar="RUN", help="folder to write")
    add_fusion_options(parser)
    add_data_options(parser)
    return parser


def main() -> int:
    args = build_parser().parse_args()
    check_data_options(args)
    check_new_folder(args.output)
    args.audio, args.video = resolve_model(args.audio), resolve_model(args.video)
    for path in (args.audio, args.video):
        check_run(path)
    from emotion.datasets.loading import load_clips
    from emotion.training.late_fusion import fuse_runs

    clips, _ = load_clips(args.dataset, args.root, args.manifest, reporter=reporter_for(args))
    with quiet_import():
        audio, video = load_run(args.audio), load_run(args.video)
    metrics = fuse_runs(
        audio, video, clips, args.output, method=args.method, by_class=args.by_class, cache_dir=args.cache_dir,
        reporter=reporter_for(args),
    )  # fmt: skip
    write_onnx(args.output, reporter_for(args))
    return SOME_FILES_FAILED if metrics["n_skipped"] else 0


def train_late_fusion(args: argparse.Namespace, output: Path) -> int:
    """Trains two experts apart and joins them, as ``train_model.py --fusion late``; returns the exit code."""
    from emotion.datasets.loading import load_clips
    from emotion.training.workflows import train_experts

    configs = {}
    for modality in MODALITIES:
        named = getattr(args, f"{modality}_model") or args.model
        weights = args.pretrained and _weights_for(named, modality, args.pretrained)
        chosen = argparse.Namespace(**{**vars(args), "model": named, "modality": modality, "pretrained": weights})
        configs[modality] = build_config(chosen, protocol=args.protocol)
        if configs[modality].training.protocol in CROSS_VALIDATED:
            raise ConfigError(
                "--fusion late trains one pair of experts: choose --protocol speaker, random or official."
            )
    taken = {name for config in configs.values() for name in config.training.pretrained}
    if set(args.pretrained or ()) - taken:
        raise ConfigError(f"Neither expert takes the weights {', '.join(sorted(set(args.pretrained) - taken))}.")
    clips, source = load_clips(args.dataset, args.root, args.manifest, reporter=reporter_for(args))
    reporter_for(args).say(
        f"Run folder: {output}. If it is stopped, give the same command with --output {output} to go on."
    )
    n_failed = train_experts(
        clips, source, configs, output, method=args.method, by_class=args.by_class, cache_dir=args.cache_dir,
        reporter=reporter_for(args),
    )  # fmt: skip
    write_onnx(output, reporter_for(args))
    return SOME_FILES_FAILED if n_failed else 0


def _weights_for(model: str | None, modality: str, weights: list[str]) -> list[str]:
    """Returns the weights that a design can begin with for one modality."""
    from emotion.models.pretrained import known_weights

    known = known_weights(model or DEFAULT_ARCHITECTURE)
    return [name for name in weights if known.get(name, "").startswith(f"{modality}_")]


if __name__ == "__main__":
    sys.exit(run_program(main))
