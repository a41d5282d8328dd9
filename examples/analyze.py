"""The REST service with the Python client (``pip install ./client``): one review, several, a CSV file of any length.

파이썬 클라이언트 예제: 리뷰 하나, 여러 개, 그리고 길이 제한 없는 CSV 파일.

    python examples/analyze.py
    python examples/analyze.py reviews.csv --column document > scored.csv

SENTIMENT_URL names the service (http://localhost:3000), SENTIMENT_API_KEY the key, if it wants one.
SENTIMENT_URL은 서비스 주소, SENTIMENT_API_KEY는 (필요하면) 키입니다.
"""

import argparse
import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from nsmc_sentiment import RequestRejected, SentimentClient, SentimentError


def show(client: SentimentClient) -> None:
    """One review, several, and a request that is refused. / 리뷰 하나, 여러 개, 거절되는 요청."""
    verdict = client.analyze("이 영화 정말 재미있어요! 강력 추천합니다.", probabilities=True)
    print(verdict.sentiment, verdict.score, verdict.probabilities)

    for verdict in client.batch(["정말 최고의 영화였어요!", "시간 낭비였습니다.", "그냥 그래요."]):
        print(verdict.sentiment, verdict.score, verdict.text)

    try:
        client.analyze("<br>")
    except RequestRejected as error:  # sent again, it would be refused again / 다시 보내도 거절됩니다
        print(error.status, error.type, error.field, error.request_id)


def reviews(path: Path, column: str) -> Iterator[str]:
    """The reviews of a CSV file, read as they are needed; empty ones are left out. / 조금씩 읽고 빈 행은 뺍니다."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if row[column] and row[column].strip():
                yield row[column]


def score(client: SentimentClient, path: Path, column: str) -> None:
    """Write text, sentiment and score as CSV. Several requests are under way at a time, and the order stays.

    여러 요청을 동시에 보내지만 결과는 입력 순서대로 나옵니다.
    """
    writer = csv.writer(sys.stdout)
    writer.writerow([column, "sentiment", "score"])
    for verdict in client.analyze_all(reviews(path, column), truncate=True):
        writer.writerow([verdict.text, verdict.sentiment, verdict.score])


def main() -> None:
    """Ask the service; what it cannot do ends the program with one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, nargs="?", help="a CSV file with a header / 헤더가 있는 CSV 파일")
    parser.add_argument("--column", default="document", help="the column of the reviews (document) / 리뷰가 있는 열")
    arguments = parser.parse_args()
    url = os.environ.get("SENTIMENT_URL", "http://localhost:3000")
    try:
        with SentimentClient(url, api_key=os.environ.get("SENTIMENT_API_KEY")) as client:
            if arguments.csv:
                score(client, arguments.csv, arguments.column)
            else:
                show(client)
    except SentimentError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
