"""Judge a table of reviews: ``python -m pipelines.score IN OUT``.

IN is CSV, TSV (NSMC's files, too) or Parquet, OUT is Parquet: the columns of IN, then ``sentiment``, ``score``,
``negative``, ``positive`` and ``model_tag``. Rows that cannot be judged go to OUT.rejected.parquet, with the reason.
``-`` is standard input or output. An interrupted job goes on when the same command is given again.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import bentoml
import pyarrow as pa
from bentoml.exceptions import BentoMLException
from tqdm import tqdm

from data.bundle import Bundle
from pipelines import artifacts, stage
from pipelines.errors import PackagingError, TableError
from pipelines.scoring.cluster import Recipe, Workers, judged_on_ray
from pipelines.scoring.judge import all_judged, encoded
from pipelines.scoring.parts import Parts, read_job
from pipelines.scoring.source import FORMATS, STANDARD, TEXT_COLUMNS, Request, Source, from_row, open_source
from serving.engine.choose import Wanted
from serving.engine.schedule import Cut
from serving.model import Model
from serving.settings import Settings

LOCAL, RAY = "local", "ray"


def find_bundle(tag: str | None, folder: Path | None) -> tuple[Path, str]:
    """The bundle to judge with, and its tag: of ``folder``, of the Bento model store, or what was packaged last.

    Raises PackagingError or BundleError where there is none.
    """
    if folder is not None:
        manifest = Bundle.open(folder).manifest
        return folder, f"{manifest.model_name}:{manifest.digest[:8]}"
    if tag is None:
        try:
            tag = str(artifacts.read_json(artifacts.PACKAGE)["model_tag"])
        except FileNotFoundError as error:
            raise PackagingError("nothing was packaged here; name a --model of the store, or a --bundle") from error
    try:
        stored = bentoml.models.get(tag)
    except (BentoMLException, ValueError) as error:
        raise PackagingError(f"the Bento model store has no {tag}: {error}") from error
    return Path(stored.path), str(stored.tag)


def score(arguments: argparse.Namespace) -> tuple[int, int]:
    """Do as ``arguments`` say; the number of rows that were judged and of those that were not."""
    request = Request(arguments.input, arguments.format, arguments.column, arguments.encoding)
    source = open_source(request)
    bundle, tag = find_bundle(arguments.model, arguments.bundle)
    with ExitStack() as stack:
        sink, rejected, folder = _places(arguments, stack)
        if arguments.restart and folder.exists():
            shutil.rmtree(folder)
        model = Model.load(bundle, tag, wanted=_wanted(read_job(folder)))
        job = _job(arguments, source, model)
        parts = stack.enter_context(Parts.open(folder, job, source.schema))
        bar = stack.enter_context(closing(_bar(parts.next_row)))
        for table in _judged(arguments, request, source, model, parts.next_row):
            parts.add(table)
            bar.total = source.expected_rows()
            bar.update(table.num_rows)
        counts = parts.merge(sink, rejected)
        parts.remove()
        return counts


def _judged(
    arguments: argparse.Namespace, request: Request, source: Source, model: Model, first_row: int
) -> Iterator[pa.Table]:
    if arguments.engine == LOCAL:
        prepare = partial(encoded, text=source.text, encoder=model.bundle.encoder, truncate=arguments.truncate)
        return all_judged(from_row(source.chunks(), first_row), prepare, model)
    workers = Workers(arguments.workers, arguments.worker_cpus, arguments.worker_gpus)
    wanted = replace(_wanted(_engine(model)), threads=workers.cpus)
    recipe = Recipe(model.bundle.folder.resolve(), model.tag, wanted, source.text, arguments.truncate)
    return judged_on_ray(request, first_row, recipe, workers)


def _places(arguments: argparse.Namespace, stack: ExitStack) -> tuple[Path | BinaryIO, Path, Path]:
    """Where verdicts, rejected rows and parts go. What comes from a pipe cannot be resumed, so its parts pass away."""
    if STANDARD in (arguments.input, arguments.output):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="score-"))) / "parts"
    else:
        folder = Path(f"{arguments.output}.parts")
    if arguments.output != STANDARD:
        output = Path(arguments.output)
        if arguments.input != STANDARD and output.resolve() == Path(arguments.input).resolve():
            raise TableError("OUT is IN; it would be overwritten")
        return output, arguments.rejected or Path(f"{output}.rejected.parquet"), folder
    if arguments.rejected is None:
        raise TableError("OUT is standard output; say with --rejected where rows go that cannot be judged")
    return sys.stdout.buffer, arguments.rejected, folder


def _job(arguments: argparse.Namespace, source: Source, model: Model) -> dict[str, Any]:
    """What all parts of a job have in common."""
    found = None if arguments.input == STANDARD else Path(arguments.input).stat()
    return {
        "input": str(arguments.input) if found is None else str(Path(arguments.input).resolve()),
        "input_bytes": found and found.st_size,
        "input_modified_ns": found and found.st_mtime_ns,
        "column": source.text,
        "truncate": arguments.truncate,
        "model_tag": model.tag,
        "bundle_digest": model.bundle.manifest.digest,
        **_engine(model),
    }


def _engine(model: Model) -> dict[str, Any]:
    """What decides an answer to its last bit, beside the model."""
    return {
        "engine": model.engine.name,
        "precision": model.engine.precision,
        **asdict(model.runner.schedule.cut),
    }


def _wanted(before: Mapping[str, Any] | None) -> Wanted:
    """What the environment asks for; what it leaves open is as it was ``before`` in the same job."""
    wanted = Settings.from_environment().wanted
    if before is None:
        return wanted
    engine, device = before["engine"].split("-")
    return Wanted(
        wanted.engine or engine,
        wanted.device or device,
        wanted.precision or before["precision"],
        wanted.threads,
        wanted.cut or Cut(before["batch_tokens"], before["call_tokens"]),
    )


def _bar(first_row: int) -> "tqdm[Any]":
    interval = 0.5 if sys.stderr.isatty() else 10.0
    return tqdm(initial=first_row, unit=" reviews", unit_scale=True, mininterval=interval, smoothing=0.05)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it is {text!r}; it must be a whole number from 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pipelines.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", metavar="IN", help="a table of reviews, or - for standard input")
    parser.add_argument("output", metavar="OUT", help="the Parquet file to write, or - for standard output")
    parser.add_argument("--column", help=f"which column holds the reviews; else the first of {', '.join(TEXT_COLUMNS)}")
    parser.add_argument("--format", choices=FORMATS, help="of IN, where its name does not say it")
    parser.add_argument("--encoding", default="utf-8", help="of CSV and TSV, for example cp949")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", help="a tag of the Bento model store; else what was packaged last")
    which.add_argument("--bundle", type=Path, help="a bundle's folder, instead of the store")
    parser.add_argument("--truncate", action="store_true", help="cut what is too long for the model, not reject it")
    parser.add_argument("--rejected", type=Path, help="where rows go that cannot be judged")
    parser.add_argument("--restart", action="store_true", help="forget what an interrupted job has done")
    parser.add_argument("--engine", choices=(LOCAL, RAY), default=LOCAL, help="ray: on RAY_ADDRESS, or started here")
    parser.add_argument("--workers", type=_at_least_one, default=2, help="with ray: how many")
    parser.add_argument("--worker-cpus", type=_at_least_one, default=1, help="with ray: threads of each")
    parser.add_argument("--worker-gpus", type=float, default=0.0, help="with ray: GPUs of each")
    return parser


def main() -> None:
    """Command line; see the module."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.engine == RAY and arguments.input == STANDARD:
        parser.error("--engine ray reads IN on a worker, so it cannot be standard input")
    rows, bad_rows = score(arguments)
    print(f"{rows:,} reviews judged, {bad_rows:,} rows rejected", file=sys.stderr)


if __name__ == "__main__":
    stage.run(main)
