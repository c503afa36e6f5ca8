"""A model with links; its clock is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from watch import figures as f

from photonlink.pipeline.top.model import Model

NOW = 1_700_000_000.0
Heard = Callable[..., Model]


@pytest.fixture
def heard() -> Heard:
    """``heard("l0", "l1")``: a model with these links, each with two ends of two instruments."""

    def model(*links: str, **changes: Any) -> Model:
        made = Model("photonlink top", clock=lambda: NOW)
        for link in links:
            for topic, payload, _ in f.whole_link("lab", link, NOW, **changes):
                made.message(topic, payload)
        return made

    return model


def say(model: Model, link: str, role: str, *rest: str, **body: Any) -> None:
    """Give the model one message of one end of a link."""
    tell(model, link, role, rest, f.head("lab", link, role, NOW) | body if body else None)


def tell(
    model: Model, link: str, role: str, rest: tuple[str, ...], body: dict[str, Any] | None
) -> None:
    model.message(f.topic("lab", link, role, *rest), f.dump(body) if body else b"")


def alarm(model: Model, link: str, role: str, code: str, **changes: Any) -> None:
    body = f.alarm("lab", link, role, NOW - 500, code, **changes)
    tell(model, link, role, ("alarm", code), body)
