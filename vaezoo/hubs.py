"""The folders of Hugging Face and of Kaggle: their addresses, downloads and uploads. Imports nothing heavy."""

import contextlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from vaezoo.errors import VaezooError
from vaezoo.regular_files import reason

HUBS = {  # scheme → the package that it needs, what an address looks like
    "hf": ("huggingface_hub", "hf://USER/MODEL, or hf://USER/MODEL@REVISION"),
    "kaggle": ("kagglehub", "kaggle://USER/MODEL/FRAMEWORK/VARIATION"),
}


def is_address(name: object) -> bool:
    """Whether a name is the address of a folder on a hub."""
    return str(name).partition("://")[0] in HUBS and "://" in str(name)


def download(address: str, names: Sequence[str], most: int) -> Path:
    """Bring the files of a folder on a hub onto this machine, or find them where they are already.

    Args:
        address: `hf://USER/MODEL`, `hf://USER/MODEL@REVISION` or `kaggle://USER/MODEL/FRAMEWORK/VARIATION`.
        names: the files. From Hugging Face no others are taken.
        most: bytes that they may have. Kaggle tells no size before the download.

    Returns:
        The folder, in the cache of the hub's own package.

    Raises:
        VaezooError: for an address that is none, a package that is missing, no network, or no such folder.
    """
    scheme, handle = check_address(address)
    with _plain_errors(f"cannot download '{address}'"):
        if scheme == "kaggle":
            import kagglehub

            return Path(kagglehub.model_download(handle))
        import huggingface_hub
        import huggingface_hub.errors

        repository, _, revision = handle.partition("@")
        wanted = {"repo_id": repository, "revision": revision or None, "allow_patterns": list(names)}
        # Without a network the first call finds what an earlier one has downloaded, whose size was checked then.
        with contextlib.suppress(huggingface_hub.errors.DryRunError):
            planned = huggingface_hub.snapshot_download(**wanted, dry_run=True)
            if (size := sum(each.file_size for each in planned)) > most:
                raise VaezooError(f"'{address}' has {size:,} bytes; a preset has at most {most:,}")
        return Path(huggingface_hub.snapshot_download(**wanted))


def upload(folder: Path, address: str, names: Sequence[str]) -> None:
    """Write the files of a folder to a hub; on Hugging Face the repository is made where there is none.

    Args:
        folder: of the files.
        address: as in `download`.
        names: the files; no others are sent.

    Raises:
        VaezooError: as `download`, or if you may not write there.
    """
    scheme, handle = check_address(address)
    with _plain_errors(f"cannot upload to '{address}'"):
        if scheme == "kaggle":
            import kagglehub

            others = [path.name for path in folder.iterdir() if path.name not in names]
            kagglehub.model_upload(handle, str(folder), ignore_patterns=others)
            return
        import huggingface_hub

        repository, _, revision = handle.partition("@")
        hub = huggingface_hub.HfApi()
        hub.create_repo(repository, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(names),
            revision=revision or None,
            commit_message="Upload a vaezoo preset",
        )


def check_address(address):
    """The scheme and the handle of an address.

    Raises:
        VaezooError: for an address that is none, or a package that is missing.
    """
    scheme, _, handle = str(address).partition("://")
    package, form = HUBS.get(scheme, (None, None))
    if package is None:
        raise VaezooError(f"'{address}' is no address; write {' or '.join(form for _, form in HUBS.values())}")
    if handle.count("/") != form.partition("://")[2].partition(",")[0].count("/") or "" in handle.split("/"):
        raise VaezooError(f"'{address}' is no address of that hub; write {form}")
    if importlib.util.find_spec(package) is None:
        raise VaezooError(f"{scheme}:// needs {package}: pip install 'vaezoo[hub]'")
    return scheme, handle


@contextlib.contextmanager
def _plain_errors(what):
    """Raise what the packages of the hubs raise, which has no common base, as a VaezooError of one line."""
    try:
        yield
    except VaezooError:
        raise
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & {"RepositoryNotFoundError", "NotFoundError", "RevisionNotFoundError"}:
            why = "there is none, or you may not read it; check the name, or log in (HF_TOKEN, KAGGLE_API_TOKEN)"
        elif kinds & {"ConnectError", "ConnectionError", "LocalEntryNotFoundError", "TimeoutException"}:
            why = "the hub cannot be reached, and it is not on this machine yet; check the network"
        else:
            why = reason(error)
        raise VaezooError(f"{what}: {why}") from error
