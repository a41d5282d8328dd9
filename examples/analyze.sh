#!/bin/sh
# The REST service with curl: one review, several, an error, health.
# curl로 쓰는 REST 서비스: 리뷰 하나, 여러 개, 오류, 상태 확인.
#
#   sh examples/analyze.sh
#   SENTIMENT_URL=https://example.org SENTIMENT_API_KEY=... sh examples/analyze.sh
set -eu

url="${SENTIMENT_URL:-http://localhost:3000}"
base="${url%/}/api/v1/sentiment"

# curl, as each call needs it. It waits and tries again by itself on 429, 503 and the like, and honours Retry-After.
# The key, if there is one, goes in through standard input: arguments are visible to every user of the machine.
# 공통 옵션: 429·503 등에서는 Retry-After를 지켜 다시 시도합니다. 키는 프로세스 목록에 보이지 않게 표준 입력으로 넘깁니다.
ask() {
  if [ -n "${SENTIMENT_API_KEY:-}" ]; then
    printf 'header = "Authorization: Bearer %s"\n' "$SENTIMENT_API_KEY"
  fi | curl --config - --silent --show-error --connect-timeout 2 --max-time 10 \
    --retry 3 --retry-connrefused --retry-max-time 30 --header 'Content-Type: application/json' "$@"
  echo
}

echo '# one review, with the probabilities / 리뷰 하나, 확률 포함'
ask --fail-with-body "$base/analyze" \
  --data '{"text": "이 영화 정말 재미있어요! 강력 추천합니다.", "return_probabilities": true}'

echo '# several, in the order of the request / 여러 개, 요청 순서대로'
ask --fail-with-body "$base/batch" \
  --data '{"texts": ["정말 최고의 영화였어요!", "시간 낭비였습니다.", "그냥 그래요."]}'

echo '# a request that is refused: the problem names the field / 거절되는 요청: 문제가 된 필드를 알려 줍니다'
ask "$base/analyze" --header 'X-Request-ID: my-request-1' --write-out '\nHTTP %{http_code}, %{content_type}' \
  --data '{"text": "<br>"}'

echo '# whether the service is well, and what model is live / 서비스 상태와 현재 모델'
ask --fail-with-body "$base/health"
ask --fail-with-body "$base/model-info"
