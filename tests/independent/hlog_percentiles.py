"""Reads an HdrHistogram interval log with the Python port of the Java tools and prints what it finds as JSON."""

import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, 3_600_000_000, 2))
tags, starts = {}, set()
while (interval := reader.get_next_interval_histogram()) is not None:
    starts.add(interval.get_start_time_stamp() / 1000)
    whole = tags.setdefault(interval.get_tag(), HdrHistogram(1, 3_600_000_000, 2))
    whole.add(interval)

print(json.dumps({
    "start": reader.get_start_time_sec(),
    "first": min(starts),
    "last": max(starts),
    "tags": {
        tag: {
            "count": whole.get_total_count(),
            "p50": whole.get_value_at_percentile(50.0),
            "p90": whole.get_value_at_percentile(90.0),
            "p99": whole.get_value_at_percentile(99.0),
            "p999": whole.get_value_at_percentile(99.9),
            "max": whole.get_max_value(),
        }
        for tag, whole in tags.items()
    },
}))
