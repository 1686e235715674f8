"""The REST API: writes spec files and wishes, tells what the operator wrote. It never meets a container engine."""
