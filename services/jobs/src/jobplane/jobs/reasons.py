"""Which commands of people need a reason: a policy of the installation, enforced where commands are decided."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self, get_args

from jobplane.contracts.actors import HUMAN_KINDS, Actor
from jobplane.contracts.commands import AnyCommand, EditJob
from jobplane.jobs.decisions import Rejected

EDIT_PAYLOAD: Final = "edit_payload"
DEFAULT: Final = EDIT_PAYLOAD
KNOWN: Final = frozenset({EDIT_PAYLOAD, *(command.model_fields["type"].default for command in get_args(AnyCommand))})
"""What a policy may name: every verb, and edits of payloads by themselves."""

REASON_REQUIRED: Final = Rejected(
    "reason_required", "This needs a reason here: say in your words why it is done, it is kept in the audit log."
)


@dataclass(frozen=True, slots=True)
class ReasonPolicy:
    """The verbs that need a reason."""

    verbs: frozenset[str]

    @classmethod
    def of(cls, verbs: Iterable[str]) -> Self:
        """The policy for some verbs; none at all is fine.

        Raises:
            ValueError: nothing is done with such a verb.
        """
        wanted = frozenset(verb.strip() for verb in verbs) - {""}
        if unknown := sorted(wanted - KNOWN):
            raise ValueError(f"unknown: {', '.join(unknown)}; there are {', '.join(sorted(KNOWN))}")
        return cls(wanted)

    def misses(self, command: object, actor: Actor, reason: str | None) -> bool:
        """Whether a person asks for this without the reason that it needs; programs and the system give none."""
        edits_payload = isinstance(command, EditJob) and command.payload is not None
        verbs = (getattr(command, "type", ""), *([EDIT_PAYLOAD] if edits_payload else []))
        return any(self.misses_for(verb, actor, reason) for verb in verbs)

    def misses_for(self, verb: str, actor: Actor, reason: str | None) -> bool:
        """The same for a verb, e.g. what a bulk operation does to each of its jobs."""
        return verb in self.verbs and actor.kind in HUMAN_KINDS and not (reason or "").strip()


BY_DEFAULT: Final = ReasonPolicy.of([DEFAULT])
