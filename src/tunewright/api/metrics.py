"""Metrics in Prometheus' text format: https://prometheus.io/docs/instrumenting/exposition_formats/.

Every label has few values: routes as they are declared, statuses, public names of served models.
No text of a request and no key is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tunewright.deployment.upstream import EngineState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
LIMITS = ("requests", "tokens", "queue_full", "server_busy")
"""What can be exhausted: a key's limits, an engine's queue, the server's hands."""
_MOST_MODELS = 500
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """Everything that is counted and timed, in a registry of this server's own.

    Args:
        engines: tells how the engines stand, whenever metrics are read.
    """

    def __init__(self, engines: Callable[[], Sequence[EngineState]]) -> None:
        registry = self._registry = CollectorRegistry()
        self._models: set[str] = set()
        self.requests = Counter(
            "tunewright_requests", "Requests answered.", ["route", "status", "model"],
            registry=registry,
        )  # fmt: skip
        self.errors = Counter(
            "tunewright_errors",
            "Requests that went wrong: by the client (4xx), by the server (5xx), or while the"
            " answer was on its way (stream).",
            ["route", "kind"],
            registry=registry,
        )
        self.tokens = Counter(
            "tunewright_tokens", "Tokens of questions and answers.", ["kind", "model"],
            registry=registry,
        )  # fmt: skip
        self.rate_limited = Counter(
            "tunewright_rate_limited", "Requests refused with 429, by what was exhausted.",
            ["limit"], registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "tunewright_request_seconds", "From a request to the end of its answer.",
            ["route"], buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.first_token = Histogram(
            "tunewright_time_to_first_token_seconds",
            "From a request to the first text of its streamed answer.",
            ["model"], buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.inter_token = Histogram(
            "tunewright_inter_token_seconds", "Between two pieces of a streamed answer.",
            ["model"], buckets=_TOKEN_SECONDS, registry=registry,
        )  # fmt: skip
        self.fallbacks = Counter(
            "tunewright_fallbacks",
            "Models of a deployment that were passed over, by why they could not answer.",
            ["deployment", "reason"],
            registry=registry,
        )
        self.in_flight = Gauge(
            "tunewright_in_flight_requests", "Requests in hand at the moment.", registry=registry
        )
        registry.register(_Engines(engines))
        self.switches: Callable[[], Mapping[str, bool]] = dict
        """Tells whether each deployment is on, whenever metrics are read."""
        registry.register(_Deployments(lambda: self.switches()))

    def passed_over(self, deployment: str, why: str) -> None:
        """A model could not answer, and the next in its deployment's chain was asked."""
        self.fallbacks.labels(self.model(deployment), why).inc()

    def model(self, name: str) -> str:
        """The label for a model; beyond a number of models, one for all others."""
        if name not in self._models:
            if len(self._models) >= _MOST_MODELS:
                return OTHER
            self._models.add(name)
        return name

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)


class _Engines(Collector):
    """What is asked of the engines when metrics are read."""

    def __init__(self, states: Callable[[], Sequence[EngineState]]) -> None:
        self._states = states

    def collect(self) -> Iterable[Metric]:
        """One sample per engine of each metric."""
        up = GaugeMetricFamily("tunewright_engine_up", "Whether an engine runs.", labels=["base"])
        held = GaugeMetricFamily(
            "tunewright_queue_length", "Requests an engine holds, waiting or running.",
            labels=["base"],
        )  # fmt: skip
        starts = CounterMetricFamily(
            "tunewright_engine_restarts", "Starts of an engine after its first.", labels=["base"]
        )
        blocks = GaugeMetricFamily(
            "tunewright_kv_blocks",
            "Blocks of an engine's key-value cache: used by answers under way, kept because they"
            " know how a prompt begins, or free.",
            labels=["base", "state"],
        )
        for state in self._states():
            for name, count in state.kv_blocks.items():
                blocks.add_metric([state.base, name], float(count))
            up.add_metric([state.base], float(state.up))
            held.add_metric([state.base], float(state.held))
            starts.add_metric([state.base], float(max(0, state.starts - 1)))
        return (up, held, starts, blocks)


class _Deployments(Collector):
    """What is asked of the deployments when metrics are read."""

    def __init__(self, states: Callable[[], Mapping[str, bool]]) -> None:
        self._states = states

    def collect(self) -> Iterable[Metric]:
        """One sample per deployment."""
        on = GaugeMetricFamily(
            "tunewright_deployment_on", "Whether a deployment is switched on.",
            labels=["deployment"],
        )  # fmt: skip
        for name, state in self._states().items():
            on.add_metric([name], float(state))
        return (on,)
