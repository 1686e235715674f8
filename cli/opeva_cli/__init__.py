"""The `opeva` command: talks to the API; `opeva validate` works offline, `opeva up` runs both services."""
