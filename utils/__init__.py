"""Annotations, label maps, dataset checks and pictures; never imports keras."""
