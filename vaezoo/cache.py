"""The folder for files that can be made again."""

from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """The cache folder of vaezoo for this user, which may not exist yet; $XDG_CACHE_HOME/vaezoo on Linux."""
    return platformdirs.user_cache_path("vaezoo", appauthor=False)
