"""Places of stores: directories and URIs, the filesystems behind them, and what is said of one that fails.

What a URI holds that gives access is never shown. Where a place was written down without it, the environment gives it.
"""

import uuid
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from latent_core.errors import UserError
from orchestrator.console import masked, without_masks

_GOES_ON = "what is there is whole, and the same command goes on once it can be written"


def filesystem_of(location: str, key: str = "store.path") -> tuple[fs.FileSystem, str]:
    """Return the filesystem of a directory or URI, and the path inside it.

    Args:
        location: The directory or URI.
        key: What named it, for the message.

    Raises:
        UserError: If nothing here knows such a place, or it does not answer.
    """
    if "://" not in location:
        return fs.LocalFileSystem(), str(Path(location).expanduser().absolute())
    try:
        filesystem, path = fs.FileSystem.from_uri(without_masks(location))
    except (pa.ArrowException, ImportError, OSError) as error:
        raise UserError(f"{key} {masked(location)}: cannot be reached: {cause(error)}{_cure(error)}") from error
    return filesystem, path.rstrip("/")


def joined(location: str, name: str) -> str:
    """Return the place of something below a directory or URI; what stands behind a "?" stays at the end."""
    if "://" not in location:
        return f"{location.rstrip('/')}/{name}"
    path, question, query = location.partition("?")
    return f"{path.rstrip('/')}/{name}{question}{query}"


def name_of(location: str) -> str:
    """Return the last part of a path or URI, without what stands behind a "?"."""
    path = location.partition("?")[0] if "://" in location else location
    return path.rstrip("/").rpartition("/")[2]


def check_writable(location: str) -> None:
    """Refuse a place in which nothing can be kept, before anything is computed for it; a file comes and goes there.

    Raises:
        UserError: With the reason.
    """
    filesystem, path = filesystem_of(location)
    try:
        filesystem.create_dir(path, recursive=True)
        write_whole(filesystem, f"{path}/.writable-{uuid.uuid4().hex}", b"." * 4096, keep=False)
    except OSError as error:
        raise unwritable(location, error) from error


def write_whole(filesystem: fs.FileSystem, path: str, content: bytes | pa.Buffer, keep: bool = True) -> None:
    """Write a file under a temporary name and rename it; nothing is left behind where that fails.

    Args:
        filesystem: Where.
        path: The file.
        content: What is in it.
        keep: Whether it stays; else only the attempt is made.

    Raises:
        OSError: If it cannot be written.
    """
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with filesystem.open_output_stream(temporary) as stream:
            stream.write(content)
        if keep:
            filesystem.move(temporary, path)
        else:
            filesystem.delete_file(temporary)
    except BaseException:
        _forget(filesystem, temporary)
        raise


def unwritable(location: str, error: OSError) -> UserError:
    """Return what to say of a place in which something could not be written."""
    return UserError(f"store.path {masked(location)}: cannot be written: {cause(error)}; {_GOES_ON}")


def cause(error: BaseException) -> str:
    """Return the reason of an error in one line, without what gives access."""
    return masked(" ".join(str(error).split()))[:300] or type(error).__name__


def _forget(filesystem: fs.FileSystem, path: str) -> None:
    try:
        filesystem.delete_file(path)
    except OSError:
        # It was never made, or its place is gone: what is said is why it could not be written.
        return


def _cure(error: BaseException) -> str:
    if isinstance(error, OSError) and "libjvm" not in str(error):
        return ""
    # In the words of Arrow it may be a library of its own that is missing, or a part that it was built without.
    return "; name a directory, or file://, s3://, gs://, abfs:// or hdfs:// where pyarrow has the library for it"
