"""The one place where Python meets the C core: ``_core`` is imported nowhere else."""
