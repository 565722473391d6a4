"""Labels the clips of a batch on a Dask cluster: processes of this computer, or workers that a scheduler knows."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from emotion.errors import ConfigError, EmotionError, first_line
from emotion.inference.batch import ClipAnswer, Task
from emotion.inference.request import InferenceRequest
from emotion.inference.workers import begin_worker, describe_crash, label_task

if TYPE_CHECKING:
    from distributed import Client

LOCAL = re.compile(r"local:([1-9]\d*)")
N_WAITING = 2  # tasks for each worker: one in work, one on its way
N_TRIES = 2  # of a clip that ends its worker
PATIENCE_SECONDS = 30  # for the first worker, and for the scheduler
SETTINGS = {
    "logging": {"distributed": "critical", "distributed.client": "critical"},
    "distributed.scheduler.allowed-failures": N_TRIES - 1,
    # Clips of any length are labelled in little memory; Dask would pause or end workers by its own measure.
    **{f"distributed.worker.memory.{limit}": False for limit in ("target", "spill", "pause", "terminate")},
}


def label_on_cluster(request: InferenceRequest, tasks: Iterable[Task]) -> Iterator[tuple[Task, ClipAnswer | str]]:
    """Labels clips as they come on ``request.cluster``, and yields them as they are done.

    Workers may come and go. What one worked on is given to another; a clip that ends two workers is given up. Workers
    must see the clips, the model and the results under the paths that this program sees.

    Raises:
        ConfigError: if there is no such cluster.
        EmotionError: if its scheduler ends.
    """
    try:
        import dask

        dask.config.set(SETTINGS)  # before the next line, which reads what is logged
        from distributed import CancelledError, KilledWorker, as_completed
    except ImportError as error:
        raise ConfigError(f"--cluster needs Dask ({error}): pip install -r requirements-cluster.txt") from error

    with _connect(request) as client:
        working: dict = {}
        waiting, done = iter(tasks), as_completed(with_results=True, raise_errors=False)
        while True:
            n_wanted = N_WAITING * max(1, len(client.nthreads()))
            while len(working) < n_wanted and (task := next(waiting, None)) is not None:
                future = client.submit(label_task, task, pure=False)
                working[future] = task
                done.add(future)
            if not working:
                return
            future, answer = next(done)
            task = working.pop(future)
            error = answer[1] if isinstance(answer, tuple) else answer  # of a task that failed: with type and traceback
            if isinstance(error, BaseException):
                if isinstance(error, CancelledError) or client.status != "running":
                    raise EmotionError(
                        f"{request.cluster}: the scheduler ended. Start one, and run the same command with --resume."
                    )
                killed = isinstance(error, KilledWorker)
                answer = describe_crash(task.clip) if killed else f"{task.clip.label}: {first_line(error)}"
            yield task, answer


@contextlib.contextmanager
def _connect(request: InferenceRequest) -> Iterator["Client"]:
    from distributed import Client, LocalCluster, WorkerPlugin

    class Plugin(WorkerPlugin):  # loads the model once in each worker, also in those that come later
        name = "emotion"

        def setup(self, worker) -> None:
            begin_worker(request, worker.state.nthreads)

    with contextlib.ExitStack() as stack:
        address = request.cluster
        if local := LOCAL.fullmatch(request.cluster):
            address = stack.enter_context(
                LocalCluster(
                    n_workers=int(local.group(1)), threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
                )
            )
        try:
            client = stack.enter_context(Client(address, timeout=PATIENCE_SECONDS))
            client.wait_for_workers(1, timeout=PATIENCE_SECONDS)
            client.register_plugin(Plugin())
        except (OSError, TimeoutError, ValueError) as error:
            raise ConfigError(
                f"--cluster {request.cluster}: no scheduler with a worker answers there ({first_line(error)}). Start "
                "them with: dask scheduler, and dask worker ADDRESS"
            ) from error
        yield client
