"""Fixtures of the published rows."""

from tests.zoo.published import published

__all__ = ["published"]
