"""What a person sees: start block, progress, tables, figures, sample panels, and the files of a run folder."""
