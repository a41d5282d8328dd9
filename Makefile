# The only vocabulary: people, hooks and CI call these targets. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKSPACE ?= .
PORT ?= 3000

export PATH := $(CURDIR)/$(BIN):$(PATH)
# usage statistics that the libraries would send home
export BENTOML_DO_NOT_TRACK := True
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true

LOCK := --quiet --generate-hashes --strip-extras --no-header --no-annotate --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install demo profile repro sweep compare serve key sign ui audit test test-fast test-e2e check docs-check bench bench-engine bench-training bench-serving bench-rollout chaos fuzz soak gpu-check image image-smoke sbom audit-packages tools lock clean

help: ## Show this list / 이 목록 보기
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PROFILE=compact|compact-crawl|demo|koelectra-base-v3|koelectra-small-v3   what repro trains"
	@echo "  NSMC_SOURCE=FOLDER|URL                                      where NSMC's files are taken from"
	@echo "  GRID=\"train.learning_rate=3e-4,5e-4 train.seed=1,2\"        what sweep tries, every combination"
	@echo "  A=3 B=champion                                              what compare compares (candidate, champion), JSON=1"
	@echo "  WORKSPACE=workspaces/demo   PORT=3000   HOST=0.0.0.0        what serve and ui show, and where"

install: $(READY) ## Set up .venv with locked packages / 가상 환경 설치

$(READY): requirements/dev.txt requirements/torch.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes --no-deps --requirement requirements/dev.txt
	@# what this build of torch needs beside the locked packages comes along: CUDA's libraries, or nothing
	$(INSTALL) --requirement requirements/torch.txt
	$(BIN)/python -m pip check
	@touch $@

demo: $(READY) ## The whole way on the own sample, then REST calls / 전체 과정 데모
	$(BIN)/python -m pipelines.demo

profile: $(READY) ## Write PROFILE's settings into params.yaml (FORCE=1 gives up edits) / 프로필 선택
	$(BIN)/python -m pipelines.profile $(PROFILE) $(if $(FORCE),--force)

repro: $(READY) ## Retrain what changed: dvc repro, with PROFILE if given / 변경된 단계 다시 실행
	$(if $(PROFILE),$(BIN)/python -m pipelines.profile $(PROFILE) $(if $(FORCE),--force))
	$(BIN)/dvc repro

sweep: $(READY) ## Try every combination of GRID as DVC experiments, by dev / 하이퍼파라미터 실험
	$(BIN)/python -m pipelines.sweep "$(GRID)"

compare: $(READY) ## Two versions A and B on the same test, or SHADOW=1 / 두 버전 비교
	@cd $(WORKSPACE) && python -m pipelines.compare $(or $(A),candidate) $(or $(B),champion) \
		$(if $(SHADOW),--shadow) $(if $(JSON),--json)

serve: $(READY) ## Serve the packaged champion on PORT / 서비스 실행
	$(BIN)/python -m pipelines.serve --workspace $(WORKSPACE) --port $(PORT) $(if $(HOST),--host $(HOST))

key: $(READY) ## API keys: OWNER=kim [SCOPES=predict,feedback,admin] [DAYS=90], REVOKE=ID, or all / API 키 관리
	@$(BIN)/python -m serving.access $(if $(OWNER),create $(OWNER) $(if $(SCOPES),--scopes $(SCOPES)) $(if $(DAYS),--days $(DAYS)),$(if $(REVOKE),revoke $(REVOKE),list))

sign: $(READY) ## Sign the packaged model, or TAG, with SIGNING_KEY / 모델 서명
	$(BIN)/python -m pipelines.sign $(TAG)

ui: $(READY) ## MLflow's UI on port 5000 / MLflow 화면
	cd $(WORKSPACE) && mkdir -p mlruns && mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlruns/mlflow.db}"

audit: $(READY) ## Verify the promotion log; AT=2026-11-23T14:00 says what was champion then / 승격 기록 검증
	$(BIN)/python -m pipelines.audit $(if $(AT),--at $(AT))

test: $(READY) tools ## All tests, those through real processes beside the others / 전체 테스트
	@$(MAKE) --no-print-directory --output-sync=target -j2 test-fast test-e2e

test-fast: $(READY) tools ## Tests without servers and pipelines / 빠른 테스트
	$(BIN)/python -m pytest -m "not e2e"

test-e2e: $(READY) tools ## Tests through real processes and a browser / 실제 프로세스 테스트
	$(BIN)/python -m pytest -m e2e

tools: ## What the tests run beside Python, where it is missing: Chromium, Prometheus, HAProxy / 테스트 도구 설치
	@missing=""; \
		for each in "$${CHROMIUM:-chromium}" chromium-browser google-chrome; do \
			command -v "$$each" >/dev/null && found=1; done; \
		[ -n "$$found" ] || missing="chromium fonts-nanum"; \
		command -v promtool >/dev/null || missing="$$missing prometheus"; \
		PATH="$$PATH:/usr/sbin" command -v haproxy >/dev/null || missing="$$missing haproxy"; \
		[ -n "$$missing" ] || exit 0; \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		$$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends $$missing

check: $(READY) ## ruff and mypy / 정적 검사
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs-check: $(READY) ## The documents: marks, links, both READMEs, and their commands, run / 문서의 명령과 링크 검사
	$(BIN)/python -m pytest tests/docs tests/e2e/test_docs.py

bench: $(READY) ## Benchmarks / 벤치마크
	$(BIN)/python -m benchmarks.path --workspace $(WORKSPACE)

bench-engine: $(READY) ## Engines beside plain transformers (SHAPE=compact,small,base) / 추론 엔진 비교
	$(BIN)/python -m benchmarks.engines $(if $(SHAPE),--shape $(SHAPE))

bench-training: $(READY) ## Our loop beside transformers' Trainer (SHAPE=compact|small) / 학습 속도 비교
	$(BIN)/python -m benchmarks.training --shape $(or $(SHAPE),compact)

bench-serving: $(READY) ## Our service beside others over HTTP (SHAPE=small,base) / 서비스 성능 비교
	$(BIN)/python -m benchmarks.serving $(if $(SHAPE),--shape $(SHAPE))

bench-rollout: $(READY) ## What a rollout costs those who are served / 모델 교체 비용
	$(BIN)/python -m benchmarks.rollout

chaos: $(READY) tools ## Faults under load: WHAT="hung killed workers-killed training-interrupted overload" / 장애 주입 시험
	$(BIN)/python -m tests.chaos $(WHAT)

fuzz: $(READY) ## Mutated requests over HTTP: COUNT=1000000 / 변형된 요청 시험
	$(BIN)/python -m tests.fuzz $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED))

soak: $(READY) ## Half an hour of load, rollouts, new keys and a Redis that dies: MINUTES=30 / 장시간 시험
	$(BIN)/python -m tests.soak $(if $(MINUTES),--minutes $(MINUTES))

gpu-check: $(READY) ## Whether a GPU trains like a CPU, and how fast / GPU 점검
	$(BIN)/python -m benchmarks.gpu_check

image: $(READY) ## The container of the packaged model (GPU=1, WORKSPACE, NAME) / 컨테이너 이미지 만들기
	$(BIN)/python -m deploy.image --workspace $(WORKSPACE) $(if $(GPU),--gpu) $(if $(NAME),--name $(NAME))

image-smoke: $(READY) ## Build the demo's container and try it for real / 컨테이너 시험
	@test -d workspaces/demo/artifacts || $(MAKE) --no-print-directory demo
	$(BIN)/python -m deploy.smoke

sbom: $(READY) ## What is in the image, as CycloneDX (WORKSPACE, IMAGE, OUT) / 이미지의 소프트웨어 명세서
	$(BIN)/python -m deploy.sbom --workspace $(WORKSPACE) $(if $(IMAGE),--image $(IMAGE)) $(if $(OUT),--out $(OUT))

audit-packages: $(READY) ## Known vulnerabilities of what is locked (SERVICE=pypi|osv) / 패키지 취약점 검사
	$(BIN)/python -m deploy.vulnerabilities $(if $(SERVICE),--service $(SERVICE))

lock: $(READY) ## Lock requirements/*.txt again, with hashes, from pyproject.toml / 의존성 고정
	pip-compile $(LOCK) --extra dev --output-file requirements/dev.txt pyproject.toml
	pip-compile $(LOCK) --extra train --constraint requirements/dev.txt --output-file requirements/train.txt pyproject.toml
	pip-compile $(LOCK) --extra serve --constraint requirements/dev.txt --output-file requirements/serve.txt pyproject.toml
	@# torch has a file of its own; the project itself runs from its folder, which pip-compile names with a warning
	sed -i '/^torch==/,/[^\\]$$/d; /^nsmc-sentiment @ /d; /^#/d; /^$$/d' \
		requirements/dev.txt requirements/train.txt requirements/serve.txt
	rm -rf build *.egg-info

clean: ## Remove .venv, caches and the demo; artifacts, mlruns and models stay / 정리
	rm -rf $(VENV) .cache workspaces .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
