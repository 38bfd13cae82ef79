"""Rates: how many requests a token gets, and what it is told when it gets none."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.parts import GatewayLimits
from gateway.rates import BUCKETS_MAX, RateLimit, Rates
from tests.unit.gateway.fakes import READ, opened_door

ACCOUNTS = "/api/v1/prop/accounts"


class Clock:
    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


@given(
    per_second=st.integers(1, 50),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_no_more_than_the_burst_and_what_time_brings(per_second: int, burst: int, pauses: list[float]):
    clock = Clock()
    rates = Rates(RateLimit(per_second=per_second, burst=burst), monotonic=clock)
    began, taken = clock.at, 0
    for pause in pauses:
        clock.at += pause
        wait_s = rates.take("a")
        taken += wait_s == 0
        assert taken <= burst + per_second * (clock.at - began) + 1e-6
        if wait_s:
            clock.at += wait_s
            assert rates.take("a") == 0, "what was told to wait that long may come then"
            taken += 1


def test_a_token_does_not_pay_for_another():
    rates = Rates(RateLimit(per_second=1, burst=2), monotonic=Clock())
    assert [rates.take("a") for _ in range(3)] == [0, 0, 1]
    assert rates.take("b") == 0


def test_memory_is_bounded():
    clock = Clock()
    rates = Rates(RateLimit(per_second=10, burst=10), monotonic=clock)
    for number in range(10 * BUCKETS_MAX):
        clock.at += 1
        rates.take(f"token-{number}")
    assert len(rates._buckets) <= BUCKETS_MAX


async def test_past_the_rate_the_answer_is_429_and_says_when():
    limits = GatewayLimits(rate_per_token=RateLimit(per_second=1, burst=3))
    async with opened_door(limits) as door:
        heard = [await door.get(ACCOUNTS) for _ in range(5)]
        assert [each.status for each in heard] == [200, 200, 200, 429, 429]
        assert heard[-1].refusal == (429, "rate_limited")
        assert (heard[-1].headers["Retry-After"], heard[-1].json["retryable"]) == ("1", True)
        assert (await door.get(ACCOUNTS, token=READ)).status == 200
        assert (await door.get("/livez")).status == 200
        assert b'prop_http_shed_total{reason="rate_limited"} 2.0' in (await door.get("/metrics")).body
