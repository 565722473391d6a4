"""What holds for every plot: written whole or not at all, the same each time, and all of its text readable."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from made_predictions import HAPPY, SAD, TORN, make_prediction
from matplotlib.text import Text
from PIL import Image
from plot_reports import (
    ALL_SURE,
    NOTHING_KNOWN,
    ONE_CLIP,
    PAIR,
    PROTOCOL,
    draw,
    fold,
    make_report,
    random_report,
    row,
    shown_texts,
)

from emotion.errors import EmotionError
from emotion.outputs.plots.comparison import (
    build_protocol_comparison,
    build_recall_by_modality,
    write_protocol_comparison,
    write_recall_by_modality,
)
from emotion.outputs.plots.confidence import (
    build_coverage_accuracy,
    build_reliability_diagram,
    write_coverage_accuracy,
    write_reliability_diagram,
)
from emotion.outputs.plots.figures import wrap
from emotion.outputs.plots.timeline import build_timeline, write_timeline
from emotion.outputs.plots.training import (
    build_confusion_matrix,
    build_fold_scores,
    build_training_curves,
    write_confusion_matrix,
    write_fold_scores,
    write_report_matrix,
    write_training_curves,
)

HISTORY = {"loss": [2.0, 1.5, 1.0], "val_loss": [2.1, 1.6, 1.8], "accuracy": [0.2, 0.4, 0.6]}
FACES = make_prediction([([HAPPY, SAD], 0, 4)], path="$a$ 100% ünïcode.mp4")

WRITERS = {
    "timeline": lambda path: write_timeline(FACES, path),
    "curves": lambda path: write_training_curves(HISTORY, path),
    "matrix": lambda path: write_confusion_matrix(np.eye(2), ("happy", "sad"), path, "Title"),
    "report's matrix": lambda path: write_report_matrix(ALL_SURE, path),
    "folds": lambda path: write_fold_scores([fold(1, 0.5)], ALL_SURE, path, "Title"),
    "reliability": lambda path: write_reliability_diagram(ALL_SURE, path),
    "coverage": lambda path: write_coverage_accuracy(ALL_SURE, path, 0.6),
    "recall": lambda path: write_recall_by_modality({"both": ALL_SURE}, path, {"both": 0.6}),
    "protocols": lambda path: write_protocol_comparison(PAIR, path, "Title", 0.6, 0.125),
}


@pytest.fixture(params=WRITERS.values(), ids=WRITERS)
def write(request):
    return request.param


def test_the_same_input_gives_the_same_bytes_and_the_path_comes_back(tmp_path, write):
    first, second = write(tmp_path / "a.png"), write(tmp_path / "b.png")
    assert (first, second) == (tmp_path / "a.png", tmp_path / "b.png")
    assert first.read_bytes() == second.read_bytes()
    picture = Image.open(first)
    assert picture.format == "PNG"
    assert 800 <= picture.width <= 1600
    assert np.asarray(picture.convert("L")).std() > 10  # something is drawn


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path, write):
    for path in (tmp_path / "nowhere" / "plot.png", tmp_path / "plot.jpx"):
        with pytest.raises(EmotionError, match=path.name):
            write(path)
    assert not list(tmp_path.iterdir())


def test_the_ending_chooses_the_format_and_an_unknown_one_is_answered_with_the_choices(tmp_path):
    write = WRITERS["curves"]
    starts = {ending: write(tmp_path / f"plot.{ending}").read_bytes()[:8] for ending in ("png", "svg", "pdf")}
    assert (starts["png"][1:4], starts["svg"][:5], starts["pdf"][:4]) == (b"PNG", b"<?xml", b"%PDF")
    with pytest.raises(EmotionError, match=r"plot\.mp4.*png, svg, pdf"):
        write(tmp_path / "plot.mp4")


LONG_TITLE = "A protocol that takes many words to say what was tested on whom, and why it was done in that way. " * 3
LONG_NAMES = ("an emotion with a name that goes on", "$a$ and $b$", "contempt and boredom", "sad")
NO_PROTOCOL = make_report([0, 1, 3], [3, 3, 3], [1, 1, 1], LONG_NAMES)
del NO_PROTOCOL["protocol"]
THREE_REPORTS = {name: random_report(900, seed=seed) for seed, name in enumerate(("both", "audio", "video"))}
TWO_REPORTS = {"both": make_report([0, 1, 3], [0, 1, 3], [1, 1, 1], LONG_NAMES), "video": NO_PROTOCOL}
ENDS = [
    *(row(LONG_NAMES[0], "random", 1.0, 1.0, 1.0, 5), row(LONG_NAMES[0], "speakers apart", 0.0, 0.0, 0.4, 9)),
    *(row("same", "random", 0.97, 0.9, 1.0), row("same", "speakers apart", 0.97, 0.9, 1.0), *PAIR),
]
MANY_FOLDS = [fold(i, i / 40, [f"cremad:{i}{j}" for j in range(30)], 10**6) for i in range(40)]
FIGURES = {
    "timeline": partial(build_timeline, make_prediction([([HAPPY, TORN], 0, 4), ([], 0, 9)], [SAD], path=LONG_TITLE)),
    "timeline of nothing": partial(build_timeline, make_prediction()),
    "matrix of 2": partial(build_confusion_matrix, np.eye(2) * 99999, ("happy", "sad"), LONG_TITLE),
    "matrix of 8": partial(build_confusion_matrix, np.eye(8) * 99999, (*LONG_NAMES, *"abcd"), LONG_TITLE),
    "reliability of many": lambda: build_reliability_diagram(random_report(30000)),
    "reliability of few": lambda: build_reliability_diagram(random_report(20)),
    "reliability of one": partial(build_reliability_diagram, ONE_CLIP),
    "reliability of none": partial(build_reliability_diagram, NOTHING_KNOWN),
    "coverage of many": lambda: build_coverage_accuracy(random_report(600, n_unanswered=60), 0.6),
    "coverage of one": partial(build_coverage_accuracy, ONE_CLIP, 1.0),
    "coverage of none": partial(build_coverage_accuracy, {**NOTHING_KNOWN, "protocol": LONG_TITLE}),
    "recall of 8": partial(build_recall_by_modality, THREE_REPORTS, dict.fromkeys(THREE_REPORTS, 0.6)),
    "recall of long names": partial(build_recall_by_modality, TWO_REPORTS, {"both": 1.0}),
    "recall of none": partial(build_recall_by_modality, {"audio": NOTHING_KNOWN}),
    "protocols at the ends": partial(build_protocol_comparison, ENDS, LONG_TITLE, 0.126, 0.125),
    "one protocol": partial(build_protocol_comparison, PAIR[:1], LONG_TITLE),
    "one fold": partial(build_fold_scores, [fold(1, 1.0, ["s"])], ONE_CLIP, LONG_TITLE),
    "many folds": partial(build_fold_scores, MANY_FOLDS, ALL_SURE, "Title"),
    "curves": partial(build_training_curves, {**HISTORY, "val_accuracy": [0.2, float("nan"), 0.3]}),
}


@pytest.fixture(scope="module", params=FIGURES, ids=FIGURES)
def figure(request):
    return FIGURES[request.param]()


def test_texts_are_large_enough_and_neither_overlap_nor_leave_the_picture(figure):
    texts = shown_texts(figure)
    for text, box in texts:
        assert text.get_fontsize() >= (7 if text.get_text().startswith("below") else 9), text
        assert box.x0 >= -1 and box.y0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1, text
    flat = [(text, box) for text, box in texts if text.get_rotation() in (0, 90)]
    assert [(a, b) for i, (a, first) in enumerate(flat) for b, second in flat[:i] if first.overlaps(second)] == []


def test_what_is_not_a_number_is_never_written_or_drawn(figure):
    said = " ".join(text.get_text() for text in figure.findobj(Text)).lower().split()
    assert not {"nan", "none", "inf"} & {word.strip("(),:%") for word in said}
    for axes in figure.axes:
        drawn = [np.ma.getdata(part.get_offsets()) for part in axes.collections]
        drawn += [np.transpose(line.get_data()) for line in axes.lines if len(line.get_xdata()) < 3]  # curves have gaps
        assert all(np.isfinite(np.asarray(points, float)).all() for points in drawn)


@pytest.mark.parametrize(
    "build", [build_reliability_diagram, build_coverage_accuracy, lambda r: build_recall_by_modality({"both": r})]
)
def test_the_title_says_the_protocol(build):
    assert PROTOCOL[1:] in build(ALL_SURE).get_suptitle().replace("\n", " ")


def test_dollar_signs_in_a_name_do_not_make_a_formula():
    report = make_report([0, 1], [0, 1], [1, 1], ("$a$", "b"))
    label = draw(build_recall_by_modality({"both": report})).axes[0].get_yticklabels()[0]
    assert label._preprocess_math(label.get_text()) == ("$a$ (1)", False)


def test_importing_the_plots_imports_no_matplotlib_and_drawing_no_pyplot(tmp_path):
    code = (
        "import sys\n"
        "from emotion.outputs.plots import comparison, confidence, timeline, training\n"
        "assert not {'matplotlib', 'scipy'} & set(sys.modules)\n"
        f"training.write_fold_scores([{fold(1, 0.5)}], {{'uar': 0.5}}, {str(tmp_path / 'folds.png')!r}, 'Title')\n"
        f"training.write_training_curves({{'loss': [2.0, 1.0]}}, {str(tmp_path / 'curves.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_in_letters_that_the_font_lacks_give_no_warning(recwarn):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    FigureCanvasAgg(figure)
    assert wrap(figure, "\u526a\u8f91\u7247\u6bb5.wav happy", 11, 400) == "\u526a\u8f91\u7247\u6bb5.wav happy"
    assert not recwarn.list
