"""Running stages: at once in this process, or as jobs of the durable queue in their own ones."""

from tunewright.jobs.run import resume, run

__all__ = ["resume", "run"]
