"""The devices that train one network together: those of this computer, or those of several processes.

All take a step at once, each on its own part of the same batch, and then hold the same weights. Process 0 leads: it
alone decodes, writes and judges.

This module loads no deep-learning package until devices are joined.
"""

import atexit
import contextlib
import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from emotion.console import quiet_import
from emotion.errors import ConfigError, RunError, first_line

MIRRORED, DATA_PARALLEL = STRATEGIES = ("mirrored", "data_parallel")
BACKENDS = {MIRRORED: "tensorflow", DATA_PARALLEL: "jax"}
JOIN_SECONDS = 300
LONGEST_WAIT_MS = 7 * 24 * 3600 * 1000  # for process 0 to decode all clips
LOST = "start all processes again with --resume"


@dataclass(frozen=True)
class Place:
    """Which of the processes this one is; None for what the cluster's scheduler tells.

    Attributes:
        coordinator: ``host:port`` at which process 0 waits for the others.
        process_id: from 0.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None

    def __post_init__(self):
        given = [value is not None for value in vars(self).values()]
        if any(given) and not all(given):
            raise ConfigError("--coordinator, --num_processes and --process_id go together: give all three, or none.")
        if not any(given):
            return
        if not 0 <= self.process_id < self.num_processes:
            raise ConfigError(
                f"--process_id must lie in 0 to {self.num_processes - 1} (--num_processes - 1), got {self.process_id}."
            )
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise ConfigError(f"--coordinator must be HOST:PORT of process 0, got {self.coordinator}.")


class Devices:
    """One device, which trains alone; and what those that train together do otherwise."""

    n_devices = n_processes = 1
    rank = 0
    # Keras looks at a batch before it trains by MirroredStrategy. Several readers would hand out that one's followers
    # first, and the first ones again at the end.
    one_reader = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @property
    def leads(self) -> bool:
        """Whether this process writes, judges and talks."""
        return self.rank == 0

    def check_batch(self, batch_size: int) -> None:
        """Makes sure that all devices get equal parts of a batch.

        Raises:
            ConfigError: if not.
        """
        if batch_size % self.n_devices:
            raise ConfigError(
                f"A batch of {batch_size} clips cannot be shared equally among {self.n_devices} devices. Choose a "
                "--batch_size that is a multiple of that number, or another number of devices."
            )

    def scope(self) -> contextlib.AbstractContextManager:
        """In the block, networks are built and trained on all devices."""
        return contextlib.nullcontext()

    def alone(self) -> contextlib.AbstractContextManager:
        """In a block within ``scope``, this process works without the others, as when it saves a network."""
        return contextlib.nullcontext()

    def leader_first(self) -> contextlib.AbstractContextManager:
        """The other processes enter the block when process 0 has left it.

        Raises:
            RunError: if process 0 left it with an error.
        """
        return contextlib.nullcontext()

    def check_same(self, what: str) -> None:
        """Makes sure that all processes have been given the same.

        Raises:
            RunError: if not.
        """

    def agree(self, values: np.ndarray) -> np.ndarray:
        """Returns process 0's numbers: a last bit that differs must not let one process stop and another go on."""
        return values

    def adapt(self, model, optimizer):
        """Prepares a network for training on all devices; returns its optimizer, prepared, too."""
        return optimizer

    def spread(self, inputs):
        """Returns a batch, of which each process holds its part, as one that all devices compute with."""
        return inputs

    def part(self) -> None:
        """Ends the common work, when all processes have come to this point. Each may go on by itself."""


ONE_DEVICE = Devices()


def join_devices(strategy: str | None, place: Place) -> Devices:
    """Returns the devices to train on.

    Several processes must all call it within ``JOIN_SECONDS``; else it ends the program with a line that says so.

    Raises:
        ConfigError: if Keras runs on another backend, or there is one device only.
    """
    if strategy is None:
        return ONE_DEVICE
    with quiet_import():
        import keras
    backend, wanted = keras.backend.backend(), BACKENDS[strategy]
    if backend != wanted:
        raise ConfigError(f"--strategy {strategy} needs KERAS_BACKEND={wanted}, but Keras runs on {backend}.")
    devices = _Mirrored() if strategy == MIRRORED else _DataParallel(place)
    if devices.n_devices == 1:
        raise ConfigError(
            f"--strategy {strategy} is for several devices, but there is only one. Leave it out"
            f"{', or start several processes.' if strategy == DATA_PARALLEL else '.'}"
        )
    return devices


# ---- One computer, TensorFlow ----


class _Mirrored(Devices):
    one_reader = True

    def __init__(self):
        import tensorflow as tf

        found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        self.n_devices = len(found)
        self._strategy = tf.distribute.MirroredStrategy([device.name for device in found])

    def scope(self):
        return self._strategy.scope()

    def adapt(self, model, optimizer):
        from emotion.models.layers import norms_of

        for norm in norms_of(model):
            norm.synchronized = True  # statistics of the whole batch, not of the device's part
        kind = type(f"Joint{type(optimizer).__name__}", (_JointlyClipped, type(optimizer)), {})
        return kind.from_config(optimizer.get_config())


class _JointlyClipped:
    """Limits the norm of the whole batch's gradient. Keras limits that of each device's part, before it adds them."""

    def _clip_gradients(self, gradients):
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        whole = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        # Keras adds up what the devices return.
        return [each / replica.num_replicas_in_sync for each in super()._clip_gradients(whole)]


# ---- Several processes, JAX ----


class _DataParallel(Devices):
    def __init__(self, place: Place):
        import jax
        import keras

        _join(place)
        self.n_devices, self.n_processes, self.rank = jax.device_count(), jax.process_count(), jax.process_index()
        if self.n_devices != self.n_processes * jax.local_device_count():
            raise ConfigError(
                f"{self.n_processes} processes see {self.n_devices} devices, this one {jax.local_device_count()}. Give "
                "all of them the same number."
            )
        self._distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
        self._n_turns = 0

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        with self._named_losses(), self._distribution.scope():
            yield

    @contextlib.contextmanager
    def _named_losses(self) -> Iterator[None]:
        import jax

        try:
            yield
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            # JAX raises both for the same.
            if self.n_processes == 1 or not (isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)):
                raise
            raise RunError(f"A process or a device was lost ({first_line(error)}); {LOST}.") from error

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        import keras

        # Else every array that Keras makes would be compared with those of the other processes.
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(self._distribution)

    @contextlib.contextmanager
    def leader_first(self) -> Iterator[None]:
        if self.n_processes == 1:
            yield
            return
        import jax
        from jax._src.distributed import global_state  # JAX's public barriers end after some minutes

        self._n_turns += 1
        key, outcome = f"emotion/turn/{self._n_turns}", "failed"
        if not self.leads:
            try:
                outcome = global_state.client.blocking_key_value_get(key, LONGEST_WAIT_MS)
            except jax.errors.JaxRuntimeError as error:
                raise RunError(f"Process 0 was lost ({first_line(error)}); {LOST}.") from error
            if outcome == "failed":
                raise RunError("Process 0 stopped with an error; see what it wrote.")
        try:
            yield
            outcome = "done"
        finally:
            if self.leads:
                global_state.client.key_value_set(key, outcome)

    def check_same(self, what: str) -> None:
        from jax.experimental import multihost_utils

        own = np.frombuffer(hashlib.sha256(what.encode()).digest(), np.uint8)
        with self._named_losses():
            others = multihost_utils.process_allgather(own).reshape(-1, len(own))
        if differing := [str(rank) for rank, other in enumerate(others) if (other != others[0]).any()]:
            raise RunError(
                f"Process {', '.join(differing)} found other clips or settings than process 0. Give all processes the "
                "same command and the same data."
            )

    def agree(self, values: np.ndarray) -> np.ndarray:
        from jax.experimental import multihost_utils

        return multihost_utils.broadcast_one_to_all(values)

    def spread(self, inputs):
        import jax
        import keras

        def spread_one(array: np.ndarray):
            layout = self._distribution.get_data_layout(array.shape).backend_layout
            return jax.make_array_from_process_local_data(layout, array)

        return keras.tree.map_structure(spread_one, inputs)

    def part(self) -> None:
        import jax

        if self.n_processes > 1:
            jax.distributed.shutdown()


def _join(place: Place) -> None:
    """Joins the processes that ``place`` or the scheduler names. Without any, this one stays alone."""
    import jax

    # JAX would take SIGTERM for its own, and this process would not end by it.
    jax.config.update("jax_enable_preemption_service", False)
    where = f"at {place.coordinator}" if place.coordinator else "by the scheduler's list"

    def give_up() -> None:
        # JAX itself would abort with a page of addresses in memory.
        print(
            f"error: the processes did not all meet {where} within {JOIN_SECONDS} s. Check that all were started, each "
            "with its own --process_id, and that they reach process 0.",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        os._exit(ConfigError.exit_code)

    watch = threading.Timer(JOIN_SECONDS, give_up)
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(
            place.coordinator, place.num_processes, place.process_id, initialization_timeout=JOIN_SECONDS + 60
        )
    except ValueError:  # no scheduler that JAX knows
        return
    except RuntimeError as error:
        raise ConfigError(f"The processes cannot meet {where} ({first_line(error)}).") from error
    finally:
        watch.cancel()
    atexit.register(leave, 1)


def leave(code: Any) -> Any:
    """Ends this process at once if others wait for it; else returns ``code``.

    At its end JAX would wait for processes that in turn wait for this one.
    """
    jax = sys.modules.get("jax")
    if jax is None or not jax.distributed.is_initialized():
        return code
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.process_index() == 0:
        time.sleep(1)  # so that the others can read why
    os._exit(code if isinstance(code, int) else 1)
