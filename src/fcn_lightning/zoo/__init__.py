"""The published rows: their recipes, their weights, their numbers.

`rows()` lists the row ids, `build(<row id>)` gives a row's untrained network; `fcn_lightning.load` opens a trained one.
"""

from fcn_lightning.zoo.recipes import build, rows

__all__ = ["build", "rows"]
