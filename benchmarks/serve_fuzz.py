"""Claim: no request makes the server fail or hang.

    python benchmarks/serve_fuzz.py MEMBER [--requests 10000] [--engine NAME] [--threads N]

So many requests made from its own description (schemathesis), as many with bytes of a good one changed, while its
health is asked for.
"""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import schemathesis
from conditions import conditions
from health import Health
from hypothesis import HealthCheck, Phase, given, seed, settings
from serving import arguments, body, memory, served

_SEED = 1
_PATIENCE = 60  # seconds until a request counts as hung
_PARTS = 4  # of the requests with changed bytes: memory that still rises in the last one is lost


def main() -> None:
    """Both kinds of requests."""
    asked = arguments(__doc__)
    asked.add_argument("--requests", type=int, default=10_000, help="of each kind (10000)")
    told = asked.parse_args()
    n = f"{told.requests:,} requests of each kind"
    print(conditions(threads=told.threads, n=n, seed=f"{_SEED}, what they are made of"), flush=True)
    with served(told) as (address, process):
        held = [memory(process)]
        with Health(address) as health:
            described = _described(address, told.requests)
            held.append(memory(process))
            changed = Counter[int]()
            for part in range(_PARTS):
                changed += _changed(address, told.member, told.requests // _PARTS, random.Random(_SEED + part))
                held.append(memory(process))
        print(f"{described.total():,} made from the description, by status: {dict(described)}")
        print(f"{changed.total():,} with bytes changed, by status: {dict(changed)}")
        print(health.told())
        print("MB before, then after the described and on through the changed:", *(f"{each:.0f}" for each in held))


def _described(address: str, count: int) -> Counter[int]:
    """As many of every route; what those without fields leave, for they are soon all told, the others take."""
    found = Counter[int]()
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = sorted((one.ok() for one in schema.get_all_operations()), key=lambda one: bool(one.body))
    for left in range(len(operations), 0, -1):
        share = -(-(count - found.total()) // left)
        _send(operations[-left].as_strategy(), address, share, found)
    return found


def _send(cases: Any, address: str, count: int, found: Counter[int]) -> None:
    @seed(_SEED)
    @given(case=cases)
    @settings(max_examples=count, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def send(case: Any) -> None:
        found[case.call(base_url=address, timeout=_PATIENCE).status_code] += 1

    send()


def _changed(address: str, member: Path, count: int, chance: random.Random) -> Counter[int]:
    found = Counter[int]()
    whole = json.dumps(body(member, "Hello", 4, stop=["a"], seed=1, stream=False)).encode()
    headers = {"Content-Type": "application/json"}
    with httpx2.Client(timeout=_PATIENCE) as client:
        for _ in range(count):
            content = bytearray(whole)
            for _ in range(chance.randint(1, 8)):
                content[chance.randrange(len(content))] = chance.randrange(256)
            reply = client.post(f"{address}/v1/chat/completions", content=bytes(content), headers=headers)
            found[reply.status_code] += 1
    return found


if __name__ == "__main__":
    main()
