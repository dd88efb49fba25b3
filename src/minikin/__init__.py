"""Builds a family of small language models and proves what each member keeps and costs."""

__version__ = "0.2.0"
