"""What a request says of many jobs, as a command."""

import pytest

from jobplane.contracts.operations import BulkAction
from jobplane.gateway.bulk_wishes import BulkWish, filter_in
from jobplane.gateway.problems import Misread
from jobplane.gateway.searches import filter_of


def test_a_wrong_filter_is_told_where_it_stands_in_the_body() -> None:
    with pytest.raises(Misread) as refused:
        filter_in(BulkWish(action=BulkAction.RETRY, filter="status:faild"))
    [error] = refused.value.errors
    assert (error.loc, error.position, error.token) == (["body", "filter"], 7, "faild")


def test_a_wrong_query_is_told_where_it_stands_in_the_address() -> None:
    with pytest.raises(Misread) as refused:
        filter_of("status:faild")
    assert [error.loc for error in refused.value.errors] == [["query", "q"]]
