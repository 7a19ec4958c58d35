"""One policy pack for `pulumi up --policy-pack policy` and for the offline preview (docs/policies.md)."""
