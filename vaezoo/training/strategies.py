"""The devices that train together: one, all of this machine, or those of several machines.

TensorFlow's `MirroredStrategy` and `MultiWorkerMirroredStrategy` hold the weights on every device; each device takes its
rows of every batch (see `vaezoo.replicas`). Each machine makes the batches of all and keeps its part, so the images of a
batch are those of one device, whatever they are read from.
"""

import json
import os
import re

from vaezoo.errors import VaezooError, unknown

STRATEGIES = ("one", "mirrored", "multi_worker")
JOBS = ("chief", "worker")  # in the order of TensorFlow's own numbers for them
EXAMPLE = """TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'"""


class Devices:
    """Those that a training runs on. Make it before anything else of TensorFlow's is used: the cluster wants that.

    Args:
        name: "one"; "mirrored" for all GPUs of this machine, or all its logical CPUs where there is no GPU; or
            "multi_worker" for those of all machines that TF_CONFIG names.

    Attributes:
        strategy: the `tf.distribute.Strategy`.
        worker, workers: which machine this is, from 0, and how many there are.
        count: the devices of all machines.

    Raises:
        VaezooError: for an unknown name, or a TF_CONFIG that is missing or wrong.
    """

    def __init__(self, name="one"):
        if name not in STRATEGIES:
            raise unknown("strategy", name, STRATEGIES)
        self.name, self.worker, self.workers = name, 0, 1
        if name == "multi_worker":
            self.worker, self.workers = read_cluster(os.environ.get("TF_CONFIG"))
        self.strategy = _strategy(name)
        self.count = self.strategy.num_replicas_in_sync

    @property
    def chief(self):
        """Whether this is the machine that writes the run directory and speaks."""
        return self.worker == 0

    def __str__(self):
        devices = f"{self.count} device{'s' * (self.count > 1)}"
        return {
            "one": "one device",
            "mirrored": f"{devices}, mirrored",
            "multi_worker": f"{self.workers} workers with {devices}, mirrored",
        }[self.name]

    def check_batch(self, size):
        """Refuse a batch that cannot be divided in equal parts."""
        if size % self.count:
            below, above = size - size % self.count, size + self.count - size % self.count
            raise VaezooError(
                f"training.batch_size is {size}, which {self.count} devices cannot share equally; set a multiple of "
                f"{self.count}, such as {f'{below} or ' if below else ''}{above}"
            )

    def share(self, batches):
        """A dataset of batches [R*B,...] → what `fit` takes, where each of the R devices is given its B rows of each."""
        first = self.worker * self._own

        def parts(rows):
            import tensorflow as tf

            return tf.reshape(rows, [self.count, -1, *rows.shape[1:]])[first : first + self._own]

        return self._distribute(batches, parts)

    def repeat(self, batches):
        """A dataset of batches of any size → what `evaluate` takes, where each device is given every whole batch.

        The noise of an evaluation is a function of how many images were seen before, and its last batch is of any size;
        so every device does all of it, and the means are those of one.
        """

        def copies(rows):
            import tensorflow as tf

            return tf.repeat(rows[tf.newaxis], self._own, axis=0)

        return self._distribute(batches, copies)

    def any(self, flag):
        """Whether the flag is true on one of the machines; all of them have to ask at the same time."""
        return flag if self.workers == 1 else self._sum(flag) > 0

    def agree(self, number):
        """Whether the integer is the same on all machines; all of them have to ask at the same time."""
        return self.workers == 1 or self._sum(number) == self.workers * number

    def _sum(self, number):
        import tensorflow as tf

        return self.strategy.reduce("SUM", tf.constant(int(number), tf.int64), axis=None).numpy()

    @property
    def _own(self):
        """The devices of this machine, each of which takes one element of a distributed dataset a step."""
        return self.count // self.workers

    def _distribute(self, batches, divide):
        import tensorflow as tf

        if self.name == "one":
            return batches
        elements = batches.flat_map(
            lambda batch: tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(divide, batch))
        )
        length = batches.cardinality()  # unknown of endless ones, and Keras need not know
        if length >= 0:
            elements = elements.apply(tf.data.experimental.assert_cardinality(length * self._own))
        elements = elements.prefetch(tf.data.AUTOTUNE)
        return self.strategy.distribute_datasets_from_function(lambda _: elements)


def _strategy(name):
    import tensorflow as tf

    if name == "one":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    return tf.distribute.MultiWorkerMirroredStrategy()


def read_cluster(text):
    """Check TF_CONFIG.

    Args:
        text: its value, or None where it is not set.

    Returns:
        (this worker's number, the number of workers), the chief first where the cluster names one.

    Raises:
        VaezooError: if it is missing, or is not what TensorFlow would understand.
    """
    if not text:
        raise VaezooError(f"--strategy multi_worker needs the environment variable TF_CONFIG on each machine: {EXAMPLE}")
    try:
        config = json.loads(text)
    except ValueError as error:
        raise VaezooError(f"TF_CONFIG is no JSON ({error}); write it as in {EXAMPLE}") from None
    if not isinstance(config, dict) or not all(isinstance(config.get(key), dict) for key in ("cluster", "task")):
        raise VaezooError(f"TF_CONFIG needs a 'cluster' and a 'task', as in {EXAMPLE}")
    cluster, task = config["cluster"], config["task"]
    for job, addresses in cluster.items():
        if job not in JOBS:
            raise VaezooError(f"TF_CONFIG's cluster has a job '{job}'; allowed are worker, and chief for one of them")
        if not isinstance(addresses, list) or not all(re.fullmatch(r"[^:]+:\d+", str(each)) for each in addresses):
            raise VaezooError(f"TF_CONFIG's cluster needs a list of HOST:PORT as its '{job}', as in {EXAMPLE}")
    kind, index = task.get("type"), task.get("index")
    size = len(cluster.get(kind, ()))
    if not size or type(index) is not int or not 0 <= index < size:
        jobs = " and ".join(f"{job} 0 to {len(cluster[job]) - 1}" for job in JOBS if cluster.get(job))
        raise VaezooError(f"TF_CONFIG's task is '{kind}' {index}, and its cluster has {jobs or 'no workers'}; mend its task")
    chiefs = len(cluster.get("chief", ()))
    return (index if kind == "chief" else chiefs + index), chiefs + len(cluster.get("worker", ()))
