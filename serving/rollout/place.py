"""Where the workers of one fleet keep their rollout."""

import os
from pathlib import Path

from serving.rollout.store import FileStore, StateStore


def default_folder() -> Path:
    """``$ROLLOUT_FOLDER``, else ``rollout`` in Bento's home: beside the models that may be rolled out."""
    home = os.environ.get("BENTOML_HOME") or str(Path.home() / "bentoml")
    return Path(os.environ.get("ROLLOUT_FOLDER") or Path(home) / "rollout")


def here() -> StateStore:
    """Where a service with this environment keeps it."""
    return store_at(os.environ.get("REDIS_URL"), default_folder(), os.environ.get("ROLLOUT_NAME", "default"))


def store_at(redis_url: str | None, folder: Path, name: str) -> StateStore:
    """In Redis where there is one, under the fleet's name; else in the folder."""
    if redis_url:
        from serving.rollout.redis_store import RedisStore  # its library takes a while to load

        return RedisStore(redis_url, name)
    return FileStore(folder)
