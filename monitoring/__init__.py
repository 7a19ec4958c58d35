"""Pure builders of queries, scaling triggers, recording rules and dashboards. Imports no Pulumi."""
