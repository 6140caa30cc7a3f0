"""The mix of models of two releases: whether it differs, and the rates with the same mix."""

import random

import pytest

from events.reports.releases import mixes
from events.reports.releases.verdicts import Flashes


def mix(**totals: int) -> dict[str, Flashes]:
    return {model: Flashes(total, 0) for model, total in totals.items()}


@pytest.mark.parametrize(
    ("new", "old", "differs"),
    [
        (mix(a=50, b=50), mix(a=500, b=500), False),
        (mix(a=80, b=20), mix(a=500, b=500), True),
        (mix(a=100), mix(b=100), True),
        # By more than chance, but by too little to matter.
        (mix(a=5_500, b=4_500), mix(a=5_000, b=5_000), False),
        # By much, but chance explains it.
        (mix(a=7, b=3), mix(a=50, b=50), False),
        (mix(a=1), mix(b=1), False),
        (mix(a=20), mix(a=900), False),
        (mix(), mix(a=10), False),
        (mix(a=10), mix(), False),
        # Rare models are pooled: none alone is enough.
        (mix(a=100), mix(a=100) | {f"rare-{number}": Flashes(1, 0) for number in range(60)}, True),
    ],
)
def test_whether_mixes_differ(new: dict[str, Flashes], old: dict[str, Flashes], differs: bool) -> None:
    assert mixes.differ(new, old) is differs
    assert mixes.differ(old, new) is differs


def test_chance_makes_at_most_one_equal_mix_in_a_hundred_differ() -> None:
    chance = random.Random(5)
    models = ["a"] * 6 + ["b"] * 3 + ["c"]

    def drawn(total: int) -> dict[str, Flashes]:
        names = chance.choices(models, k=total)
        return mix(**{name: names.count(name) for name in set(names)})

    assert sum(mixes.differ(drawn(60), drawn(90)) for _ in range(1_000)) <= 15


def test_rates_are_adjusted_to_the_mix_of_both_releases() -> None:
    new = {"easy": Flashes(19, 1), "hard": Flashes(48, 32)}
    old = {"easy": Flashes(76, 4), "hard": Flashes(12, 8), "only old": Flashes(0, 50)}
    # Both fail at 5 % and at 40 %; each model is half of the 200 flashes. The raw rates are 33 % and 41 %.
    adjusted = mixes.adjusted(new, old)
    assert adjusted
    assert (adjusted.rate, adjusted.other_rate) == pytest.approx((0.225, 0.225))
    assert adjusted.covered == pytest.approx(200 / 250)
    assert adjusted.difference == pytest.approx(0)


def test_without_a_common_model_nothing_is_adjusted() -> None:
    assert mixes.adjusted(mix(a=5), mix(b=5)) is None
    assert mixes.adjusted(mix(a=0), mix(a=5)) is None
    assert mixes.adjusted({}, {}) is None
