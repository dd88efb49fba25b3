"""Claim: memory does not grow with the requests that were answered.

    python benchmarks/serve_soak.py MEMBER [--requests 2000] [--engine NAME] [--threads N]

A line is laid through the memory after every hundredth request, the first quarter left out.
"""

import statistics

import httpx2
from serving import QUESTIONS, arguments, body, memory, served

_EVERY = 100


def main() -> None:
    """Tell the slope of the line."""
    asked = arguments()
    asked.add_argument("--requests", type=int, default=2000)
    given, sizes = asked.parse_args(), list[float]()
    with served(given) as (address, process), httpx2.Client(timeout=60) as client:
        for number in range(given.requests):
            question = f"{QUESTIONS[number % len(QUESTIONS)]} {number}"
            told = body(given.member, question, 16, stream=bool(number % 2), temperature=1.0)
            assert client.post(f"{address}/v1/chat/completions", json=told).status_code == 200
            if number % _EVERY == _EVERY - 1:
                sizes.append(memory(process))
    late = sizes[len(sizes) // 4 :]
    slope = statistics.linear_regression(range(len(late)), late).slope / _EVERY * 10_000
    print(f"memory {sizes[0]:.1f} → {sizes[-1]:.1f} MB, {slope:+.2f} MB in 10,000 requests but for the first quarter")


if __name__ == "__main__":
    main()
