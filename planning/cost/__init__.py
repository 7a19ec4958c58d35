"""What a stack costs a month, from what its program asks for: lines, ranges, alternatives, break-evens.

`workloads` reads what needs GPU nodes out of recorded resources (or out of the plan), `usage` says how much of it is
used, `hours` turns both into node hours, `pricing` prices every resource, `comparison` the other ways to buy the same,
and `document` puts all of it into one JSON document. docs/cost.md tells the method.
"""
