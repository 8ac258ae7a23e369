"""Where and when an artifact was made."""

from __future__ import annotations

import os
from datetime import UTC, datetime


def created_utc() -> str:
    """Return the time as ISO 8601 in UTC to the second; SOURCE_DATE_EPOCH (reproducible-builds.org) fixes it."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
