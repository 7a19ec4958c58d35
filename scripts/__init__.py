"""What a person runs beside the Pulumi program: up, bootstrap, smoke and pin; each takes --help."""
