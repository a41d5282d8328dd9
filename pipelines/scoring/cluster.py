"""The same judging on Ray Data: one task reads the table, as many workers as asked for judge its chunks.

The chunks come back in order, so what is written does not depend on who judged them. Workers need this environment,
the table and the bundle at the same paths: an image, and a shared folder.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from pipelines.errors import TableError
from pipelines.scoring.judge import encoded, judged
from pipelines.scoring.source import Request, from_row, open_source
from serving.engine.choose import Wanted
from serving.model import Model

_CHUNK = "chunk"


@dataclass(frozen=True, slots=True)
class Workers:
    """How many, and what each of them has."""

    count: int = 2
    cpus: int = 1
    gpus: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a worker needs to judge as the process that began the job would, to the last bit."""

    bundle: Path
    tag: str
    wanted: Wanted
    text: str
    truncate: bool


class Judge:
    """A worker: loads the model once, then judges chunks; each travels as a row, so that nothing divides it."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._model = Model.load(recipe.bundle, recipe.tag, wanted=recipe.wanted)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        """See ``judged``."""
        recipe, encoder = self._recipe, self._model.bundle.encoder
        batch = encoded(_unpacked(row), recipe.text, encoder, truncate=recipe.truncate)
        return _packed(judged(batch, self._model))


def judged_on_ray(request: Request, first_row: int, recipe: Recipe, workers: Workers) -> Iterator[pa.Table]:
    """Judged chunks of the table from ``first_row`` on, in order.

    Ray is joined where RAY_ADDRESS says, or started here. Raises TableError where Ray is not installed, and for
    what cannot be read at all.
    """
    try:
        import ray
    except ImportError as error:
        raise TableError("Ray is not installed; pip install 'ray[data]', or leave out --engine ray") from error
    # a Ray of our own has room for all workers, and for the task that reads
    room = None if os.environ.get("RAY_ADDRESS") else workers.count * workers.cpus + 1
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what it would send home
    ray.init(num_cpus=room, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.target_max_block_size = 1  # a row is a block, so that workers get one at a time
    try:
        judging = ray.data.read_datasource(_table(request, first_row), override_num_blocks=1).map(
            Judge,
            fn_constructor_args=(recipe,),
            compute=ray.data.ActorPoolStrategy(size=workers.count),
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
        )
        for row in judging.iter_rows():
            yield _unpacked(row)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TableError):  # it says all; where on the cluster it came up does not matter
            raise TableError(str(error.cause)) from error
        raise
    finally:
        ray.shutdown()


def _table(request: Request, first_row: int) -> Any:
    """A Ray datasource of one task, which yields the chunks of the table."""
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    def read() -> Iterator[pa.Table]:
        for chunk in from_row(open_source(request).chunks(), first_row):
            yield pa.table({_CHUNK: pa.array([_packed(chunk)[_CHUNK]], pa.large_binary())})

    class Table(Datasource):
        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, *_arguments: Any, **_more: Any) -> list[ReadTask]:
            unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ReadTask(read, unknown)]

    return cast("Any", Table)()


def _packed(chunk: pa.Table) -> dict[str, bytes]:
    """A chunk as Arrow's stream format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, chunk.schema) as writer:
        writer.write_table(chunk)
    return {_CHUNK: sink.getvalue().to_pybytes()}


def _unpacked(row: Mapping[str, bytes]) -> pa.Table:
    with pa.ipc.open_stream(row[_CHUNK]) as reader:
        return reader.read_all()
