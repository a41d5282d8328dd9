"""Where the workers of one fleet keep their rollout, and what it is held to, from environment variables."""

import os
import re
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from serving.errors import SettingInvalid
from serving.rollout.gates import Limits
from serving.rollout.store import FileStore, StateStore


class RolloutSettings(BaseSettings):
    """Each field is the environment variable of the same name in capitals. The service's settings hold them, too."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    redis_url: str | None = Field(default=None, pattern=r"^(redis|rediss|unix)://")
    """Second cache level, and where a rollout is kept, for workers and replicas; without it the cache is local."""
    rollout_name: str = Field(default="default", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """The fleet, where several keep their rollouts in one Redis."""
    rollout_folder: Path | None = None
    """Where a rollout is kept without a Redis; by itself, ``rollout`` in Bento's home, beside the models."""
    rollout_watch_s: float = Field(default=300.0, ge=0.0, le=86_400.0)
    """So long after a promotion it is taken back by itself if a gate fails."""
    rollout_limits: Limits = Limits()
    """By how much a new model may differ: an object of JSON with those that are to be others."""

    def store(self) -> StateStore:
        """In Redis where there is one, under the fleet's name; else in the folder."""
        if self.redis_url:
            from serving.rollout.redis_store import RedisStore  # its library takes a while to load

            return RedisStore(self.redis_url, self.rollout_name)
        home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
        return FileStore(self.rollout_folder or home / "rollout")

    @classmethod
    def from_environment(cls) -> Self:
        """Read and check the environment. Raises SettingInvalid naming each variable that is wrong."""
        try:
            return cls()
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, p['loc'])).upper()}: {p['msg']}" for p in error.errors()]
            raise SettingInvalid("; ".join(problem.removeprefix(": ") for problem in problems)) from error
        except SettingsError as error:
            name = re.search(r'field "(\w+)"', str(error))
            raise SettingInvalid(
                f"{name[1].upper() if name else error}: it must be JSON ({error.__cause__})"
            ) from error
