"""What a refusal of each code looks like, for the documentation; answers come from whoever refuses."""

from collections.abc import Mapping
from typing import Any, Final

SENTENCES: Final[Mapping[str, str]] = {
    "malformed_request": "Content-Length is not a number.",
    "unauthenticated": "Log in first: POST /api/admin/session, or show a bearer of POST /api/admin/token.",
    "invalid_credentials": "Name or password is wrong.",
    "forbidden": "This needs the role ADMIN.",
    "cross_site": "Another site made this request. Open the console itself and do it there.",
    "host_not_allowed": "This server does not answer for that host name. See JOBPLANE_PUBLIC_URL.",
    "not_found": "There is nothing at this address.",
    "job_not_found": "There is no such job: check the id, or look the job up in the list of jobs.",
    "queue_not_found": "No job was ever in a queue of that name, and nobody controlled it: look at the list of queues.",
    "command_not_found": "No outcome is known for this command: check its id, or ask again while it is pending.",
    "error_group_not_found": "Nothing failed so within 90 days: look the group up in the list of error groups.",
    "asset_not_found": "There is no such file.",
    "thumbnail_not_found": "There is no thumbnail yet: a job image.thumbnail makes it.",
    "dead_letter_not_found": "There is no such dead letter: it was replayed or discarded, or is too old.",
    "method_not_allowed": "POST is not possible here.",
    "job_not_failed": "Only a failed job can be retried: wait until this one has failed, or create a new job.",
    "job_not_pending": "Only a pending job can be started: look at its status, it runs already or is finished.",
    "job_finished": "The job is finished, so there is nothing left to cancel: create or retry a job to run it again.",
    "job_not_cancelled": "Only a cancelled job can be restored: look at its status, nothing was cancelled here.",
    "job_not_editable": "Only a pending or failed job can be edited: restore a cancelled one first, clone any other.",
    "payload_erased": "The payload of this job was erased: give the copy one of its own.",
    "job_archived": "The job was archived: its history is still there, copy it if it should run again.",
    "nothing_to_change": "The job is like that already: give at least one value that is another than now.",
    "max_attempts_too_low": "So many attempts are used already: allow more than that, or leave the number as it is.",
    "job_not_due": "The job waits for its time: wait until it is due, or force it to run now.",
    "job_exists": "A job with this id exists already: choose a new id for a new job.",
    "unique_key_taken": "Another job that waits or runs holds the unique key: wait for that job, or cancel it first.",
    "not_a_token": "This request shows a session, not a token. DELETE /api/admin/session ends it.",
    "stop_pending": "Its worker has not said yet whether it stopped: wait until that is settled, then restore the job.",
    "already_paused": "It is paused already: resume it first, or leave it as it is.",
    "not_paused": "It is not paused: there is nothing to resume.",
    "command_expired": "The command was not decided in time: look at the job, then send it again if still wanted.",
    "not_replayable": "It holds no whole command, and names no event that could not be read.",
    "still_unreadable": "It still cannot be read: mend the sender and have it sent anew, or discard this one.",
    "replay_failed": "It failed again and stays: the log of the jobs service says why.",
    "version_conflict": "The job has changed since you looked at it: look again, then decide.",
    "payload_too_large": "The body is larger than 1048576 bytes.",
    "unsupported_media_type": "Send the body as application/json.",
    "invalid_request": "priority: write at most 1000.",
    "invalid_cursor": "This cursor is of another search: leave it out, or ask as the page before did.",
    "invalid_query": 'The query cannot be understood: there is no key "stats": did you mean "status"?',
    "field_redacted": 'Values below "password" are redacted and cannot be searched: leave this condition out.',
    "sort_too_broad": "More than 10000 jobs match, too many to sort by priority: narrow the search.",
    "invalid_command": "The command cannot be read: it comes from another version, send it anew.",
    "idempotency_key_reused": "This Idempotency-Key was used for another request: take a fresh key for a new request.",
    "reason_required": "This needs a reason here: say in your words why it is done, it is kept in the audit log.",
    "run_at_too_far": "The time is more than ten years away: choose an earlier one, or leave it out to run at once.",
    "unknown_asset": "There is no uploaded file of that id: POST it to /api/admin/assets first.",
    "operation_not_found": "There is no such operation: check the id, or look it up in the list of operations.",
    "operation_not_planned": "Only an operation that is planned can be run: look at its status.",
    "operation_not_running": "Only what runs, or is planned to run at once, can be paused: look at its status.",
    "operation_not_paused": "Only an operation that is paused can be resumed: look at its status.",
    "operation_not_ended": "The operation still runs: wait for its end, or stop it first, then undo it.",
    "operation_ended": "The operation has ended already: look at what it did, or undo it.",
    "operation_exists": "An operation with this id exists already: choose a new id for a new one.",
    "not_your_plan": "Somebody else made this plan: make one of your own, or ask a superadmin to run it.",
    "plan_expired": "The plan is older than a day: make a new one.",
    "plan_drifted": "The jobs that fit the filter have changed too much since it was planned: make a new plan.",
    "plan_mismatch": "The plan is to do something else to its jobs: give its action, or the plan of this one.",
    "plan_required": "Only a plan can drift: give its id as plan, or leave max_drift out.",
    "plan_failed": "It could not be planned, however often it was tried: ask again, or tell an operator.",
    "already_undone": "Its undo has run, or is about to: look at what that put back; undo that one to do it again.",
    "not_undoable": "A run that was forced cannot be taken back: the jobs were put before all others at once.",
    "nothing_to_undo": "The operation changed no job, so there is nothing to take back.",
    "selector_required": "Say which jobs: give ids or a filter.",
    "selector_ambiguous": "Say in one way which jobs: give ids or a filter, not both.",
    "edit_required": "Say what to change: give at least one of queue, priority, run_at and max_attempts.",
    "edit_not_allowed": "Only the action edit changes jobs: leave edit out, or choose that action.",
    "payload_redacted": (
        'This payload has "[redacted]" where a secret belongs, as people see it: '
        "write the secret there, or reveal it first."
    ),
    "payload_not_in_bulk": "Payloads are changed one by one: leave payload out.",
    "rate_limited": "Too many requests. Try again in 7 s.",
    "internal_error": "Something went wrong here, not with your request. Quote the trace id when you report it.",
    "unavailable": "The jobs service does not answer: try again.",
    "not_accepted": "Nobody confirmed that the command is kept: send it again with the same Idempotency-Key.",
    "position_not_reached": "The journal ends at position 4711: give the position that an answer told.",
    "as_of_in_the_future": "Here it is 2026-11-22T12:00:00Z: give an instant that is over, or leave as_of out.",
    "index_behind": "The index of the search is 120 events behind: try again, or leave it out.",
    "search_too_slow": "This search would have to look at too many jobs: name a status, queue, kind or time.",
    "journal_diverged": "Writes are halted, because the database is older than the bus: see docs/operations.md.",
}
"""By its code; a test holds them to be all there are."""

SAME_LIMITS: Final = "It has exactly these limits already: ask for other ones."
"""`nothing_to_change` of a queue or kind."""

FACTS: Final[Mapping[str, dict[str, Any]]] = {
    "job_not_failed": {"job_id": "01920a3c-7f00-7a00-8000-0123456789ab", "job_status": "RUNNING", "version": 12},
    "version_conflict": {
        "version": 12,
        "changed_by": {"id": "01920a3c-0000-7000-8000-000000000001", "kind": "user"},
        "changed_by_name": "anna",
        "changed_at": "2026-11-22T12:00:00.123456+00:00",
        "position": 4711,
    },
    "plan_mismatch": {"operation_status": "planned", "planned_action": "cancel"},
    "already_undone": {"operation_status": "done", "undone_by": "01920a40-0000-7000-8000-00000000b01d"},
    "plan_drifted": {"added": 12, "gone": 3, "max_drift": 10},
    "invalid_request": {"errors": [{"loc": ["body", "priority"], "msg": "write at most 1000"}]},
    "field_redacted": {"field": "payload.user.password"},
    "sort_too_broad": {"limit": 10_000},
    "position_not_reached": {"position": 4711},
    "as_of_in_the_future": {"now": "2026-11-22T12:00:00Z"},
    "invalid_query": {
        "errors": [
            {
                "loc": ["query", "q"],
                "msg": 'there is no key "stats": did you mean "status"?',
                "position": 0,
                "length": 6,
                "token": "stats:",
            }
        ]
    },
}
"""What some of them tell besides."""
