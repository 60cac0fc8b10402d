"""A folder, as it is, to the Hugging Face hub: a model or a data set, with the card that lies in it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from secondthought.errors import UserError


def push(folder: Path, name: str, kind: Literal["model", "dataset"] = "model") -> str:
    """Upload every file of ``folder`` to the repository ``name`` (made if it is not there); its address.

    Raises UserError, in a sentence, if the hub refuses or cannot be reached; the folder stays.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi()
    try:
        place = api.create_repo(name, repo_type=kind, exist_ok=True)
        api.upload_folder(repo_id=name, repo_type=kind, folder_path=folder, commit_message="from secondthought")
    except (OSError, ValueError, RuntimeError, HfHubHTTPError, HFValidationError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{folder} is written, but the hub refuses {name}: {why}; hf auth login may help") from error
    return str(place)
