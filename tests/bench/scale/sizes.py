"""How much room tables and indexes take, for each job, and how much of it is air."""

from typing import Any, Final

import psycopg

_TABLES: Final = """
SELECT relname, pg_relation_size(relid), pg_indexes_size(relid), n_live_tup, n_dead_tup
FROM pg_stat_user_tables WHERE schemaname = %s ORDER BY pg_total_relation_size(relid) DESC
"""
_INDEXES: Final = """
SELECT relname, pg_relation_size(pg_class.oid), amname = 'btree' FROM pg_class JOIN pg_am ON pg_am.oid = relam
WHERE relkind = 'i' AND relnamespace = %s::regnamespace
"""
_AIR: Final = "SELECT free_percent, dead_tuple_percent FROM pgstattuple(%s::regclass)"
_DENSITY: Final = "SELECT avg_leaf_density FROM pgstatindex(%s::regclass)"
_LEAST: Final = 10
"""What has fewer bytes per job is not told."""
_LARGE: Final = ("job", "event", "body", "command_outcome")


def of(conn: psycopg.Connection[Any], jobs: int, schema: str = "jobs") -> dict[str, float]:
    """Bytes per job of each table with its indexes, percent of air in tables, density of the leaves of indexes."""
    conn.execute("CREATE EXTENSION IF NOT EXISTS pgstattuple")
    found: dict[str, float] = {}
    for name, heap, indexes, _live, dead in conn.execute(_TABLES, (schema,)).fetchall():
        if heap + indexes < _LEAST * jobs:
            continue
        found |= {
            f"{schema}.{name} bytes per job": heap / jobs,
            f"{schema}.{name} indexes, bytes per job": indexes / jobs,
            f"{schema}.{name} dead rows": dead,
        }
        if name in _LARGE:
            row = conn.execute(_AIR, (f"{schema}.{name}",)).fetchone()
            assert row is not None
            found |= {f"{schema}.{name} free %": row[0], f"{schema}.{name} dead %": row[1]}
    for name, size, is_tree in conn.execute(_INDEXES, (schema,)).fetchall():
        if size >= _LEAST * jobs:
            found[f"{schema}.{name} bytes per job"] = size / jobs
            if is_tree:
                row = conn.execute(_DENSITY, (f"{schema}.{name}",)).fetchone()
                assert row is not None
                found[f"{schema}.{name} leaf density %"] = row[0]
    return found
