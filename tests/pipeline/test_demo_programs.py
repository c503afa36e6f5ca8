"""How the demo interprets the exit of its programs."""

from __future__ import annotations

import pytest

from photonlink.pipeline.demo.demo import Demo, StartedProgram

READY = "print('{\"ready\": true}', flush=True)"
BROKEN = "signal.signal(signal.SIGINT, lambda *_: sys.exit('broken'))"


@pytest.mark.parametrize(
    ("handler", "failures"),
    [
        ("signal.signal(signal.SIGINT, lambda *_: sys.exit(0))", []),
        ("signal.signal(signal.SIGINT, lambda *_: sys.exit(130))", []),
        ("signal.signal(signal.SIGINT, signal.SIG_DFL)", []),  # as during Python's shutdown
        (BROKEN, ["bob failed: broken"]),
    ],
)
async def test_a_program_that_was_asked_to_end_has_not_failed(
    handler: str, failures: list[str]
) -> None:
    demo = Demo(duration_s=1, seed=None, show=lambda view: None)
    code = f"import signal, sys, time; {handler}; {READY}; time.sleep(60)"
    program = await StartedProgram.start("bob", "-c", code)
    assert await program.read() == {"ready": True}
    await demo._end(program)
    assert demo.outcome.failures == failures
