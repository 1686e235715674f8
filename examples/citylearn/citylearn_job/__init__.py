"""One CityLearn simulation, run as a job: a config file in, log, progress and results out."""
