"""An .npy file of any size, read a few rows at a time."""

import copy

import numpy as np

from vaezoo.errors import VaezooError


class NpyFile:
    """The array [N,...] of an .npy file; indexing reads the part it asks for, and nothing is kept in memory.

    The file is not memory-mapped: mapped pages would count as memory of the process, and a mapped file that is
    truncated kills it.

    Args:
        path: of the file.

    Raises:
        ValueError: or another error of NumPy, for a file that is not such an array, or shorter than its header says.
    """

    def __init__(self, path):
        mapped = np.lib.format.open_memmap(path, mode="r")
        self.path, self.offset, self.shape, self.dtype = path, mapped.offset, mapped.shape, mapped.dtype
        # In Fortran order a row is scattered over the file, and mapping it is the simplest way to read it.
        self.mapped = mapped if np.isfortran(mapped) else None

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, indices):
        """The part [B,...] at a slice of step 1, or at an array of indices [B]."""
        if self.mapped is not None:
            return np.asarray(self.mapped[indices]).reshape(-1, *self.shape[1:])
        contiguous = isinstance(indices, slice)
        rows = range(len(self))[indices] if contiguous else indices
        part = np.empty((len(rows), *self.shape[1:]), self.dtype)
        row_bytes = part[:1].nbytes
        with open(self.path, "rb") as file:
            for row, into in [(rows.start, part)] if contiguous else zip(rows, part, strict=True):
                file.seek(self.offset + int(row) * row_bytes)
                if file.readinto(into) < into.nbytes:
                    raise VaezooError(f"'{self.path}' became shorter while it was read: do not change it meanwhile.")
        return part

    def reshape(self, *shape):
        """The same file as an array of another shape, with the same number of rows."""
        other = copy.copy(self)
        other.shape = shape
        return other
