"""alertctl: alerts from experiments and feature flags to Slack and email, with a delivery log that answers."""

__version__ = "0.1.0"
