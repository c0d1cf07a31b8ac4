"""Published data sets, from their archives to the layouts that the data modules read."""
