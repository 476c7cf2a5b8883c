"""Whether streams and consumers are as they are declared, and how full they are."""

from typing import Final

from jobplane.chassis import streams
from jobplane.cli.doctor.asking import api
from jobplane.cli.doctor.finding import Area, Finding
from jobplane.cli.doctor.servers import Servers
from jobplane.contracts.topology import CONSUMERS, EVT_HEALTH, MIB, STREAMS, ConsumerSpec, StreamSpec

_AREA: Final = Area("topology")
_RESERVED: Final = frozenset({EVT_HEALTH})
"""Declared, but nobody makes it yet."""
_WARN_PERCENT: Final = 80.0
_FAIL_PERCENT: Final = 95.0


async def check(servers: Servers) -> list[Finding]:
    """All that is declared."""
    found: list[Finding] = []
    for spec in STREAMS:
        differences = await streams.differences(servers.bus, spec)
        if differences is None and spec.name in _RESERVED:
            continue
        found.append(stream(spec, differences))
        if differences is not None:
            found += await _fill(servers, spec)
    for consumer in CONSUMERS:
        found.append(durable(consumer, await streams.differences(servers.bus, consumer)))
    return found


def stream(spec: StreamSpec, differences: dict[str, str] | None) -> Finding:
    """What is different from the declaration."""
    name = f"stream {spec.name}"
    if differences is None:
        return _AREA.failure(name, "does not exist", f"Start the service {spec.owner}: it makes the stream.")
    if not differences:
        return _AREA.ok(name, "as declared")
    says = "; ".join(f"{key} is {text}" for key, text in differences.items())
    fatal = [key for key in streams.FATAL if key in differences]
    if fatal:
        advice = f"Correct it (nats stream edit {spec.name}): the service {spec.owner} does not start with it."
        return _AREA.failure(name, says, advice)
    return _AREA.warning(name, says, f"Correct it (nats stream edit {spec.name}), unless you mean it so.")


def durable(spec: ConsumerSpec, differences: dict[str, str] | None) -> Finding:
    """What is different from the declaration."""
    name = f"consumer {spec.stream}/{spec.name}"
    if differences is None:
        return _AREA.failure(name, "does not exist", "Restart the service that owns it: it makes the consumer.")
    if not differences:
        return _AREA.ok(name, "as declared")
    says = "; ".join(f"{key} is {text}" for key, text in differences.items())
    return _AREA.warning(
        name, says, f"Correct it (nats consumer edit {spec.stream} {spec.name}), unless you mean it so."
    )


async def _fill(servers: Servers, spec: StreamSpec) -> list[Finding]:
    if spec.max_bytes <= 0:
        return []
    info = await api(servers.bus, f"STREAM.INFO.{spec.name}")
    return [fill(spec, info["state"]["bytes"])]


def fill(spec: StreamSpec, size: int) -> Finding:
    """How full a stream is; one that is a replica of a journal may be full, it then drops its oldest events."""
    name = f"size of {spec.name}"
    percent = 100 * size / spec.max_bytes
    says = f"{size / MIB:,.1f} of {spec.max_bytes / MIB:,.0f} MiB ({percent:.0f} %)"
    if spec.journal:
        return _AREA.ok(name, says)
    advice = (
        "Find out why nobody takes what is in it: when it is full, commands are refused."
        if spec.discard_new
        else "Read what is in it, and mend its cause: when it is full, the oldest messages are dropped."
    )
    return _AREA.measured(name, percent, says, advice, warn=_WARN_PERCENT, fail=_FAIL_PERCENT)
