"""The example workload: importing it declares the handlers of `image.metadata`, `image.thumbnail`, `image.convert`."""

from jobplane.images import workload as workload
