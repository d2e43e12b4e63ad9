"""Every price names a known GPU, a date and a source; a few are read off by hand."""

from datetime import date

import pytest

from presets.gpus import gpu_ids
from presets.prices import Price, all_prices, prices_of


@pytest.mark.parametrize("price", all_prices(), ids=lambda price: f"{price.provider} {price.offer}")
def test_a_price_is_of_a_known_gpu_and_dated(price: Price) -> None:
    assert price.gpu_id in gpu_ids()
    assert date(2026, 1, 1) <= price.date <= date.today()
    assert price.url.startswith("https://")
    assert price.source
    assert 0.05 < price.usd_per_gpu_hour < 20


def test_no_offer_is_listed_twice() -> None:
    offers = [(price.provider, price.offer, price.region) for price in all_prices()]
    assert len(offers) == len(set(offers))


def test_the_cheapest_of_a_gpu() -> None:
    prices = [price.usd_per_gpu_hour for price in prices_of("H100-SXM5-80GB")]
    assert prices == sorted(prices)
    rented = prices_of("h100-sxm5-80gb")[0]
    assert (rented.provider, rented.usd_per_gpu_hour) == ("RunPod Community Cloud", 2.69)
    assert prices_of("gaudi-2") == ()


def test_an_aws_instance_is_divided_by_its_gpus() -> None:
    (p5,) = (price for price in all_prices() if price.offer == "p5.48xlarge")
    assert p5.usd_per_gpu_hour * p5.min_gpus == pytest.approx(55.04)
