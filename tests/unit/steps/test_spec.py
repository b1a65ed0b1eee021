"""The spec's types: names of steps, and the images that they may name."""

from __future__ import annotations

from hermit_steps.spec import STOCK_IMAGES, default_name
from hermit_workers.image.recipe import stock_names


def test_a_step_without_a_name_is_named_by_its_number() -> None:
    assert default_name(3) == "step-3"


def test_the_stock_images_are_those_that_there_are_recipes_of() -> None:
    assert sorted(STOCK_IMAGES) == stock_names()
