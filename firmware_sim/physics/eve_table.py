"""Eve as an element of the optical table: she takes the source's place, slice by slice."""

from __future__ import annotations

import numpy as np

from photonlink.firmware_sim.config import BenchConfig, Eve
from photonlink.firmware_sim.physics.engine import ArmParams, Engine, component_seed
from photonlink.firmware_sim.physics.eve import (
    STRATEGIES,
    Arriving,
    Strategy,
    emitted,
    entangled,
    held_hz,
    lone_photons,
)


class EveOnTheTable:
    """Draws pairs as the source would, and lets a strategy make the light at the receivers.

    She acts on the pairs of which both photons would arrive; the others are lone photons. Her
    bright pulses have the strategy's strength at the receiver. Light beyond a slice's borders is
    moved to the border.
    """

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine = engine
        self._pairs = np.random.default_rng(component_seed(seed, "eve.pairs"))
        self._eve = np.random.default_rng(component_seed(seed, "eve.light"))
        self._strategy = Strategy()

    @property
    def sends(self) -> bool:
        return self._strategy.name != "none"

    @property
    def bright_hz(self) -> float:
        """Continuous light on each of Bob's diodes."""
        return held_hz(self._strategy)

    def take(self, eve: Eve) -> None:
        """Parameters from the next slice on."""
        self._strategy = Strategy(eve.strategy, eve.share, dict(eve.numbers))

    def shine(
        self,
        config: BenchConfig,
        rate_hz: float,
        arms: tuple[ArmParams, ArmParams],
        start_ps: int,
        end_ps: int,
    ) -> None:
        """The light of one slice onto all eight diodes."""
        rng, source = self._pairs, config.source
        visibility = 0.5 * (source.visibility_hv + source.visibility_da)
        t_a, t_b = (arm.transmission for arm in arms)
        at = emitted(rng, rate_hz * t_a * t_b, start_ps, end_ps)
        strategy = STRATEGIES[self._strategy.name]
        scene = strategy(self._eve, entangled(rng, at, visibility), self._strategy)
        alone = rate_hz * t_a * (1.0 - t_b), rate_hz * t_b * (1.0 - t_a)
        for side, arm in enumerate((scene.alice, scene.bob)):
            lone = lone_photons(rng, alone[side], start_ps, end_ps)
            light = Arriving.join(arm, lone)
            at = np.clip(light.time_ps, start_ps, end_ps - 1) + arms[side].delay_ps
            for k in range(4):
                mine = light.diode == k
                self._engine.pulses(4 * side + k, at[mine], light.photons[mine])
