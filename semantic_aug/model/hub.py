"""Find the local directory of a checkpoint, which is a bundled name, a directory or a repository on the Hub.

This module also pushes a checkpoint to the Hub. A Hub id is ``user/repo``, or ``user/repo@revision`` with a branch, a
tag or the 40 digits of a commit. It names a model repository whose top level has the files of an artifact.
"""

import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from json import JSONDecodeError
from pathlib import Path
from typing import Any, TypeVar

PACKAGE = Path(__file__).parents[1]
# The checkpoints are inside the package in a wheel, and beside it in a source tree (an editable install).
BUNDLED = (PACKAGE / "checkpoints", PACKAGE.parent / "checkpoints")
CONFIG, MODEL, STATISTICS, CARD = "config.json", "model.safetensors", "statistics.safetensors", "README.md"
NEEDED = (CONFIG, MODEL, STATISTICS)
HUB_ID = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>.+))?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
MOMENT = 0.1  # seconds, far longer than two renames take
TIMEOUT = 5.0  # seconds to wait for the Hub's answer about a repository
PATIENCE = 15.0  # seconds in which the whole of an answer must have come
TRANSFER = float(os.environ.get("SEMANTIC_AUG_HUB_TIMEOUT", 600))  # seconds in which files must have been transferred
STUCK = "semantic-aug-hub"
T = TypeVar("T")


def bundled() -> dict[str, Path]:
    """The checkpoints that come with the package: name => directory."""
    # The first match wins, because a `checkpoints` folder beside a copy of the package may belong to somebody else.
    found = [path.parent for root in BUNDLED for path in sorted(root.glob("*/config.json"))]
    return {path.name: path for path in reversed(found)}


def resolve(checkpoint: str | Path, *, revision: str | None = None, **download_options: Any) -> Path:
    """The local directory of ``checkpoint``: a bundled name, a directory or a Hub id, looked up in this order.

    A directory ``user/repo`` below the current one therefore takes precedence over the Hub repository ``user/repo``. A
    ``Path`` is never looked up on the Hub. ``revision`` is another way to write ``user/repo@revision``, and
    ``download_options`` are those of ``download``. Raises FileNotFoundError with a list of what there is, and
    ValueError if two revisions are given, or one for something that is not a Hub repository.
    """
    local = _local(checkpoint)
    if local is not None:
        if revision is not None:
            raise ValueError(f"{checkpoint} is the local directory {local}, which has no revisions; got {revision!r}")
        return local
    names = ", ".join(repr(name) for name in bundled()) or "none"
    missing = f"no checkpoint {str(checkpoint)!r}: neither a bundled one ({names}), nor a directory that exists, nor"
    match = _hub_id(checkpoint)
    if match is None:
        raise FileNotFoundError(f"{missing} a Hub id such as 'user/repo' or 'user/repo@revision'")
    if revision is not None and match["revision"] is not None:
        raise ValueError(f"{checkpoint!r} names a revision already; got revision={revision!r} too")
    try:
        return download(match["repo"], revision or match["revision"], **download_options)
    except (FileNotFoundError, ValueError) as error:  # ValueError means that the Hub does not allow the name
        raise FileNotFoundError(f"{missing} on the Hub: {error}") from error


def pin(checkpoint: str | Path) -> str | Path:
    """A name of ``checkpoint`` that refers to the same files in every process from now on.

    A Hub id is downloaded unless it is in the cache, and becomes ``user/repo@commit``, which is then found in the cache
    without a request. A directory becomes absolute, and a bundled name stays the same. Raises as ``resolve`` does.
    """
    directory = resolve(checkpoint)
    if checkpoint in bundled():
        return checkpoint
    match = None if _local(checkpoint) else _hub_id(checkpoint)
    return Path(checkpoint).absolute() if match is None else f"{match['repo']}@{directory.name}"


def _local(checkpoint: str | Path) -> Path | None:
    directories = bundled()
    if isinstance(checkpoint, str) and checkpoint in directories:
        return directories[checkpoint]
    directory = Path(checkpoint)
    if directory.is_dir():
        return directory
    old = previous(directory.resolve())
    if not old.is_dir():
        return None
    time.sleep(MOMENT)  # another process may be between its two renames, or it was stopped there
    return directory if directory.is_dir() else old


def previous(directory: Path) -> Path:
    """Where a directory is kept while it is being replaced."""
    return directory.with_name(f".{directory.name}.semantic-aug-previous")


def _hub_id(checkpoint: str | Path) -> re.Match[str] | None:
    return HUB_ID.fullmatch(checkpoint) if isinstance(checkpoint, str) else None


# --- From the Hub -----------------------------------------------------------------------------------------------


def download(
    repo_id: str,
    revision: str | None = None,
    *,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """The cached directory of a Hub repository's artifact, downloaded if necessary. Its name is the commit.

    Only the files of an artifact are downloaded. A commit (40 digits) that is in the cache needs no request. If the Hub
    does not answer, the cached state of the revision is used, with a UserWarning.

    Args:
        repo_id: ``user/repo``.
        revision: a branch, a tag or the 40 digits of a commit (None: the branch "main").
        token: token for the Hub (None: ``HF_TOKEN`` or the one that ``hf auth login`` stored; False: no token).
        cache_dir: where downloads are kept (None: huggingface_hub's cache, which ``HF_HOME`` moves).
        local_files_only: use only files in the cache and make no requests, as ``HF_HUB_OFFLINE=1`` does.
        force_download: download cached files again, for example if they are damaged.

    Raises FileNotFoundError, with the reason, if no artifact can be found, and OSError if the cache cannot be written.
    """
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    pinned = revision is not None and COMMIT.fullmatch(revision) is not None
    cached = _cached(repo_id, revision, cache_dir)
    if local_files_only:
        if cached is None:
            raise FileNotFoundError(f"{repo_id} is not (whole) in the cache, and local_files_only forbids to ask")
        return cached
    if force_download:
        cached = None
    if pinned and cached is not None:
        return cached
    try:
        info = within(PATIENCE, lambda: HfApi().model_info(repo_id, revision=revision, token=token, timeout=TIMEOUT))
        files = _names(info)
    except HFValidationError:
        raise
    except Exception as error:  # a server that is no Hub can make the client raise anything
        if _answered(error):
            raise FileNotFoundError(_refusal(error, revision)) from error
        reason = f"the Hub cannot be asked ({_summary(error)})"
        if cached is None:
            absent = "" if force_download else f", and {repo_id} is not (whole) in the cache"
            raise FileNotFoundError(reason + absent) from error
        if not isinstance(error, OfflineModeIsEnabled):
            warnings.warn(f"{reason}; using commit {cached.name} of {repo_id} from the cache", stacklevel=2)
        return cached
    if cached is not None and cached.name == info.sha:
        return cached
    lacking = set(NEEDED) - files
    if lacking:
        raise FileNotFoundError(f"the repository is there, but no artifact of this library: no {min(lacking)} in it")

    def transfer() -> str:
        directory = snapshot_download(
            repo_id,
            revision=info.sha,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            allow_patterns=[*NEEDED, CARD],
        )
        # The cache's reference from a branch or tag to a commit is updated only now that all files are there.
        # Otherwise an interrupted download would hide the older commit that is complete.
        if not pinned:
            hf_hub_download(repo_id, CONFIG, revision=revision, token=token, cache_dir=cache_dir)
        return directory

    try:
        return Path(within(TRANSFER, transfer))
    except Exception as error:
        if _of_disk(error):
            raise
        if _answered(error):  # anyone may list the files of a gated repository, but not read them
            raise FileNotFoundError(_refusal(error, revision)) from error
        raise FileNotFoundError(f"the download broke off ({_summary(error)}); try again") from error


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of ``call``. Raises TimeoutError if it takes longer than ``seconds``.

    The time-outs of the client begin anew with every byte. A call that takes too long goes on in a thread of its own,
    which cannot be ended and does not matter. ``stuck`` tells whether there is one.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name=STUCK, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"it took longer than {seconds:g} seconds")
    return results[0]


def stuck() -> bool:
    """Whether a call that took too long still runs. Its helpers would keep Python from ending."""
    return any(thread.name == STUCK for thread in threading.enumerate())


def _of_disk(error: BaseException) -> bool:
    """Whether files could not be written, as opposed to being received."""
    from huggingface_hub.errors import HTTPError

    received = (HTTPError, ConnectionError, TimeoutError, FileNotFoundError)
    return isinstance(error, OSError) and error.errno is not None and not isinstance(error, received)


def _cached(repo_id: str, revision: str | None, cache_dir: str | Path | None) -> Path | None:
    """The cached directory of a revision, or None unless it has all files of an artifact."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repo_id, revision=revision, cache_dir=cache_dir, local_files_only=True, allow_patterns=list(NEEDED)
        )
    except LocalEntryNotFoundError:
        return None
    # The client does not know whether a cache that was filled file by file is complete.
    return Path(found) if all((Path(found) / name).is_file() for name in NEEDED) else None


def _names(info: Any) -> set[str]:
    """The names of a repository's files, from the Hub's information about it."""
    return {file.rfilename for file in info.siblings or []}


def _answered(error: Exception) -> bool:
    """Whether the Hub itself refused, rather than being unreachable, broken or busy."""
    status = _status(error)
    return status is not None and status < 500 and status != 429


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _refusal(error: Exception, revision: str | None) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return "access is granted on request: ask for it on the repository's page, then log in (`hf auth login`)"
    if isinstance(error, RepositoryNotFoundError):
        return "no such repository, or a private one that your token (HF_TOKEN, `hf auth login`) does not open"
    if _status(error) == 401:
        return "your token (HF_TOKEN, `hf auth login`) is refused"
    if isinstance(error, RevisionNotFoundError):
        return f"it has no revision {revision!r}; a branch, a tag or all 40 digits of a commit is expected"
    return _summary(error)


def _summary(error: BaseException) -> str:
    """An error as one short line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()):.200}".removesuffix(": ")


# --- To the Hub -------------------------------------------------------------------------------------------------


def push(
    files: Mapping[str, Path],
    repo_id: str,
    *,
    card: str,
    private: bool | None = None,
    tag: str | None = None,
    token: str | bool | None = None,
    commit_message: str | None = None,
) -> str:
    """Upload the files of an artifact (name => path), and nothing else, to a Hub repository in one commit.

    The repository is created if necessary. Files that have not changed are not sent. If nothing has changed, there is
    no commit.

    Args:
        files: the files to upload, including the artifact's files.
        repo_id: ``user/repo``.
        card: the model card to use if neither ``files`` nor the repository has one.
        private: whether a new repository is private (None: as the account's or organisation's settings say).
        tag: a new tag for the commit, such as "v1.0".
        token: a token with write access (None: ``HF_TOKEN`` or the one that ``hf auth login`` stored).
        commit_message: message of the commit (None: "Upload a semantic-aug artifact").

    Returns ``user/repo@commit``. Raises ValueError for a malformed ``repo_id``, if ``private`` is set but the
    repository is public, or if the tag exists. Raises PermissionError if the Hub does not let this token write, and
    ConnectionError if the Hub cannot be reached or fails.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    match = _hub_id(repo_id)
    if match is None or match["revision"] is not None:
        raise ValueError(f"expected a repository to push to, such as 'user/repo', got {repo_id!r}")
    api = HfApi(token=token)
    try:
        try:
            info = within(PATIENCE, lambda: api.model_info(repo_id, timeout=TIMEOUT))
        except RepositoryNotFoundError:
            within(PATIENCE, lambda: api.create_repo(repo_id, private=private))
            info = within(PATIENCE, lambda: api.model_info(repo_id))
        if private and not info.private:
            raise ValueError(f"{repo_id} is public; make it private in its settings on the Hub, or choose another name")
        if tag is not None and tag in {ref.name for ref in within(PATIENCE, lambda: api.list_repo_refs(repo_id)).tags}:
            raise ValueError(f"{repo_id} has a tag {tag!r}; choose another, for those who pinned it count on it")
        content: dict[str, Path | bytes] = dict(files)
        if CARD not in {*files, *_names(info)}:
            content[CARD] = card.encode()
        added = [CommitOperationAdd(name, source) for name, source in sorted(content.items())]
        message = commit_message or "Upload a semantic-aug artifact"
        commit = within(TRANSFER, lambda: api.create_commit(repo_id, added, commit_message=message))
        if tag is not None:
            within(PATIENCE, lambda: api.create_tag(repo_id, tag=tag, revision=commit.oid))
    except Exception as error:  # a server that is no Hub can make the client raise anything
        if isinstance(error, ValueError) and not isinstance(error, JSONDecodeError):
            raise
        # For a large file, the client hides the reason in the cause of its error.
        reason = (error.__cause__ or error) if isinstance(error, RuntimeError) else error
        if _status(reason) in (401, 403):
            raise PermissionError(
                f"the Hub does not let this token write to {repo_id} ({_summary(reason)}); log in with `hf auth "
                f"login`, or set HF_TOKEN to a token with write access"
            ) from error
        raise ConnectionError(f"{repo_id}: the push failed ({_summary(reason)})") from error
    return f"{repo_id}@{commit.oid}"
