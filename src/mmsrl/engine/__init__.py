"""Nextflow for machines that have none: the launcher, the strict linter and a runner for nf-test suites."""
