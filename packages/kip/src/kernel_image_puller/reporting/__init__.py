"""What this program tells: pages over HTTP, metrics, events, the annotation of its pod."""
