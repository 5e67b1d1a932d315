"""Alerts: rules over metrics, evaluated for the control room and written down for Prometheus."""
