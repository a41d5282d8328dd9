"""Take NSMC's two files from their source, and make sure that they are the published ones."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import aiohttp
import fsspec
import pyarrow
import pyarrow.parquet
from tqdm import tqdm

from data.crawl import RatedReview, digest, rated, read_folder
from data.errors import FormatError
from data.files import sha256, writing
from pipelines import artifacts, stage
from pipelines.errors import SourceError, WrongFile
from pipelines.params import Crawl, FeedbackSource, Params, SourceFile
from pipelines.votes import Collected, read, write

SOURCE_VARIABLE, CRAWL_VARIABLE, FEEDBACK_VARIABLE = "NSMC_SOURCE", "NSMC_CRAWL", "NSMC_FEEDBACK"
CRAWL_SCHEMA = pyarrow.schema(
    [("id", pyarrow.string()), ("text", pyarrow.string()), ("stars", pyarrow.int64()), ("date", pyarrow.string())]
)
DOWNLOADS = artifacts.CACHE / "fetch"
CHUNK_BYTES = 1 << 20
ATTEMPTS = 4
FIRST_PAUSE_S = 0.5
SILENCE_LIMIT_S = 30.0
WAYS_OUT = (
    f"Ways out: go online; set {SOURCE_VARIABLE} to a folder or URL that holds the files "
    f"(make repro {SOURCE_VARIABLE}=../nsmc); or choose the profile that brings its own data (make demo)."
)


def fetch_file(source: str, file: SourceFile, target: Path, downloads: Path = DOWNLOADS) -> None:
    """Bring ``file`` from ``source``, a folder or fsspec URL, to ``target``.

    It is downloaded into ``downloads`` under the name of its digest. What was had before an interruption is continued
    there, where the source allows it; a whole file is never downloaded again. Raises WrongFile for a file of another
    size or SHA-256, and SourceError where the source does not answer; ``target`` is then left as it was.
    """
    whole, partial = downloads / file.sha256, downloads / f"{file.sha256}.part"
    if not (whole.exists() and sha256(whole) == file.sha256):
        downloads.mkdir(parents=True, exist_ok=True)
        _fetch(source, file, partial)
        partial.replace(whole)
    with writing(target) as temporary:
        shutil.copyfile(whole, temporary)


def _fetch(source: str, file: SourceFile, partial: Path) -> None:
    """Download into ``partial`` until it is the published file."""
    url = f"{source.rstrip('/')}/{file.name}"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _download(url, file, partial)
            break
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError, ImportError) as error:
            # fsspec says "not found" for every failure of HTTP and keeps the true one as its cause
            reason = error.__cause__ or error
            if attempt == ATTEMPTS or not _may_pass(reason):
                had = partial.stat().st_size if partial.exists() else 0
                kept = f"{had:,} of {file.bytes:,} bytes are here and will be continued. " if had else ""
                raise SourceError(
                    f"{url} cannot be read: {type(reason).__name__}: {reason}. {kept}{WAYS_OUT}"
                ) from error
            time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
    found = sha256(partial)
    if found != file.sha256:
        size = partial.stat().st_size
        partial.unlink()
        raise WrongFile(
            f"{url} is not the published file: expected {file.bytes:,} bytes with SHA-256 {file.sha256}, "
            f"got {size:,} bytes with SHA-256 {found}"
        )


def _download(url: str, file: SourceFile, partial: Path) -> None:
    """Append to ``partial`` what is missing. Raises WrongFile for a size that cannot be right."""
    filesystem, path = fsspec.core.url_to_fs(url, **_http_limits(url))
    size = filesystem.info(path).get("size")
    if size is not None and size != file.bytes:
        raise WrongFile(
            f"{url} is not the published file: expected {file.bytes:,} bytes with SHA-256 {file.sha256}, "
            f"got {size:,} bytes"
        )
    offset = partial.stat().st_size if partial.exists() else 0
    with filesystem.open(path, "rb") as remote:
        offset = _skip(remote, offset)
        with (
            partial.open("r+b" if offset else "wb") as local,
            tqdm(total=file.bytes, initial=offset, unit="B", unit_scale=True, desc=file.name, leave=False) as bar,
        ):
            local.truncate(offset)
            local.seek(offset)
            # one byte beyond the expected size is enough to know that the file is wrong
            while local.tell() <= file.bytes and (chunk := remote.read(CHUNK_BYTES)):
                local.write(chunk)
                bar.update(len(chunk))
            had = local.tell()
    if had < file.bytes and size is not None:
        raise OSError(f"the connection ended after {had:,} bytes")


def _http_limits(url: str) -> dict[str, Any]:
    """Time limits for HTTP, which has none of its own: a server that falls silent counts as gone."""
    if not url.startswith(("http://", "https://")):
        return {}
    return {
        "client_kwargs": {"timeout": aiohttp.ClientTimeout(sock_connect=SILENCE_LIMIT_S, sock_read=SILENCE_LIMIT_S)}
    }


def _may_pass(reason: BaseException) -> bool:
    """Whether the same call may go through later."""
    if isinstance(reason, aiohttp.ClientResponseError):
        return reason.status >= 500 or reason.status in (408, 429)
    return isinstance(reason, (aiohttp.ClientError, ConnectionError, TimeoutError)) or type(reason) is OSError


def _skip(remote: Any, offset: int) -> int:
    """Move to ``offset``, or stay at 0 where the source cannot seek; says where it is."""
    try:
        return int(remote.seek(offset))
    except (ValueError, OSError, NotImplementedError):
        return 0


def read_crawl(crawl: Crawl) -> list[RatedReview]:
    """The crawl's reviews, none where no crawl is wanted. Raises SourceError, FormatError or WrongFile."""
    source = os.environ.get(CRAWL_VARIABLE) or crawl.source
    if source is None and crawl.sha256 is None:
        return []
    path = Path(source or "")
    if source is None or not path.exists():
        raise SourceError(
            f"fetch.crawl.source is {source!r}, which is not there; set {CRAWL_VARIABLE} to the folder raw/ of NSMC's "
            "repository, or to a Parquet table with the columns id, document, rating and date"
        )
    if path.is_dir():
        reviews = list(read_folder(path))
    else:
        try:
            rows = pyarrow.parquet.read_table(path, columns=["id", "document", "rating", "date"]).to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise FormatError(f"{path.name} is not a table of rated reviews: {error}") from error
        reviews = [rated(row, f"{path.name} row {number}") for number, row in enumerate(rows)]
    found = digest(reviews)
    if crawl.sha256 not in (None, found):
        raise WrongFile(
            f"{path} does not hold the crawl's pinned rows: expected SHA-256 {crawl.sha256}, got {found} "
            f"over {len(reviews):,} reviews; set fetch.crawl.sha256 in params.yaml to that, or to null, to take them"
        )
    return reviews


def write_crawl(reviews: list[RatedReview], target: Path) -> None:
    """Write ``reviews``, possibly none, as a table of id, text, stars and date."""
    columns = {name: [getattr(review, name) for review in reviews] for name in ("id", "text", "stars", "date")}
    with writing(target) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(columns, schema=CRAWL_SCHEMA), temporary)


def read_feedback(feedback: FeedbackSource) -> list[Collected]:
    """The callers' votes, none where none are wanted. Raises SourceError, TableError or WrongFile."""
    source = os.environ.get(FEEDBACK_VARIABLE) or feedback.source
    if source is None and feedback.sha256 is None:
        return []
    path = Path(source or "")
    if source is None or not path.is_file():
        raise SourceError(
            f"fetch.feedback.source is {source!r}, which is no file; set {FEEDBACK_VARIABLE} to the table that "
            "`python -m pipelines.feedback` wrote"
        )
    votes, found = read(path), sha256(path)
    if feedback.sha256 not in (None, found):
        raise WrongFile(
            f"{path} is not the pinned table: expected SHA-256 {feedback.sha256}, got {found}; set "
            "fetch.feedback.sha256 in params.yaml to that, or to null, to take it"
        )
    return votes


def main() -> None:
    """Stage fetch."""
    settings = Params.load().fetch
    votes = read_feedback(settings.feedback)
    write(votes, artifacts.FEEDBACK_FILE)
    if votes:
        print(f"{artifacts.FEEDBACK_FILE}: {len(votes):,} votes")
    crawl = read_crawl(settings.crawl)
    write_crawl(crawl, artifacts.CRAWL_FILE)
    if crawl:
        print(f"{artifacts.CRAWL_FILE}: {len(crawl):,} rated reviews, SHA-256 {digest(crawl)}")
    source = os.environ.get(SOURCE_VARIABLE) or settings.source
    for file, target in ((settings.train, artifacts.TRAIN_FILE), (settings.test, artifacts.TEST_FILE)):
        fetch_file(source, file, target)
        print(f"{target}: {file.bytes:,} bytes, SHA-256 {file.sha256}")


if __name__ == "__main__":
    stage.run(main)
