"""Serving speed, side by side: many streamed chat requests at once, in turns, as ratios.

    python benchmarks/serve_speed.py
    python benchmarks/serve_speed.py --peer-python PEER/bin/python

Every side gets the same requests over HTTP (``generate`` gets them as one batch, without HTTP).
Memory is the largest resident set of the server's processes, and CPU is their processor time, the
one figure that other work on the machine changes little; the gateway's own cost is the processor
time of its process.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from work import chat_rows, make_work

HERE = Path(__file__).resolve().parent
PATIENCE = 600.0
ADAPTERS = 8
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A running server.

    Attributes:
        url: where it listens.
        model: what to ask for.
        process: the one that was started.
        ready: seconds from its start to its first answer.
    """

    url: str
    model: str
    process: subprocess.Popen[str]
    ready: float = 0.0

    def processes(self) -> list[int]:
        """Its process and that one's children."""
        return [self.process.pid, *children(self.process.pid)]

    def memory(self) -> int:
        """Largest resident sets of all its processes, in bytes."""
        return sum(_status(pid, "VmHWM") for pid in self.processes())

    def processor_seconds(self) -> float:
        """Processor time of all its processes so far."""
        return sum(processor_seconds(pid) for pid in self.processes())


def children(pid: int) -> list[int]:
    """Direct children that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def _status(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def ours(work: Path, adapters: int = 0) -> Iterator[Server]:
    """Tunewright's gateway and its engine."""
    home = work / f"home-{adapters}"
    home.mkdir(exist_ok=True)
    model = work / "model"
    command = [sys.executable, str(HERE / "ours_serve_worker.py"), str(home), str(model)]
    if adapters:
        # In a process of its own, which may load what the gateway must not.
        subprocess.run([*command, "--adapters", str(adapters)], check=True)
    began = time.perf_counter()
    with _process(command, {}, work / "ours.log") as process:
        line = process.stdout.readline() if process.stdout else ""
        server = Server(json.loads(line)["url"], "ft:bench:0" if adapters else "model", process)
        _wait_for(server, began)
        yield server


@contextmanager
def transformers_serve(python: str, work: Path, port: int = 18231) -> Iterator[Server]:
    """``transformers serve`` with its defaults, in the type that our engine computes in."""
    model = str(work / "model")
    program = str(Path(python).parent / "transformers")
    command = [
        *(python, "-m", "transformers.cli.transformers", "serve", model),
        *("--port", str(port), "--host", "127.0.0.1", "--dtype", "bfloat16", "--device", "cpu"),
    ]
    if Path(program).exists():
        command[:3] = [program]
    began = time.perf_counter()
    with _process(command, {"HF_HUB_OFFLINE": "1"}, work / "transformers.log") as process:
        server = Server(f"http://127.0.0.1:{port}", model, process)
        _wait_for(server, began)
        yield server


@contextmanager
def _process(
    command: list[str], environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **environment},
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(server: Server, began: float) -> None:
    body = {
        "model": server.model,
        "messages": [{"role": "user", "content": "w1 w2"}],
        "max_tokens": 1,
        "stream": True,
    }
    while time.perf_counter() - began < PATIENCE:
        try:
            run_load(server.url, [body])
        except RuntimeError:
            if server.process.poll() is not None:
                raise
            time.sleep(0.1)
        else:
            server.ready = time.perf_counter() - began
            return
    raise RuntimeError("the server does not answer")


def run_load(url: str, bodies: list[dict[str, Any]]) -> dict[str, Any]:
    """Send requests from a process of its own.

    Raises:
        RuntimeError: when one of them fails.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.write("\n".join(json.dumps(body) for body in bodies))
        file.flush()
        done = subprocess.run(
            [sys.executable, str(HERE / "load.py"), url, file.name], capture_output=True, text=True
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def bodies(models: list[str], count: int, tokens: int, stream: bool = True) -> list[dict[str, Any]]:
    """Greedy requests with questions of different lengths; models take turns."""
    questions = [row[0]["content"] for row in chat_rows(count)]
    return [
        {
            "model": models[number % len(models)],
            "messages": [{"role": "user", "content": question}],
            "max_tokens": tokens,
            "temperature": 0,
            **({"stream": True, "stream_options": {"include_usage": True}} if stream else {}),
        }
        for number, question in enumerate(questions)
    ]


def measured(server: Server, models: list[str], count: int, tokens: int) -> dict[str, float]:
    """One load on a warm server."""
    run_load(server.url, bodies(models, min(count, 8), 4))
    before = server.processor_seconds()
    found = run_load(server.url, bodies(models, count, tokens))
    return {
        "tokens_per_second": found["tokens"] / found["seconds"],
        "cpu": (server.processor_seconds() - before) / found["tokens"],
        "first_p50": found["first_p50"],
        "first_p95": found["first_p95"],
        "ready": server.ready,
        "memory": server.memory(),
    }


def static_batch(python: str, work: Path, count: int, tokens: int) -> dict[str, float]:
    """transformers' ``generate`` with all requests as one batch."""
    requests = work / "requests.jsonl"
    lines = [json.dumps(body) for body in bodies(["model"], count, tokens)]
    requests.write_text("\n".join(lines), encoding="utf-8")
    worker = str(HERE / "peers" / "generate_worker.py")
    done = subprocess.run(
        [python, worker, str(work / "model"), str(requests), "bfloat16"],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("METER ")]
    if done.returncode or not found:
        raise RuntimeError(done.stderr[-2000:])
    report = json.loads(found[-1].removeprefix("METER "))
    return {
        "tokens_per_second": report["tokens"] / report["seconds"],
        "cpu": report["cpu"] / report["tokens"],
    }


def gateway_cost(server: Server, requests: int, tokens: int) -> tuple[float, float]:
    """Processor seconds of the gateway per request, and per streamed token."""
    pid = server.process.pid
    whole = bodies([server.model], requests, 1, stream=False)
    run_load(server.url, whole[:32])
    before = processor_seconds(pid)
    for first in range(0, requests, 32):
        run_load(server.url, whole[first : first + 32])
    per_request = (processor_seconds(pid) - before) / requests
    before = processor_seconds(pid)
    streamed = run_load(server.url, bodies([server.model], 32, tokens))
    spent = processor_seconds(pid) - before - 32 * per_request
    return per_request, max(0.0, spent) / streamed["tokens"]


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Medians of every side, and how many times the first side is faster."""
    lines = [
        "| side | tokens/s | ours ÷ theirs | CPU, ms/token | first token p50, s | p95, s"
        " | ready, s | memory, GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in results.items()
        if runs
    }
    first = next(iter(medians.values()))["tokens_per_second"]
    for name, row in medians.items():
        cells = [f"{row['tokens_per_second']:.0f}", f"{first / row['tokens_per_second']:.2f}"]
        for key, scale, digits in (
            ("cpu", 1e-3, 2), ("first_p50", 1, 2), ("first_p95", 1, 2), ("ready", 1, 1),
            ("memory", 1e9, 2),
        ):  # fmt: skip
            cells.append(f"{row[key] / scale:.{digits}f}" if key in row else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def run_round(options: argparse.Namespace, work: Path, results: dict[str, list[Any]]) -> None:
    """Every side once."""
    count, tokens = options.requests, options.tokens

    def note(name: str, result: dict[str, float]) -> None:
        results.setdefault(name, []).append(result)
        print(f"{name}: {result['tokens_per_second']:.0f} tokens/s", file=sys.stderr, flush=True)

    with ours(work) as server:
        note("tunewright, one model", measured(server, [server.model], count, tokens))
    with ours(work, ADAPTERS) as server:
        names = [f"ft:bench:{number}" for number in range(ADAPTERS)]
        note("tunewright, one adapter", measured(server, names[:1], count, tokens))
        note(f"tunewright, {ADAPTERS} adapters", measured(server, names, count, tokens))
    for python in options.peer_python:
        note("generate, one batch", static_batch(python, work, count, tokens))
        with transformers_serve(python, work) as server:
            note("transformers serve", measured(server, [server.model], count, tokens))


def main() -> None:
    """Make the work, let the sides take turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=32, help="requests at once")
    parser.add_argument("--tokens", type=int, default=128, help="longest answer")
    parser.add_argument("--repeats", type=int, default=1, help="rounds; the median counts")
    parser.add_argument("--gateway-requests", type=int, default=256, help="for its own cost")
    parser.add_argument("--peer-python", action="append", default=[], help="Python with a peer")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        make_work(work, 8)
        results: dict[str, list[Any]] = {}
        print(f"{options.requests} requests of {options.tokens} tokens, {os.cpu_count()} cores")
        for _ in range(options.repeats):
            run_round(options, work, results)
        print(table(results))
        with ours(work) as server:
            request, token = gateway_cost(server, options.gateway_requests, options.tokens)
            print(f"gateway: {1e3 * request:.2f} ms per request, {1e6 * token:.0f} µs per token")


if __name__ == "__main__":
    main()
