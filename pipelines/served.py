"""What a service said, out of its journal, as a table like those that ``pipelines.score`` writes, but without texts."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from data.journal import Judged, Reading
from data.labels import NeutralBand, sentiments
from pipelines.errors import TableError


def read(folder: Path, model_tag: str, band: NeutralBand, since: float) -> pd.DataFrame:
    """Positive, characters, sentiment and date (UTC) of each review that ``model_tag`` judged ``since`` then.

    Seconds since 1970. Answers from the cache are there, too. Raises TableError where there are none, naming the tags
    that there are.
    """
    reading = Reading()
    recent = [line for line in reading.lines_of(Judged, folder) if line.at >= since]
    ours = [line for line in recent if line.model == model_tag]
    if not ours:
        others = ", ".join(sorted({line.model for line in recent})) or "nobody"
        raise TableError(f"{folder} has nothing that {model_tag} judged in that time; {others} did")
    days = [datetime.fromtimestamp(line.at, UTC).date().isoformat() for line in ours]
    positive = np.concatenate([line.positive for line in ours])
    return pd.DataFrame(
        {
            "positive": positive,
            "characters": np.concatenate([line.characters for line in ours]),
            "sentiment": sentiments(positive, band),
            "date": np.repeat(days, [len(line.positive) for line in ours]),
        }
    )
