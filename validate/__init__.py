"""Were the predictions right on this card? Predict, measure, keep a record, calibrate.

    python -m validate --suite quick

Modules that measure import torch; the others (records, cards, calibrations, the runner) do not, so
that a page can use them without ever holding a GPU.
"""
