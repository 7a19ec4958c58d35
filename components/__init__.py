"""Components: one noun a file, Pulumi resources and nothing else. What to make was decided in `planning`."""
