"""What the gateway's heartbeat tells of its journal."""

from jobplane.gateway.background import JournalNews
from tests.integration.gateway.conftest import Running
from tests.support.waiting import eventually


async def test_the_heartbeat_tells_how_far_the_relay_is_behind_and_why_writes_are_halted(gateway: Running) -> None:
    journal = gateway.gateway.log.journal
    news = JournalNews(journal, gateway.relay)
    await eventually(lambda: gateway.relay.relayed > 0)
    await news.look()
    assert news.told == {"relay_lag": 0, "journal_halted": None}
    figures = await journal.figures()
    await journal.halt("EVT_ADMIN ends elsewhere", figures.epoch)
    async with gateway.pool.connection() as conn:
        await conn.execute("UPDATE journal_head SET pos = pos + 3")
    await news.look()
    assert news.told == {"relay_lag": 3, "journal_halted": "EVT_ADMIN ends elsewhere"}
