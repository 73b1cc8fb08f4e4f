"""The Hugging Face hub: what a model's repository holds at which commit, and what was downloaded before."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
import requests
from cielo.downloads import Download
from cielo.errors import CheckpointError, DownloadError
from cielo.licences import Licence
from huggingface_hub import errors as hub_errors

from cielo_convert import weights

_TIMEOUT = 10.0  # seconds for an answer
_ENDPOINT = "https://huggingface.co"
_CLOSED = (401, 403)


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model's repository at one commit.

    Attributes:
        files: those that a conversion needs, as downloads into the folder that was asked for; weights come last.
    """

    name: str
    commit: str
    licence: Licence
    files: tuple[Download, ...]


def endpoint() -> str:
    """Return the address of the hub: ``HF_ENDPOINT``, else the public one."""
    return (os.environ.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/")


def look_up(name: str, revision: str | None, folder: Path) -> HubModel:
    """Ask the hub for a model.

    Args:
        name: ``owner/name``.
        revision: branch, tag or commit; None: the main branch.
        folder: that its files are to be fetched into.

    Raises:
        DownloadError: where the hub cannot be reached.
        CheckpointError: where it has no such model, or none that may be read, or not one with weights.
    """
    try:
        # False: without a token, where the hub's library would send the one that it finds.
        api = huggingface_hub.HfApi(endpoint=endpoint(), token=_token(endpoint()) or False)
        info = api.model_info(name, revision=revision, timeout=_TIMEOUT, files_metadata=True)
    except hub_errors.HFValidationError as error:
        raise _unknown(name, revision) from error
    except hub_errors.HfHubHTTPError as error:
        status = None if error.response is None else error.response.status_code
        if status in (*_CLOSED, 404):
            raise _unknown(name, revision) from error
        raise DownloadError(f"{endpoint()} does not answer as a hub does (HTTP {status})", status) from error
    except (requests.RequestException, hub_errors.OfflineModeIsEnabled, OSError, ValueError) as error:
        raise DownloadError(f"{endpoint()} cannot be reached ({type(error).__name__})") from error
    entries = {entry.rfilename: entry for entry in info.siblings or []}
    names = weights.wanted(entries)
    if not names or info.sha is None:
        raise CheckpointError(f"the hub's {name} holds no weights; expected one of {', '.join(weights.SINGLE)}")
    files = tuple(_download(name, info.sha, folder, entries[file]) for file in names)
    stated = getattr(info.card_data, "license", None) if info.card_data else None
    return HubModel(name, info.sha, Licence(name, stated, f"{endpoint()}/{name}"), files)


def _unknown(name: str, revision: str | None) -> CheckpointError:
    at = f" at revision {revision!r}" if revision else ""
    return CheckpointError(
        f"the hub has no model {name!r}{at} that may be read just so; correct the recipe, or {_way_in(name)}"
    )


def _download(name: str, commit: str, folder: Path, entry: huggingface_hub.hf_api.RepoSibling) -> Download:
    address = huggingface_hub.hf_hub_url(name, entry.rfilename, revision=commit, endpoint=endpoint())
    token = _token(address)
    size = entry.size if entry.size is not None else _size(address, token)
    lfs = entry.lfs
    return Download(
        address,
        folder / entry.rfilename,
        size=size,
        sha256=lfs.sha256 if lfs else None,
        blob=None if lfs else entry.blob_id,
        token=token,
    )


def _token(address: str) -> str | None:
    # Whoever names a mirror without https would send it readable to all on the way.
    return huggingface_hub.get_token() if urlsplit(address).scheme == "https" else None


def _size(address: str, token: str | None) -> int | None:
    try:
        return huggingface_hub.get_hf_file_metadata(address, token=token, timeout=_TIMEOUT).size
    except (requests.RequestException, hub_errors.HfHubHTTPError, OSError):
        return None  # it is seen when it is fetched


def closed(name: str, error: DownloadError) -> CheckpointError:
    """Return what to say where the hub hands a model's files only to those who may have them."""
    return CheckpointError(f"the hub does not hand out {name} just so (HTTP {error.status}); {_way_in(name)}")


def _way_in(name: str) -> str:
    return f"accept its terms at {endpoint()}/{name} and log in with `hf auth login` (or set HF_TOKEN)"


def downloaded(model: HubModel) -> Path | None:
    """Return the folder of the hub's own cache that holds every file of a model at its commit; None: not all are."""
    found = [
        huggingface_hub.try_to_load_from_cache(model.name, file.target.name, revision=model.commit)
        for file in model.files
    ]
    return Path(found[0]).parent if isinstance(found[0], str) and all(isinstance(path, str) for path in found) else None


def downloaded_before(name: str, revision: str | None) -> Path | None:
    """Return a whole copy in the hub's own cache, without asking the hub; None where there is none."""
    try:
        folder = Path(huggingface_hub.snapshot_download(name, revision=revision, local_files_only=True))
    except (hub_errors.LocalEntryNotFoundError, hub_errors.HFValidationError, OSError):
        return None
    return folder if weights.is_whole(folder) else None
