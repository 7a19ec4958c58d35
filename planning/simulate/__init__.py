"""A small model of the serving platform: what it does with requests, hour by hour, without a GPU."""
