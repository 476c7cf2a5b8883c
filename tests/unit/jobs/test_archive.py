"""When a job is let go of."""

import pytest

from jobplane.contracts.job_events import JobArchived
from tests.unit.jobs.story import Story, archive, cancel, complete, create, fail, given, lease, settle_stop


@pytest.mark.parametrize(
    "story",
    [
        given(create(), lease(), complete()),
        given(create(), lease(), fail(retryable=False)),
        given(create(), cancel()),
        given(create(), lease(), cancel(), settle_stop()),
    ],
)
def test_a_job_that_was_over_for_long_enough_is_archived(story: Story) -> None:
    story.after(days=29).when(archive(days=30)).then_nothing()
    story.after(days=1).when(archive(days=30)).then(JobArchived, before=story.job.status, after=story.job.status)


@pytest.mark.parametrize("story", [given(create()), given(create(), lease()), given(create(), lease(), cancel())])
def test_what_is_not_over_is_kept(story: Story) -> None:
    story.after(days=99).when(archive(days=30)).then_nothing()
