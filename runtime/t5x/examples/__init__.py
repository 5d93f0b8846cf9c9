"""Example networks that T5X gin files bind."""
