"""The scores of a recipe's model as a table for the console."""

from typing import Any

ROWS = {"photograph": "photographs of faces", "face": "moving faces", "voice": "voices", "both": "pairs"}


def format_table(metrics: dict[str, Any]) -> str:
    """Returns the scores that ``make_shipped`` wrote, one line each, with the protocol above them."""
    lines = [f"{metrics['protocol']}:", f"{'':22}{'UAR (95 % interval)':28}{'accuracy':>9}{'ECE':>8}{'n':>7}"]
    for mode, name in ROWS.items():
        scores = metrics[mode]
        lines.append(f"{name:22}{_uar(scores):28}{scores['accuracy']:9.1%}{scores['ece']:8.3f}{scores['n']:7}")
    better = max(metrics["face"]["uar"], metrics["voice"]["uar"])
    lines.append(f"pairs above the better branch: {100 * (metrics['both']['uar'] - better):+.1f} points of UAR")
    lines.append(f"unsure below a confidence of {metrics['unsure_below']:.2f}")
    if "folds" in metrics:
        lines.append(f"{metrics['folds']['protocol']}:")
        for n_classes, scores in metrics["folds"]["by_number_of_classes"].items():
            lines.append(f"{n_classes + ' classes':22}{_uar(scores):28}{scores['accuracy']:9.1%}{'':8}{scores['n']:7}")
    lines.append(
        f"model file {metrics['megabytes']:.1f} MB; one window {metrics['window_milliseconds']:.0f} ms on this machine"
    )
    return "\n".join(lines)


def _uar(scores: dict[str, Any]) -> str:
    low, high = scores["uar_interval"]
    return f"{scores['uar']:.1%} ({low:.1%} to {high:.1%})"
