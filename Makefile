# make app: install what is missing and start the lab. make test: the same for the tests, which start a hundred Pythons:
# none of them should compile the lab anew.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501

.PHONY: app install test test-slow soak lint figures clean

app: install
	@$(BIN)/streamlit run app.py --server.port $(PORT)

install: $(VENV)/.installed

$(VENV)/.installed: requirements.txt
	@echo "Installing what the lab needs; with torch for CUDA several GB, which takes minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	@touch $@

test: install lint
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist worksteal

test-slow: install
	$(BIN)/python -m pytest -m slow

soak: install
	$(BIN)/python -m benchmarks.soak

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

figures: install
	$(BIN)/python -m benchmarks.figures

clean:
	rm -rf $(VENV) static .mypy_cache .pytest_cache .ruff_cache
