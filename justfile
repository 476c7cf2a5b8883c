# The recipes of everyday work; `just` alone lists them. Everything runs from .venv (`./jobplane install --dev` makes it).

set shell := ["sh", "-euc"]

bin := justfile_directory() / ".venv/bin"
members := "common worker cli jobs audit health gateway images"

# list the recipes
default:
    @{{bin}}/just --list --unsorted

# format, lint, types, layering, dependencies and compose file: everything that needs no server
check:
    @{{bin}}/python tools/check.py

# rewrite the code in the one format, and fix what ruff can fix
format:
    {{bin}}/ruff check --fix-only .
    {{bin}}/ruff format .

# every check and every test, as CI runs them
test *arguments:
    ./jobplane test {{arguments}}

# rules without servers
unit *arguments:
    {{bin}}/pytest tests/unit tests/contracts {{arguments}}

# one service at a time against a real PostgreSQL and nats-server
integration *arguments:
    {{bin}}/pytest tests/integration {{arguments}}

# the whole platform as real processes
system *arguments:
    {{bin}}/pytest tests/system {{arguments}}

# break a platform in every way it promises to survive, for about 15 minutes (options: `just chaos --help`)
chaos *arguments="--parallel 2 --minutes 15 --seeds 1..99":
    {{bin}}/python -m tests.chaos {{arguments}}

# the jobs service under a deterministic scheduler, seed by seed (options: `just sim --help`)
sim *arguments="--seeds 1..100000 --minutes 10":
    {{bin}}/python -m tests.simulation {{arguments}}

# the jobs service against a model, history by history: 1000 of them take some minutes
machine histories="1000":
    JOBPLANE_MACHINE_EXAMPLES={{histories}} {{bin}}/pytest -s tests/machine

# the console in a real browser
e2e *arguments:
    {{bin}}/pytest tests/e2e {{arguments}}

# renew requirements*.lock: third-party packages with hashes, kept at their versions unless --upgrade is given
lock *arguments:
    {{bin}}/python tools/lock.py {{arguments}}

# build the console's stylesheet and icons from services/gateway/static_src
css:
    {{bin}}/python tools/console_css.py

# documents that are generated from the code
docs:
    {{bin}}/python -m jobplane.jobs.state_machine

# run the platform here (options as `./jobplane up --help` lists them)
up *arguments:
    ./jobplane up {{arguments}}

# measure: beside the machine's raw limits and, if `uv pip install --group bench-peers` was run, beside peers
bench *arguments:
    {{bin}}/python -m tests.bench {{arguments}}

# what depends on how many jobs there are: 10⁴ beside 10⁶, about half an hour the first time
scale *arguments:
    {{bin}}/python -m tests.bench.scale {{arguments}}

# kill -9 three times in the middle of a bulk operation on 20,000 jobs: a minute or two
bulk-kill:
    {{bin}}/pytest tests/chaos/bulk_kill.py

# work for an hour at half of what the machine can, and see what grows
soak *arguments="--minutes 60 --load 0.5":
    {{bin}}/python -m tests.bench.scale.soak {{arguments}}
