"""The specification: configuration, integer reference, analog models, mapping and cost."""
