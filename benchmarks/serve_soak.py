"""Claim: memory does not grow with the requests that were answered.

    python benchmarks/serve_soak.py MEMBER [--requests 2000] [--engine NAME] [--threads N]

A line is laid through the memory after every hundredth request, the first quarter left out.
"""

import statistics
from http import HTTPStatus
from typing import Any

import httpx2
from conditions import conditions
from serving import QUESTIONS, arguments, body, memory, read, served

_EVERY, _FEWEST = 100, 400


def main() -> None:
    """Tell the slope of the line."""
    asked = arguments(__doc__)
    asked.add_argument("--requests", type=int, default=2000, help="that are answered (2000)")
    given, sizes = asked.parse_args(), list[float]()
    if given.requests < _FEWEST:
        asked.error(f"--requests {given.requests}: too few to lay a line through; ask at least {_FEWEST}")
    n = f"{given.requests:,} requests"
    print(conditions(threads=given.threads, n=n, seed="the number of a request, for its answer"), flush=True)
    with served(given) as (address, process), httpx2.Client(timeout=60) as client:
        for number in range(given.requests):
            question = f"{QUESTIONS[number % len(QUESTIONS)]} {number}"
            told = body(given.member, question, 16, stream=bool(number % 2), temperature=1.0, seed=number)
            _ask(client, f"{address}/v1/chat/completions", told)
            if number % _EVERY == _EVERY - 1:
                sizes.append(memory(process))
    late = sizes[len(sizes) // 4 :]
    slope = statistics.linear_regression(range(len(late)), late).slope / _EVERY * 10_000
    print(f"memory {sizes[0]:.1f} → {sizes[-1]:.1f} MB, {slope:+.2f} MB in 10,000 requests but for the first quarter")


def _ask(client: httpx2.Client, address: str, told: dict[str, Any]) -> None:
    """Raises SystemExit if it is not answered to the end: a request that failed early would take less memory."""
    reply = client.post(address, json=told)
    try:
        if reply.status_code != HTTPStatus.OK:
            raise ValueError(f"status {reply.status_code}: {reply.text}")
        if told["stream"]:
            read(reply.content)
    except ValueError as error:
        raise SystemExit(f"request {told['seed']}: {error}") from error


if __name__ == "__main__":
    main()
