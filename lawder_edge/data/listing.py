"""Text lists of pictures: what their lines say, and which names can stand in one."""

from __future__ import annotations

import re

# Only after a blank or at the start, so that a name may hold a # (polyp#0).
_COMMENT = re.compile(r"(?:^|\s)#.*")


def entries(data: bytes) -> list[str]:
    """What each line of a UTF-8 list says, without its comment and the blanks around it; "" where that is nothing.

    Raises UnicodeDecodeError.
    """
    return [_COMMENT.sub("", line, count=1).strip() for line in data.decode("utf-8-sig").splitlines()]


def can_be_listed(entry: str) -> bool:
    """Whether a line that holds `entry` reads back as `entry`, so that a list names this picture and no other."""
    try:
        return entries(f"{entry}\n".encode()) == [entry]
    except UnicodeEncodeError:
        return False
