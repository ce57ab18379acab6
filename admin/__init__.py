"""The admin sub-application: who may use the data API, as JSON."""
