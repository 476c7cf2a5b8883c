"""`jobplane` commands, run in this process: a hundred cost what one process would."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobplane.cli import main


@dataclass(frozen=True, slots=True)
class Said:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document it printed."""
        return json.loads(self.out)


@dataclass(slots=True)
class CommandLineOf:
    """Runs commands in this process against one platform."""

    data: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Said:
        """Run one; nobody sits at a terminal."""
        before = arguments.index("--") if "--" in arguments else len(arguments)
        named = [*arguments[:before], "--data", str(self.data), *arguments[before:]]
        self.monkeypatch.setattr("sys.argv", ["jobplane", *named])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main.main()
        printed = self.capsys.readouterr()
        return Said(end.value.code if isinstance(end.value.code, int) else 0, printed.out, printed.err)
