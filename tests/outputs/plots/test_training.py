"""The plots show the numbers they were given, and touch no state outside themselves."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from emotion.errors import EmotionError
from emotion.labels import EIGHT_EMOTIONS
from emotion.outputs.plots.training import write_confusion_matrix, write_training_curves

HISTORY = {
    "loss": [2.0, 1.5, 1.2, 1.0],
    "val_loss": [2.1, 1.7, 1.6, 1.8],
    "accuracy": [0.2, 0.4, 0.5, 0.6],
    "val_accuracy": [0.2, 0.35, 0.4, 0.45],
    "learning_rate": [1e-3] * 4,
}


@pytest.fixture
def saved(monkeypatch):
    """The figures saved during a test, in order."""
    figures = []
    save = Figure.savefig

    def remember(figure, *args, **kwargs):
        figures.append(figure)
        return save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", remember)
    return figures


def curves_of(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}


def test_the_curves_are_the_history_and_the_axes_are_labelled(tmp_path, saved):
    write_training_curves(HISTORY, tmp_path / "curves.png")
    loss, accuracy = saved[0].axes
    assert curves_of(loss)["training"] == HISTORY["loss"]
    assert curves_of(loss)["validation"] == HISTORY["val_loss"]
    assert curves_of(accuracy)["training"] == HISTORY["accuracy"]
    assert curves_of(accuracy)["validation"] == HISTORY["val_accuracy"]
    assert [axes.get_xlabel() for axes in (loss, accuracy)] == ["epoch", "epoch"]
    assert [axes.get_ylabel() for axes in (loss, accuracy)] == ["loss", "accuracy"]


def test_epochs_are_counted_from_one(tmp_path, saved):
    write_training_curves(HISTORY, tmp_path / "curves.png")
    assert list(saved[0].axes[0].get_lines()[0].get_xdata()) == [1, 2, 3, 4]


def test_the_best_epoch_is_that_of_the_lowest_validation_loss(tmp_path, saved):
    write_training_curves(HISTORY, tmp_path / "curves.png")
    loss, accuracy = saved[0].axes
    assert curves_of(loss)["best epoch 3: 1.600"] == [1.6]
    assert curves_of(accuracy)["best epoch 3: 0.400"] == [0.4]


def test_a_history_without_validation_has_no_best_epoch(tmp_path, saved):
    write_training_curves({"loss": [2.0, 1.0]}, tmp_path / "curves.png")
    (loss,) = saved[0].axes
    assert list(curves_of(loss)) == ["training"]


def test_a_loss_that_is_not_a_number_is_never_the_best(tmp_path, saved):
    write_training_curves({"loss": [2.0, 1.0, 1.0], "val_loss": [np.nan, 1.5, np.nan]}, tmp_path / "curves.png")
    assert "best epoch 2: 1.500" in curves_of(saved[0].axes[0])


def test_one_epoch_is_enough_and_none_is_refused(tmp_path):
    write_training_curves({name: values[:1] for name, values in HISTORY.items()}, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size[0] > 600
    with pytest.raises(ValueError, match="loss"):
        write_training_curves({"learning_rate": [1e-3]}, tmp_path / "none.png")


def cell_texts(figure, n_classes):
    texts = [text.get_text() for text in figure.axes[0].texts]
    return np.array(texts).reshape(n_classes, n_classes, 2)


def test_cells_give_the_share_of_their_row_and_the_count(tmp_path, saved):
    write_confusion_matrix(np.array([[6, 2], [5, 5]]), ("happy", "sad"), tmp_path / "m.png", "Title")
    texts = cell_texts(saved[0], 2)
    assert texts[0].tolist() == [["75 %", "6"], ["25 %", "2"]]
    assert texts[1].tolist() == [["50 %", "5"], ["50 %", "5"]]
    axes = saved[0].axes[0]
    assert saved[0].get_suptitle() == "Title"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["happy", "sad"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["happy (8)", "sad (10)"]


def side_labels(axes, place):
    """The texts beside or above the cells, which a secondary axis holds."""
    axis = {"right": "yaxis", "top": "xaxis"}[place]
    (labels,) = [
        [tick.label2.get_text() for tick in getattr(part, axis).get_major_ticks()]
        for part in axes.child_axes
        if getattr(part, axis).get_label_position() == place
    ]
    return labels


def test_recall_stands_beside_the_rows_and_precision_above_the_columns(tmp_path, saved):
    write_confusion_matrix(np.array([[6, 2, 0], [3, 5, 0], [0, 0, 0]]), ("a", "b", "c"), tmp_path / "m.png", "")
    saved[0].canvas.draw()
    assert side_labels(saved[0].axes[0], "right") == ["75 %", "62 %", "–"]
    assert side_labels(saved[0].axes[0], "top") == ["67 %", "71 %", "–"]


def test_a_row_without_clips_has_no_share(tmp_path, saved):
    write_confusion_matrix(np.array([[0, 0], [1, 3]]), ("happy", "sad"), tmp_path / "m.png", "")
    assert cell_texts(saved[0], 2)[0].tolist() == [["–", "0"], ["–", "0"]]


def test_the_texts_of_eight_classes_do_not_overlap_and_none_is_cut_off(tmp_path, saved):
    matrix = np.full((8, 8), 1234) + np.diag([5000] * 8)
    write_confusion_matrix(matrix, EIGHT_EMOTIONS, tmp_path / "m.png", "Eight emotions, split by speaker " * 5)
    figure = saved[0]
    renderer = figure.canvas.get_renderer()
    axes = figure.axes[0]
    cells = [text.get_window_extent(renderer) for text in axes.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(cells) for b in cells[:i])
    title = figure._suptitle
    assert not any(title.get_window_extent(renderer).overlaps(part.get_tightbbox(renderer)) for part in axes.child_axes)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels(), title, axes.xaxis.label, axes.yaxis.label):
        box = label.get_window_extent(renderer)
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def test_a_matrix_of_another_size_than_the_names_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        write_confusion_matrix(np.zeros((3, 3), int), ("happy", "sad"), tmp_path / "m.png", "")


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(EmotionError, match="nowhere"):
        write_training_curves(HISTORY, tmp_path / "nowhere" / "curves.png")


def test_the_ending_chooses_the_format_and_an_unknown_one_is_named(tmp_path):
    assert write_training_curves(HISTORY, tmp_path / "curves.svg") == tmp_path / "curves.svg"
    assert (tmp_path / "curves.svg").read_text(encoding="utf-8").startswith("<?xml")
    with pytest.raises(EmotionError, match=r"curves\.jpx: .*png, svg, pdf"):
        write_training_curves(HISTORY, tmp_path / "curves.jpx")


def test_importing_the_plots_imports_no_matplotlib_and_drawing_no_pyplot(tmp_path):
    code = (
        "import sys\n"
        "from emotion.outputs.plots import training as training_plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"training_plots.write_training_curves({{'loss': [2.0, 1.0]}}, {str(tmp_path / 'curves.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
