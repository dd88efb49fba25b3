"""A server as a person starts it, in a process of its own, and a family of two for it."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from threading import Thread

from fakes import TINY, member

LONG = replace(TINY, max_position_embeddings=1024)
ENDS = {str(token): -100 for token in TINY.eos_token_ids}  # a bias with which an answer goes on to its limit


def two_members(folder):
    """A folder with the members large and small."""
    member(folder / "large", LONG)
    member(folder / "small", replace(LONG, num_hidden_layers=2, layer_types=LONG.layer_types[1:]), seed=2)
    return folder


@contextmanager
def serving(folder, *options, engine="torch", before="", start_new_session=False, **environment):
    """The address of a running server, and its process, which does what is to be done `before`."""
    command = [
        sys.executable,
        "-c",
        f"{before}\nfrom minikin.app.cli import main\nmain()",
        "serve",
        str(folder),
        "--port",
        "0",
        "--engine",
        engine,
        "--threads",
        "1",
    ]
    process = subprocess.Popen(
        [*command, *options],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=start_new_session,
    )
    said = []
    # all that it says is read, or it would wait for somebody who does
    reading = Thread(target=lambda: said.extend(process.stderr))
    try:
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"serving at (http\S+)", line):
                break
        else:
            raise AssertionError("".join(said))
        reading.start()
        yield found.group(1), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
        if reading.ident:
            reading.join()
        process.stderr.close()
    faults = [line for line in said if "Traceback" in line or "never retrieved" in line]
    assert not faults, "".join(said)
