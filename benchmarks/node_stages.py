"""CPU of one node by stage: calls of the product are timed from outside, nested calls separately.

The clock is the thread's CPU time, so that waiting costs nothing. CPU time of no stage (event
loop, sockets, the session's bookkeeping) is the rest.
"""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable
from typing import Any

STAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "decode": (("photonlink.hal.decoders", "NativeDecoder.feed"),),
    "noise, quiet rule": (("photonlink.pipeline.stages.quiet", "QuietBuffer.add"),),
    "announce": (("photonlink.pipeline.stages.quiet", "QuietBuffer.announce"),),
    "pair": (("photonlink.pipeline.stages.quiet", "QuietBuffer.pairs"),),
    "keep pairs": (
        ("photonlink.pipeline.protocol.sifting.shared", "Sifting.keep"),
        ("photonlink.pipeline.protocol.sifting.own_tags", "OwnTags.discard_before"),
    ),
    "clock": (
        ("photonlink.pipeline.protocol.sifting.clockfinder", "ClockFinder.follow"),
        ("photonlink.pipeline.protocol.sifting.clockfinder", "ClockFinder.attempt"),
    ),
    "figures": (
        ("photonlink.pipeline.protocol.sifting.figures", "CoincidenceFigures.slot"),
        ("photonlink.pipeline.protocol.sifting.pair_counts", "PairCounts.slot"),
        ("photonlink.pipeline.protocol.session", "Session._publish"),
    ),
    "frames, tags": (
        ("photonlink.pipeline.protocol.connection", "Connection.seal"),
        ("photonlink.pipeline.protocol.connection", "Connection.unseal"),
    ),
    "sift": (
        ("photonlink.pipeline.protocol.sifting.pair_row", "PairRow.take"),
        ("photonlink.pipeline.protocol.distilling.sifted", "SiftedBlock.of"),
        ("photonlink.pipeline.protocol.distilling.shared", "Distilling.own_verdict"),
    ),
    "correct": (
        ("photonlink.pipeline.stages.reconcile", "Answerer.__init__"),
        ("photonlink.pipeline.stages.reconcile", "Answerer.answer"),
        ("photonlink.pipeline.stages.reconcile", "Corrector.__init__"),
        ("photonlink.pipeline.stages.reconcile", "Corrector.request"),
        ("photonlink.pipeline.stages.reconcile", "Corrector.receive"),
        ("photonlink.pipeline.stages.reconcile", "Corrector.corrected"),
    ),
    "verify": (
        ("photonlink.pipeline.stages.verify", "digest"),
        ("photonlink.pipeline.stages.verify", "matches"),
    ),
    "length": (("photonlink.pipeline.protocol.block_account", "block_lengths"),),
    "amplify": (("photonlink.pipeline.stages.amplify", "amplify"),),
    "ledger, store": (
        ("photonlink.pipeline.keys.ledger", "Ledger.append"),
        ("photonlink.pipeline.keys.store", "DirectoryStore._put"),
    ),
}


class StageClock:
    """``spent``: seconds of CPU by stage, since ``watch``."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self._inside: list[float] = []  # seconds of nested calls, for each open call

    def watch(self) -> None:
        """Start timing; the classes stay wrapped."""
        for stage, places in STAGES.items():
            for module, path in places:
                owner: Any = importlib.import_module(module)
                *outer, name = path.split(".")
                for part in outer:
                    owner = getattr(owner, part, None)
                if owner is not None and hasattr(owner, name):
                    setattr(owner, name, self._timed(stage, getattr(owner, name), owner, name))

    def _timed(self, stage: str, call: Callable[..., Any], owner: Any, name: str) -> Any:
        bound = isinstance(owner, type) and isinstance(owner.__dict__.get(name), classmethod)

        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if bound:
                args = args[1:]  # a class method: ``call`` is bound to it
            begin = time.thread_time()
            self._inside.append(0.0)
            try:
                return call(*args, **kwargs)
            finally:
                whole = time.thread_time() - begin
                self.spent[stage] += whole - self._inside.pop()
                if self._inside:
                    self._inside[-1] += whole

        return classmethod(timed) if bound else timed  # type: ignore[arg-type]
