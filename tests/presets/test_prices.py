"""Every price names a known GPU, a date and a source; a few are read off by hand."""

from datetime import date

import pytest

from presets.gpus import gpu_ids
from presets.prices import Price, all_prices, cheapest_price, prices_of


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
    one, eight = cheapest_price("a100-sxm4-40gb"), cheapest_price("a100-sxm4-40gb", gpus=8)
    assert one is None
    assert eight is not None
    assert (eight.provider, eight.usd_per_gpu_hour) == ("Lambda", 1.99)
    rented = cheapest_price("h100-sxm5-80gb", marketplace=True)
    assert rented is not None
    assert (rented.provider, rented.usd_per_gpu_hour) == ("RunPod Community Cloud", 2.69)
    assert prices_of("gaudi-2") == ()


def test_an_aws_instance_is_divided_by_its_gpus() -> None:
    (p5,) = (price for price in all_prices() if price.offer == "p5.48xlarge")
    assert p5.usd_per_gpu_hour * p5.min_gpus == pytest.approx(55.04)
