"""The process that llama.cpp runs in: a member's GGUF file, served on a loopback address to its parent alone.

`python -m minikin.engine.llamacpp_child FILE SLOTS CONTEXT THREADS TOGETHER BYTES` reads a key from its input, prints
one JSON line with its address, and lives until its input ends. A fault in llama.cpp ends this process and not its
parent's; it may hold at most BYTES of memory.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

from minikin.base.errors import MinikinError
from minikin.ship.llamacpp import hosted

_FILES = 1024


def main() -> None:
    """Serve until the parent is gone."""
    path, *counts, size = sys.argv[1:]
    slots, context, threads, together = map(int, counts)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # what streams may be streamed to its end
    # what llama.cpp prints is no message of ours
    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for limit, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, _FILES), (resource.RLIMIT_AS, int(size))):
        _, hard = resource.getrlimit(limit)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (least, hard))
    key = sys.stdin.readline().strip()
    try:
        server = hosted(Path(path), slots=slots, context=context, threads=threads, together=together, key=key)
    except (MinikinError, MemoryError) as error:
        print(json.dumps({"problem": str(error)}), file=said, flush=True)
        return
    print(json.dumps({"address": server.listening_address}), file=said, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
