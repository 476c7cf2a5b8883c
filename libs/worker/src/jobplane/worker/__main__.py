"""`python -m jobplane.worker`: a worker process, configured by the environment. Importing it starts nothing."""

from jobplane.chassis.settings import load
from jobplane.worker.launch import run
from jobplane.worker.settings import WorkerSettings


def main() -> None:
    """Settings from the environment; handlers from ``JOBPLANE_WORKER_MODULES``."""
    settings = load(WorkerSettings)
    run(settings.worker_modules, settings)


if __name__ == "__main__":
    main()
