"""Modules of handlers are found by name, also in the current directory."""

import sys
from pathlib import Path

import pytest

from jobplane.worker import launch
from jobplane.worker.launch import ModuleNotThere


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_a_module_of_the_current_directory_is_imported(here: Path) -> None:
    (here / "my").mkdir()
    (here / "my" / "deeds.py").write_text("done = True\n")
    launch.import_handlers(["my.deeds"])
    assert sys.modules["my.deeds"].done is True


@pytest.mark.parametrize("name", ["nowhere", "nowhere.at.all", "json.nowhere"])
def test_a_module_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ModuleNotThere, match=f"there is no module '{name}' here"):
        launch.import_handlers([name])


def test_what_a_module_misses_itself_is_not_taken_for_the_module(here: Path) -> None:
    (here / "broken.py").write_text("import something_missing\n")
    with pytest.raises(ModuleNotFoundError, match="something_missing"):
        launch.import_handlers(["broken"])


def test_a_file_here_does_not_stand_for_an_installed_module(here: Path) -> None:
    (here / "colorsys.py").write_text("raise AssertionError\n")
    sys.modules.pop("colorsys", None)
    launch.import_handlers(["colorsys"])
    assert hasattr(sys.modules["colorsys"], "rgb_to_hsv")
