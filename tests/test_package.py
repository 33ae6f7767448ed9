"""The wheel, installed where nothing else of the repository is."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import asr_ctc
from tests.helpers.command import REPOSITORY, environment

RECIPES = sorted(file.name for file in (REPOSITORY / "configs").glob("*.yaml"))


def requirements(file: str) -> list[str]:
    lines = (REPOSITORY / file).read_text(encoding="utf-8").splitlines()
    return [line.partition("#")[0].strip() for line in lines]


def test_the_package_needs_what_requirements_txt_does():
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    is_torch = re.compile("torch(audio)?[=>]").match
    needed = [line for line in requirements("requirements.txt") if not is_torch(line)]
    assert [line for line in project["dependencies"] if not is_torch(line)] == needed
    assert "torch>=2.11" in project["dependencies"]  # without a ceiling, which torchaudio has
    assert not any(line.startswith("torchaudio") for line in project["dependencies"])
    assert any("torchaudio" in line for line in project["optional-dependencies"]["pretrained"])
    assert project["optional-dependencies"]["dev"] == requirements("requirements-dev.txt")


def test_a_citation_names_this_version():
    citation = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {asr_ctc.__version__}\n" in citation


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources, without the network."""
    pytest.importorskip("setuptools", minversion="77")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("asr_ctc", "configs", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=ignored)
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / file, source)
    run("pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of commands of an environment that the wheel is installed in, with what this
    environment has beside it."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False)
    variables = {"base": str(folder), "platbase": str(folder)}
    commands, packages = (
        Path(sysconfig.get_path(name, scheme="venv" if os.name != "nt" else "nt", vars=variables))
        for name in ("scripts", "purelib")
    )
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    python = commands / Path(sys.executable).name
    run("pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    return commands


def run(*words) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", *map(str, words)], capture_output=True, encoding="utf-8"
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def ask(*words, cwd) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment(PYTHONPATH=""),
        capture_output=True,
        encoding="utf-8",
    )


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_recipes_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name == f"asr_ctc-{asr_ctc.__version__}-py3-none-any.whl"
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"asr_ctc", f"asr_ctc-{asr_ctc.__version__}.dist-info"}
    recipes = [f"asr_ctc/recipes/{name}" for name in RECIPES]
    assert sorted(name for name in names if name.endswith(".yaml")) == recipes
    assert "asr_ctc/py.typed" in names
    sources = (REPOSITORY / "asr_ctc").rglob("*.py")
    missing = {file.relative_to(REPOSITORY).as_posix() for file in sources} - set(names)
    assert missing == set()


@pytest.mark.slow
def test_the_installed_command_runs_in_any_folder(installed, tmp_path):
    by_name = ask(installed / "asr-ctc", "--help", cwd=tmp_path)
    python = installed / Path(sys.executable).name
    as_module = ask(python, "-m", "asr_ctc", "--help", cwd=tmp_path)
    assert by_name.returncode == as_module.returncode == 0, by_name.stderr + as_module.stderr
    assert by_name.stdout.startswith("usage: asr-ctc COMMAND [flags]\n")
    assert as_module.stdout.startswith("usage: python -m asr_ctc COMMAND [flags]\n")
    assert "train a model on a corpus" in by_name.stdout
    where = ask(python, "-c", "import asr_ctc; print(asr_ctc.__file__)", cwd=tmp_path).stdout
    assert Path(where).is_relative_to(installed.parent)


@pytest.mark.slow
@pytest.mark.parametrize("named", ["digits.yaml", "configs/digits.yaml"])
def test_the_installed_command_finds_its_recipes(installed, tmp_path, named):
    asked = ask(
        installed / "asr-ctc", "train", "--config", named, "--datasetroot", "none", cwd=tmp_path
    )
    assert asked.returncode == 2
    recipe = Path("recipes", "digits.yaml")
    assert f"--config {named}: using the recipe shipped with asr_ctc, " in asked.stderr
    assert str(recipe) in asked.stderr and "error: " in asked.stderr.splitlines()[-1]
    assert "--config" not in asked.stderr.splitlines()[-1]  # it is the corpus that is missing


@pytest.mark.slow
def test_the_installed_command_lists_its_recipes(installed, tmp_path):
    asked = ask(installed / "asr-ctc", "train", "--config", "digit.yaml", cwd=tmp_path)
    assert asked.returncode == 2
    assert asked.stderr.endswith(f"recipes shipped with asr_ctc: {', '.join(RECIPES)}\n")
