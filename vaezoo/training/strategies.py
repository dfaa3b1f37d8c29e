"""The devices of a training: one, all of this machine, or those of several machines.

TensorFlow's `MirroredStrategy` and `MultiWorkerMirroredStrategy` keep a copy of the weights on every device, and each
device takes its rows of every batch (see `vaezoo.replicas`). Each machine reads the full batches and keeps its rows, so
the batches are those of a training on one device, whatever the data source.
"""

import contextlib
import hashlib
import json
import os
import re
import signal
import threading
import traceback
from typing import Any

import tensorflow as tf

from vaezoo.errors import VaezooError, unknown
from vaezoo.hardware import let_memory_grow
from vaezoo.reading import parse_json

STRATEGIES = ("one", "mirrored", "multi_worker")
JOBS = ("chief", "worker")  # in the order in which TensorFlow numbers them
EXAMPLE = """'{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'"""


class Devices:
    """The devices of a training. Make this before TensorFlow is used: a cluster must be joined first.

    Args:
        name: "one"; "mirrored" for all GPUs of this machine, or all its logical CPUs if there is no GPU; or
            "multi_worker" for those of all machines in TF_CONFIG.
        say: takes a line before this waits for the other machines.

    Attributes:
        strategy: the `tf.distribute.Strategy`.
        worker, workers: the number of this machine, from 0, and the number of machines.
        count: the number of devices of all machines.

    Raises:
        VaezooError: for an unknown name, or a TF_CONFIG that is missing or invalid.
    """

    def __init__(self, name="one", say=print):
        if name not in STRATEGIES:
            raise unknown("strategy", name, STRATEGIES)
        self.name, self.worker, self.workers = name, 0, 1
        if name == "multi_worker":
            self.worker, self.workers = read_cluster(os.environ.get("TF_CONFIG"))
            say(f"worker {self.worker} of {self.workers}: waiting for all of them")
        let_memory_grow()
        self.strategy = _strategy(name)
        self.count = self.strategy.num_replicas_in_sync
        self._sum = tf.function(lambda number: self.strategy.reduce("SUM", number, axis=None), autograph=False)

    @property
    def chief(self):
        """Whether this machine writes the run directory and prints."""
        return self.worker == 0

    def __str__(self):
        devices = f"{self.count} device{'s' * (self.count > 1)}"
        return {
            "one": "one device",
            "mirrored": f"{devices}, mirrored",
            "multi_worker": f"{self.workers} workers with {devices}, mirrored",
        }[self.name]

    def share(self, batches):
        """A dataset of batches [R*B,...] → a dataset for `fit` that gives each of the R devices its B rows."""
        first = self.worker * self._own

        def parts(rows):
            return tf.reshape(rows, [self.count, -1, *rows.shape[1:]])[first : first + self._own]

        return self._distribute(batches, parts)

    def repeat(self, batches):
        """A dataset of batches of any size → a dataset for `evaluate` that gives each device every full batch.

        The noise of an evaluation is a function of the number of examples seen before, and the last batch may have any
        size. So every device evaluates all batches, and the means are those of one device.
        """

        def copies(rows):
            return tf.repeat(rows[tf.newaxis], self._own, axis=0)

        return self._distribute(batches, copies)

    def any(self, flag):
        """Whether the flag is true on any machine; all machines must call this at the same time."""
        return flag if self.workers == 1 else self._total(int(flag)) > 0

    def require_equal(self, values):
        """Compare values of all machines, which must call this at the same time with the same names.

        Args:
            values: name → anything that JSON can hold.

        Raises:
            VaezooError: on every machine, if a value differs; it says which.
        """
        if self.workers == 1:
            return
        own = [_fingerprint(value) for value in values.values()]
        found = self._total([own if worker == self.worker else [0] * len(own) for worker in range(self.workers)])
        different = [name for name, column in zip(values, found.T, strict=True) if len(set(column)) > 1]
        if different:
            raise VaezooError(
                f"the machines must train alike, and they differ in {', '.join(different)}; start all of them with the "
                "same recipe, data, options and versions"
            )

    @contextlib.contextmanager
    def errors_of_others(self):
        """Raise TensorFlow's errors about a lost worker as a VaezooError."""
        gone = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
        gone += (tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError)
        try:
            yield
        except gone as error:
            if self.workers == 1:
                raise
            # The frames hold a thread pool of TensorFlow, which would print an error when Python exits.
            traceback.clear_frames(error.__traceback__)
            task = re.search(r"(?:remote target|heartbeats\):)\s+/job:(\w+)/replica:0/task:(\d+)", str(error))
            who = f"{task[1]} {task[2]}" if task else "another worker"
            raise VaezooError(f"training ended because {who} is gone or cannot be reached") from error

    def _total(self, numbers):
        """The sum of an integer, or an array of them, over all machines."""
        with self.errors_of_others():
            return self._sum(tf.constant(numbers, tf.int64)).numpy()

    @property
    def _own(self):
        """The number of devices of this machine; each takes one element of a distributed dataset in a step."""
        return self.count // self.workers

    def _distribute(self, batches, divide):
        if self.name == "one":
            return batches
        elements = batches.flat_map(
            lambda batch: tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(divide, batch))
        )
        length = batches.cardinality()  # negative if endless; Keras does not need it then
        if length >= 0:
            elements = elements.apply(tf.data.experimental.assert_cardinality(length * self._own))
        elements = elements.prefetch(tf.data.AUTOTUNE)
        return self.strategy.distribute_datasets_from_function(lambda _: elements)


def _strategy(name):
    if name == "one":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    try:
        with _ended_by_ctrl_c():
            return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        reason = str(error).splitlines()[0]
        raise VaezooError(f"this worker cannot join the others: {reason}; are TF_CONFIG's ports free?") from error


@contextlib.contextmanager
def _ended_by_ctrl_c():
    """Let Ctrl-C end the process at once: while TensorFlow waits for the other machines, Python handles no signals."""
    if threading.current_thread() is not threading.main_thread():  # Python sets signal handlers there only
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _fingerprint(value):
    """A number of 56 bits for a value."""
    content = json.dumps(value, sort_keys=True).encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:7])


def _is_address(text):
    found = re.fullmatch(r".+:([0-9]{1,5})", text) if isinstance(text, str) else None
    return found is not None and 1 <= int(found[1]) <= 65535


def read_cluster(text):
    """Check TF_CONFIG.

    Args:
        text: its value, or None where it is not set.

    Returns:
        (the number of this worker, the number of workers); the chief, if there is one, is worker 0.

    Raises:
        VaezooError: if it is missing or invalid.
    """
    if not text:
        raise VaezooError(
            f"--strategy multi_worker needs TF_CONFIG in the environment of each machine, as in {EXAMPLE}"
        )
    try:
        config = parse_json(text, Any)
    except ValueError as error:
        raise VaezooError(f"TF_CONFIG cannot be read: {error}; write it as in {EXAMPLE}") from None
    if not isinstance(config, dict) or not all(isinstance(config.get(key), dict) for key in ("cluster", "task")):
        raise VaezooError(f"TF_CONFIG needs a 'cluster' and a 'task', as in {EXAMPLE}")
    cluster, task = config["cluster"], config["task"]
    for job, addresses in cluster.items():
        if job not in JOBS or (job == "chief" and isinstance(addresses, list) and len(addresses) > 1):
            raise VaezooError(f"TF_CONFIG's cluster has '{job}'; allowed are workers, one of which may be the 'chief'")
        if not isinstance(addresses, list) or not all(map(_is_address, addresses)):
            raise VaezooError(
                f"TF_CONFIG's cluster needs a list of \"HOST:PORT\" as its '{job}', with ports from 1 to 65535, as in "
                f"{EXAMPLE}"
            )
    addresses = [address for job in cluster.values() for address in job]
    if len(set(addresses)) < len(addresses):
        raise VaezooError("TF_CONFIG's cluster has the same address twice; give each machine its own")
    numbered = [(job, index) for job in JOBS for index in range(len(cluster.get(job, ())))]
    this = (task.get("type"), task.get("index"))
    if this not in numbered or isinstance(this[1], bool):
        there = ", ".join(f"{job} {index}" for job, index in numbered) or "no workers"
        hint = ", and its index to a number" if isinstance(this[1], str) else ""
        raise VaezooError(
            f"TF_CONFIG's task is {this[0]} {this[1]!r}, and its cluster has {there}; set the task to one of "
            f"these{hint}"
        )
    return numbered.index(this), len(numbered)
