"""Measurements, on stores and processes of their own."""
