"""Judging tables in bulk: ``source`` reads, ``judge`` judges, ``parts`` keeps, ``cluster`` spreads it out."""
