"""An .npy file of any size, read a few images at a time."""

import copy

import numpy as np

from vaezoo.errors import VaezooError


class NpyFile:
    """The array [N,...] of an .npy file; indexing reads that part alone, and the file keeps none of it in memory.

    The pages of a mapped file would count as the process's memory until the system wants them back, and one that is
    cut short while it is mapped kills the process.

    Args:
        path: of the file.

    Raises:
        ValueError: or another of NumPy's errors, for a file that is no such array, or shorter than its header says.
    """

    def __init__(self, path):
        mapped = np.lib.format.open_memmap(path, mode="r")
        self.path, self.offset, self.shape, self.dtype = path, mapped.offset, mapped.shape, mapped.dtype
        # In Fortran order an image lies scattered over the whole file: what is read of it are pages all the same.
        self.mapped = mapped if np.isfortran(mapped) else None

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, indices):
        """The part [B,...] at a slice, or at an array of indices [B]."""
        if self.mapped is not None:
            return np.asarray(self.mapped[indices]).reshape(-1, *self.shape[1:])
        rows = range(len(self))[indices] if isinstance(indices, slice) else indices
        part = np.empty((len(rows), *self.shape[1:]), self.dtype)
        with open(self.path, "rb") as file:
            for row, into in zip(rows, part, strict=True):
                file.seek(self.offset + int(row) * into.nbytes)
                if file.readinto(into) < into.nbytes:
                    raise VaezooError(f"'{self.path}' has become shorter while it was read: leave it as it is.")
        return part

    def reshape(self, *shape):
        """The same file as an array of another shape, with as many rows."""
        other = copy.copy(self)
        other.shape = shape
        return other
