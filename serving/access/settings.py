"""Where the keys of a fleet are, from environment variables."""

import os
from pathlib import Path

from serving.access.store import FileKeys, KeyStore
from serving.rollout.settings import RolloutSettings


class KeySettings(RolloutSettings):
    """Each field is the environment variable of the same name in capitals. The service's settings hold them, too."""

    keys_file: Path | None = None
    """Keys of callers, as JSON; without it they are in Redis, or where there is none in Bento's home."""

    def keys(self) -> KeyStore:
        """In the file where one is named; else in Redis, under the fleet's name; else in a file in Bento's home."""
        if self.keys_file is None and self.redis_url:
            from serving.access.redis_store import RedisKeys  # its library takes a while to load

            return RedisKeys(self.redis_url, self.rollout_name)
        home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
        return FileKeys(self.keys_file or home / "keys.json")
