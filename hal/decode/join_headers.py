"""The public C headers of a room as one cffi declaration: nothing is declared twice."""

import re
from pathlib import Path

_INCLUDE = re.compile(r'#include "(pl_\w+\.h)"')
_ATTRIBUTE = re.compile(r"\bPL_MUST_CHECK ")


def cdef(umbrella: Path, *folders: Path) -> str:
    """Text of all ``pl_*.h`` that ``umbrella`` includes, each once and after what it includes.

    folders: where they lie. Preprocessor lines and attributes, which cffi does not read, go.
    """
    seen: set[str] = set()

    def text(path: Path) -> str:
        lines: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            include = _INCLUDE.match(line)
            if include and include[1] not in seen:
                seen.add(include[1])
                lines.append(
                    text(next(f / include[1] for f in folders if (f / include[1]).exists()))
                )
            elif not line.startswith("#"):
                lines.append(_ATTRIBUTE.sub("", line))
        return "\n".join(lines)

    return text(umbrella)
