"""MLflow: one parent run per sweep, one child per setting, step = N. Only the driver writes, by way of a journal."""

from orchestrator.tracking.server import check_tracking, tracking_uri
from orchestrator.tracking.tracker import Tracker

__all__ = ["Tracker", "check_tracking", "tracking_uri"]
