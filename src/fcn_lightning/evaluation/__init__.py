"""From an image to a label map, and from label maps to scores: written once, for validation, evaluate and predict."""
