"""The language of job specs and its rules: knows no engine and no HTTP."""
