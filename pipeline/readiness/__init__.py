"""Whether a bench is ready: its calibration tasks as a graph, with validity and limits."""
