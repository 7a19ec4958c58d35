"""What a change of the project does to its stacks: two revisions recorded, and all that differs between them.

`revisions` brings two revisions into folders of their own, `compare` finds what differs between two recordings,
`values` between two values, `rules` says which fields replace a resource, `price` why the price moved; `report` gathers
all of it; `markdown`, `text` and `page` write it down. Nothing here reads a cloud: what exists there may differ from
what the base revision asks for.
"""
