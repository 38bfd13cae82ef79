"""Durable decision actions over HTTP, beside what Postgres can do natively and beside the service one would write."""
