"""PyTorch's files are read without PyTorch, and nothing but tensors is unpickled."""

import pickle

import numpy as np
import pytest
from checkpoints import make_checkpoint, tensor_of

from emotion.torch_files import UNREADABLE, is_checkpoint, read_checkpoint, read_network

layouts = pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])


@pytest.fixture
def values() -> dict:
    rng = np.random.default_rng(0)
    network = {
        "module.conv.weight": rng.normal(size=(2, 3, 1, 1)).astype(np.float32),
        "module.dense.weight": np.asfortranarray(rng.normal(size=(4, 3))),
        "module.bn.running_var": np.ones(3, np.float16),
        "module.bn.num_batches_tracked": np.array(7, np.int64),
    }
    return {"epoch": 3, "best_acc": np.array(60.5, np.float32), "state_dict": network}


@layouts
def test_tensors_come_out_as_they_went_in(values, old):
    content = make_checkpoint(values, old=old)
    assert is_checkpoint(content)
    found = read_checkpoint(content)
    assert found["epoch"] == 3 and found["best_acc"] == np.float32(60.5)
    for name, array in values["state_dict"].items():
        assert found["state_dict"][name].dtype == array.dtype
        np.testing.assert_array_equal(found["state_dict"][name], array)


@layouts
def test_a_network_is_found_inside_a_checkpoint_or_alone(values, old):
    network = values["state_dict"]
    for content in (values, network, {"model_state_dict": network}):
        arrays = read_network(make_checkpoint(content, old=old))
        assert set(arrays) == {"conv.weight", "dense.weight", "bn.running_var"}
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
        np.testing.assert_allclose(arrays["dense.weight"], network["module.dense.weight"], rtol=1e-6)


@layouts
def test_a_pickle_that_asks_for_more_than_tensors_is_refused(old):
    content = make_checkpoint({"state_dict": print}, old=old)
    with pytest.raises(pickle.UnpicklingError, match="print"):
        read_checkpoint(content)
    with pytest.raises(ValueError, match="print"):
        read_network(content)


@layouts
@pytest.mark.parametrize(
    ("shape", "strides"),
    [((3, 3), (3, 1)), ((2, 2), (100, 1)), ((4, 1), (-1, 1)), ((1 << 40,), (1,)), ((2, -2), (1, 1))],
)
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(shape, strides, old):
    tensor = tensor_of(np.zeros(8, np.float16), shape, strides)
    with pytest.raises(ValueError, match=" 8 "):
        read_checkpoint(make_checkpoint({"model_state_dict": tensor}, old=old))


@layouts
def test_a_damaged_file_never_gives_tensors(values, old):
    content = make_checkpoint(values, old=old)
    for length in range(4, len(content) - 1, 97):
        with pytest.raises(UNREADABLE):
            read_checkpoint(content[:length])
    for other in ({"epoch": 3}, {}, 7):
        with pytest.raises(ValueError, match="no tensors"):
            read_network(make_checkpoint(other, old=old))


def test_a_file_that_would_grow_is_refused():
    with pytest.raises(ValueError, match="compressed"):
        read_checkpoint(make_checkpoint({"zeros": np.zeros(100_000, np.float32)}, compressed=True))
