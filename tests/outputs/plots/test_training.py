"""The plots of training and cross-validation show the numbers they were given."""

import numpy as np
import pytest
from plot_reports import ALL_SURE, draw, fold, legend_texts, lines_at, side_labels, spans

from emotion.outputs.plots.training import (
    build_confusion_matrix,
    build_fold_scores,
    build_training_curves,
    write_report_matrix,
)

HISTORY = {
    "loss": [2.0, 1.5, 1.2, 1.0],
    "val_loss": [2.1, 1.7, 1.6, 1.8],
    "accuracy": [0.2, 0.4, 0.5, 0.6],
    "val_accuracy": [0.2, 0.35, 0.4, 0.45],
    "learning_rate": [1e-3] * 4,
}


def curves_of(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}


def test_the_curves_are_the_history_and_the_axes_are_labelled():
    figure = build_training_curves(HISTORY)
    loss, accuracy = figure.axes
    assert curves_of(loss)["training"] == HISTORY["loss"]
    assert curves_of(loss)["validation"] == HISTORY["val_loss"]
    assert curves_of(accuracy)["training"] == HISTORY["accuracy"]
    assert curves_of(accuracy)["validation"] == HISTORY["val_accuracy"]
    assert [axes.get_xlabel() for axes in (loss, accuracy)] == ["epoch", "epoch"]
    assert [axes.get_ylabel() for axes in (loss, accuracy)] == ["loss", "accuracy"]
    assert list(loss.get_lines()[0].get_xdata()) == [1, 2, 3, 4]


def test_the_best_epoch_is_that_of_the_lowest_validation_loss_where_there_is_one():
    loss, accuracy = build_training_curves(HISTORY).axes
    assert curves_of(loss)["best epoch 3: 1.600"] == [1.6]
    assert curves_of(accuracy)["best epoch 3: 0.400"] == [0.4]
    (loss,) = build_training_curves({"loss": [2.0, 1.0]}).axes
    assert list(curves_of(loss)) == ["training"]
    figure = build_training_curves({"loss": [2.0, 1.0, 1.0], "val_loss": [np.nan, 1.5, np.nan]})
    assert "best epoch 2: 1.500" in curves_of(figure.axes[0])


def test_one_epoch_is_enough():
    assert build_training_curves({name: values[:1] for name, values in HISTORY.items()}).axes


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: build_training_curves({"learning_rate": [1e-3]}), "loss"),
        (lambda: build_confusion_matrix(np.zeros((3, 3), int), ("happy", "sad"), ""), r"\(2, 2\)"),
        (lambda: build_fold_scores([], ALL_SURE, ""), "fold_rows"),
    ],
)
def test_what_cannot_be_drawn_is_refused(build, word):
    with pytest.raises(ValueError, match=word):
        build()


# ---- Confusion matrix ----


def cell_texts(figure, n_classes):
    texts = [text.get_text() for text in figure.axes[0].texts]
    return np.array(texts).reshape(n_classes, n_classes, 2)


def test_cells_give_the_share_of_their_row_and_the_count():
    figure = build_confusion_matrix(np.array([[6, 2], [5, 5]]), ("happy", "sad"), "Title")
    texts = cell_texts(figure, 2)
    assert texts[0].tolist() == [["75 %", "6"], ["25 %", "2"]]
    assert texts[1].tolist() == [["50 %", "5"], ["50 %", "5"]]
    axes = figure.axes[0]
    assert figure.get_suptitle() == "Title"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["happy", "sad"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["happy (8)", "sad (10)"]
    empty = build_confusion_matrix(np.array([[0, 0], [1, 3]]), ("happy", "sad"), "")
    assert cell_texts(empty, 2)[0].tolist() == [["–", "0"], ["–", "0"]]


def test_recall_stands_beside_the_rows_and_precision_above_the_columns():
    figure = build_confusion_matrix(np.array([[6, 2, 0], [3, 5, 0], [0, 0, 0]]), ("a", "b", "c"), "")
    figure.canvas.draw()
    assert side_labels(figure.axes[0], "right") == ["75 %", "62 %", "–"]
    assert side_labels(figure.axes[0], "top") == ["67 %", "71 %", "–"]


def test_the_confusion_matrix_says_protocol_size_and_uar_with_its_interval(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    titles = []
    save = Figure.savefig

    def remember(figure, *arguments, **options):
        titles.append(figure.get_suptitle())
        return save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", remember)
    low, high = (f"{100 * end:.1f}" for end in ALL_SURE["intervals"]["uar"])
    write_report_matrix(ALL_SURE, tmp_path / "m.png")
    title = titles[0].replace("\n", " ")
    assert title.startswith("No speaker on two sides")
    assert f"40 clips, UAR 75.0 % (95 % interval {low} to {high} %, over speakers), accuracy 75.0 %" in title


# ---- Folds ----


def test_folds_stand_in_order_with_their_score_speakers_and_size():
    figure = build_fold_scores([fold(1, 0.5), fold(2, 0.7, ["a:1", "b:2"], 30), fold(3, None, [])], ALL_SURE, "Title")
    axes = draw(figure).axes[0]
    assert side_labels(axes) == ["50.0 %", "70.0 %", "–"]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["1: s: 1, 2 (60)", "2: a:1, b:2 (30)", "3: speakers not known (60)"]
    dots = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert np.allclose(dots, [50, 70])
    assert any("mean of the folds 60.0 %, standard deviation 14.1 points" in text for text in legend_texts(figure))


def test_the_pooled_score_is_a_line_with_its_interval_in_either_form():
    for pooled in ({"uar": 0.6, "interval": [0.5, 0.65]}, {"uar": 0.6, "intervals": {"uar": [0.5, 0.65]}}):
        figure = build_fold_scores([fold(1, 0.5)], pooled, "")
        assert len(lines_at(figure.axes[0], 60)) == 1
        assert np.allclose(spans(figure.axes[0]), [(50, 65)])
        assert "all clips pooled: UAR 60.0 % (95 % interval 50.0 to 65.0 %)" in legend_texts(figure)
    figure = build_fold_scores([fold(1, 0.5)], {"uar": 0.6}, "")
    assert "all clips pooled: UAR 60.0 %" in legend_texts(figure)


def test_many_speakers_are_named_as_far_as_there_is_room():
    axes = build_fold_scores([fold(1, 0.5, [f"ravdess:{i:02d}" for i in range(1, 25)])], ALL_SURE, "").axes[0]
    assert axes.get_yticklabels()[0].get_text() == "1: ravdess: 01, 02, 03 and 21 more (60)"


def test_very_many_folds_are_not_all_named_and_keep_the_picture_drawable(monkeypatch):
    monkeypatch.setattr("emotion.outputs.plots.training.MAX_HEIGHT_INCHES", 6.0)
    figure = build_fold_scores([fold(i, 0.5) for i in range(60)], ALL_SURE, "")
    assert figure.get_figheight() < 7
    assert list(figure.axes[0].get_yticks()) == list(range(0, 60, 3))
    assert len(side_labels(draw(figure).axes[0])) == 20
    assert sum(len(line.get_xdata()) == 1 for line in figure.axes[0].lines) == 60
