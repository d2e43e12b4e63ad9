"""Which hardware serves a model for the least money: every deployment tried, each judged."""
