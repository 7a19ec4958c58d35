"""Pure decisions: what a stack needs, computed from plain values.

Imports no Pulumi, makes no resource, and reads no file but the catalogue.
"""
