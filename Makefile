# Everything runs in .venv, which the first target that needs it makes. It is installed again only if pyproject.toml changes.
.PHONY: run test validate docs lint clean
.DELETE_ON_ERROR:

BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
export PYTHON

run: .venv/run ## fit the flagship, print its table, write out/star_class_size/
	$(BIN)/bayeshte run star_class_size

test: .venv/test ## the fast tests: minutes, no network
	$(BIN)/python -m pytest -n 2 -m "not slow"

validate: .venv/test ## the slow tests: calibration, references; writes docs/validation.md
	$(BIN)/python -m pytest -m slow
	if [ -f tests/validate.py ]; then $(BIN)/python tests/validate.py; fi

docs: .venv/dev ## the documentation, into site/
	$(BIN)/mkdocs build --strict

lint: .venv/dev ## style and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

clean: ## remove what the other targets made, out/ excepted
	rm -rf .venv site .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find bayeshte models tests -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@python=$$(sh .ci/python) && echo "Making .venv with $$python" && "$$python" -m venv .venv

# One mark for each set of extras; a larger set stands for the smaller ones.
.venv/run: pyproject.toml | .venv/bin/python
	@echo "Installing bayeshte and its dependencies"
	@$(PIP) -e . && touch $@

.venv/test: pyproject.toml | .venv/bin/python
	@echo "Installing bayeshte, its dependencies and the test tools"
	@$(PIP) -e '.[test]' && touch .venv/run $@

.venv/dev: pyproject.toml | .venv/bin/python
	@echo "Installing bayeshte, its dependencies and all tools"
	@$(PIP) -e '.[dev]' && touch .venv/run .venv/test $@
