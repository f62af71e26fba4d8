"""The verdict on a dataset: may it be trained on, why not, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.config.data import ChecksConfig
from tunewright.data.checks.base import Check, Finding
from tunewright.data.labels import Words

LEVELS = ("stop", "care", "info")
_STATES = {"stop": "stop", "care": "care", "info": "ready"}


@dataclass(frozen=True)
class Advice:
    """What is said about one finding or warning.

    Attributes:
        level: ``stop``, ``care`` or ``info``.
        title: its heading, or an empty string.
        text: what was found, in a sentence or two.
        done: what was done about it or is to be done, or an empty string.
        otherwise: leads over to ``setting``: to what is recommended, or to any other choice.
        setting: what to add to the command, such as ``--set checks.html=keep``, or empty.
        more: names the choices that are left, or is empty.
    """

    level: str
    title: str
    text: str
    done: str
    otherwise: str = ""
    setting: str = ""
    more: str = ""


def finding_json(finding: Finding, check: Check) -> dict[str, Any]:
    """A finding as JSON values, its sentences in every language filled in."""
    option = f"checks.{check.name}" if check.name in ChecksConfig.model_fields else None
    return {
        "check": finding.check,
        "level": finding.level,
        "rows": finding.rows,
        "action": finding.action,
        "actions": list(check.actions),
        "option": option,
        "title": dict(check.title),
        "says": {lang: text.format(**finding.facts) for lang, text in check.says.items()},
        "does": {action: dict(texts) for action, texts in check.does.items()},
        "facts": dict(finding.facts),
        "examples": [
            {
                "file": example.file,
                "row": example.row,
                "text": example.text,
                "other": list(example.other) if example.other else None,
            }
            for example in finding.examples
        ],
        "figure": dict(finding.figure) if finding.figure is not None else None,
    }


def judge(
    findings: Iterable[Mapping[str, Any]], warnings: Iterable[Mapping[str, Any]]
) -> tuple[str, list[dict[str, Any]]]:
    """The verdict, ``ready``, ``care`` or ``stop``, and what it rests on, the worst first."""
    reasons = [dict(warning) for warning in warnings if warning["level"] != "info"]
    reasons += [
        {"check": finding["check"], "level": finding["level"]}
        for finding in findings
        if finding["level"] != "info"
    ]
    reasons.sort(key=lambda reason: LEVELS.index(reason["level"]))
    return _STATES[reasons[0]["level"] if reasons else "info"], reasons


def by_level(findings: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Findings with the worst first, otherwise in the order of the checks."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding["level"]))


def on_finding(finding: Mapping[str, Any], words: Words) -> Advice:
    """A finding in words."""
    labels, action, actions = words.labels, finding["action"], finding["actions"]
    language = labels["language"]
    others = [other for other in actions if other != action] if finding["option"] else []
    return Advice(
        finding["level"],
        finding["title"][language],
        finding["says"][language],
        # A check without an option only looks.
        labels["action"].format(does=finding["does"][action][language])
        if finding["option"]
        else "",
        # The first action is the recommended one.
        labels["other_ways" if action == actions[0] else "recommended_way"] if others else "",
        f"--set {finding['option']}={others[0]}" if others else "",
        labels["or_else"].format(names=", ".join(others[1:])) if others[1:] else "",
    )


def on_warning(warning: Mapping[str, Any], words: Words) -> Advice:
    """A warning in words."""
    remedy = words.facts.get(f"{warning['kind']}: remedy", "")
    return Advice(warning["level"], "", words.say(warning), remedy.format(**warning))


def reasons(report: Mapping[str, Any], words: Words) -> list[Advice]:
    """What the verdict rests on, in words."""
    findings = {finding["check"]: finding for finding in report["findings"]}
    return [
        on_finding(findings[reason["check"]], words)
        if "check" in reason
        else on_warning(reason, words)
        for reason in report["reasons"]
    ]


def remarks(report: Mapping[str, Any], words: Words) -> Sequence[Advice]:
    """Warnings that only inform, in words."""
    return [on_warning(w, words) for w in report["warnings"] if w["level"] == "info"]


def next_command(report: Mapping[str, Any]) -> str | None:
    """The command that trains on the dataset; None when it is not ready."""
    if report["verdict"] == "stop":
        return None
    command = f"tunewright train --dataset {report['dataset']}"
    method = _METHODS.get(report["content"])
    return f"{command} --method {method}" if method else command


_METHODS = {"preference": "dpo", "rating": "kto", "text": "pretrain"}
"""The method to begin with for rows that sft, which is the default, cannot learn from."""
